"""CORS: pages of the allowed origins may call everything, pages of every origin the operations that say so.

There are no cookies, so `Access-Control-Allow-Credentials` is never sent.
"""

from collections.abc import Iterable
from typing import Final

from gateway.edge.errors import OriginNotAllowed
from gateway.edge.responses import Header
from shared.origins import AllowedOrigins

_PREFLIGHT_SECONDS: Final = b"7200"
_EXPOSED: Final = (
    b"allow, content-disposition, etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, "
    b"x-request-id"
)
_ACCEPTED: Final = b"authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-request-id"
_READING: Final = b"content-type, if-none-match, traceparent, x-request-id"
"""Headers that a page of any origin may send: none that identifies the caller."""
VARY: Final[Header] = (b"vary", b"Origin")

ANY: Final[list[Header]] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
]
"""Headers of an answer that pages of every origin may read: the same for each, so it does not vary by Origin.

A refusal made before the request was parsed carries them too: it says nothing about anybody, and a page that could not
read it could not mend its request.
"""


class Origins:
    """The CORS headers for an allow-list of origins.

    :raises ValueError: AllowedOrigins does not accept one of them
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = AllowedOrigins(allowed)

    def allows(self, origin: bytes) -> bool:
        return origin.decode("latin-1") in self._allowed

    def headers(self, origin: bytes | None) -> list[Header]:
        """Return the CORS headers of an answer to a page of `origin`; `Vary: Origin` alone without an allowed one."""
        if origin is None or not self.allows(origin):
            return [VARY]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            VARY,
        ]

    def preflight(self, origin: bytes, methods: Iterable[str], *, any_origin: bool) -> list[Header]:
        """Return the headers that answer a preflight; with `any_origin` pages of every origin may send the request.

        :raises OriginNotAllowed: 403, without any Access-Control header
        """
        if not self.allows(origin):
            if any_origin:
                return [
                    (b"access-control-allow-origin", b"*"),
                    (b"access-control-allow-methods", ", ".join(methods).encode()),
                    (b"access-control-allow-headers", _READING),
                    (b"access-control-max-age", _PREFLIGHT_SECONDS),
                    VARY,
                ]
            raise OriginNotAllowed("this origin is not on the allow-list")
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", _ACCEPTED),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
            VARY,
        ]
