"""The pages behind a learner's link: plain forms, no script, and no referrer for other hosts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from credentials.adapters.pages import Pages

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
"""The headers of every answer under the address of a link."""


class SharedPages(Pages):
    """Renders the pages behind a link."""

    def gate(
        self,
        *,
        purpose: str | None,
        expires_at: datetime,
        asks_pin: bool,
        problem: str | None,
        tries_left: int | None = None,
    ) -> str:
        """Return the page before the record, which asks for the PIN if there is one.

        Otherwise it has a button, so that a link preview opens nothing.
        """
        return self._environment.get_template("shared_gate.html").render(
            purpose=purpose, expires_at=expires_at, asks_pin=asks_pin, problem=problem, tries_left=tries_left
        )

    def ended(self) -> str:
        return self._environment.get_template("shared_ended.html").render()

    def record(self, document: Mapping[str, Any], sha256: str) -> str:  # Any: JSON
        return self._environment.get_template("shared_record.html").render(document=document, sha256=sha256)
