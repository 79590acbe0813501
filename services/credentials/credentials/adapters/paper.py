"""Documents for people, from one face each: on paper as PDF, on the screen as HTML.

Typst sets the paper: tagged PDF/UA-1 that is also PDF/A-2a, from fonts of packages alone, with the edition's own
instant as its date. So the same edition gives the same bytes on every machine with this release, and a file can be
told for ours by its hash.
"""

import asyncio
import io
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import segno
import typst
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from credentials.adapters import ornaments
from credentials.adapters.fonts import STANDARDS, Fonts, NotPrintable, undrawn
from credentials.domain.documents import DocumentKind
from shared.errors import Unavailable

Face = Mapping[str, Any]  # Any: JSON

_INK: Final = "#1d2440"
_FRAMES: Final = {DocumentKind.PARCHMENT: (297.0, 210.0), DocumentKind.CERTIFICATE: (210.0, 297.0)}


class PressBusy(Unavailable):
    """More documents are asked for at once than can be set."""


class Paper:
    """Sets at most `threads` documents at once, with `waiting` more in line. Typst works outside Python's lock."""

    def __init__(self, fonts: Fonts, *, threads: int = 2, waiting: int = 40) -> None:
        self._fonts = fonts
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="paper")
        self._room = threads + waiting
        self._own = threading.local()
        self._pages = Environment(
            loader=PackageLoader("credentials", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, face: Face) -> str:
        """The HTML twin: the same facts, for the screen, for print, and read aloud."""
        template = self._pages.get_template(f"document_{face['kind']}.html")
        return template.render(face=face, seal=Markup(ornaments.seal()), qr=Markup(qr_code(face["address"])))  # noqa: S704 - our own drawings

    def check_page(self, facts: Mapping[str, Any]) -> str:  # Any: the template's variables
        """What anybody who has the number of a document is told."""
        return self._pages.get_template("document_check.html").render(facts)

    def lacked(self, face: Face) -> list[str]:
        """The characters of a face for which `pdf` would raise NotPrintable."""
        return self._fonts.lacked(json.dumps(face, ensure_ascii=False))

    async def pdf(self, face: Face, at: datetime) -> bytes:
        """The paper. Raises NotPrintable, PressBusy."""
        if self._room <= 0:
            raise PressBusy("too many documents are being set at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._set, face, at)
        finally:
            self._room += 1

    def _set(self, face: Face, at: datetime) -> bytes:
        kind = DocumentKind(face["kind"])
        given = {
            "face": json.dumps({**face, "qr": qr_code(face["address"])}),
            "families": self._fonts.as_json,
            "seal": ornaments.seal(),
        }
        if kind in _FRAMES:
            given["frame"] = ornaments.frame(*_FRAMES[kind])
        try:
            file = self._compiler(kind).compile(
                format="pdf", pdf_standards=STANDARDS, sys_inputs=given, timestamp=int(at.timestamp())
            )
        except typst.TypstError as error:
            raise NotPrintable(undrawn(error)) from error
        return cast("bytes", file)

    def _compiler(self, kind: DocumentKind) -> typst.Compiler:
        """One a thread and kind: a compiler serves one call at a time, and remembers what it has laid out before."""
        compilers: dict[DocumentKind, typst.Compiler] = vars(self._own).setdefault("compilers", {})
        if kind not in compilers:
            layouts = Path(str(files("credentials") / "paper"))
            compilers[kind] = typst.Compiler(
                layouts / f"{kind}.typ", root=layouts, font_paths=self._fonts.loaded, ignore_system_fonts=True
            )
        return compilers[kind]


def qr_code(address: str) -> str:
    """As SVG; it stays readable with an eighth of it covered."""
    drawn = io.BytesIO()
    code = segno.make(address, error="m", micro=False)
    code.save(drawn, kind="svg", border=0, dark=_INK, xmldecl=False, omitsize=True)
    return drawn.getvalue().decode()
