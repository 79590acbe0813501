"""Which web pages may call: an allow-list of origins, and every origin where an operation says so.

There are no cookies, so no credentials are allowed.
"""

from collections.abc import Iterable
from typing import Final

from gateway.edge.answers import Header
from gateway.edge.refusals import OriginNotAllowed
from shared.origins import AllowedOrigins

_PREFLIGHT_SECONDS: Final = b"7200"
_EXPOSED: Final = b"allow, etag, location, ratelimit, ratelimit-policy, retry-after, x-request-id"
_ACCEPTED: Final = b"authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-request-id"
_READING: Final = b"content-type, if-none-match, traceparent, x-request-id"
"""What a page of any origin may send: nothing that says who is calling."""
VARY: Final[Header] = (b"vary", b"Origin")

ANY: Final[list[Header]] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
]
"""What an answer carries that pages of every origin may read: the same for each, so it varies with none. A refusal from
before it was read who asks for what is such an answer: it tells of nobody, and unread a page could not mend it."""


class Origins:
    """:raises ValueError: as AllowedOrigins does"""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = AllowedOrigins(allowed)

    def allows(self, origin: bytes) -> bool:
        return origin.decode("latin-1") in self._allowed

    def headers(self, origin: bytes | None) -> list[Header]:
        """What an answer to a page of `origin` carries; without one, too, it tells caches that origins differ."""
        if origin is None or not self.allows(origin):
            return [VARY]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            VARY,
        ]

    def preflight(self, origin: bytes, methods: Iterable[str], *, any_origin: bool) -> list[Header]:
        """The answer to a browser's question before a request, which `any_origin` may make.

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
