"""Which web pages may call: an allow-list of origins. There are no cookies, so no credentials are allowed."""

from collections.abc import Iterable
from typing import Final

from gateway.edge.answers import Header
from gateway.edge.refusals import OriginNotAllowed
from shared.origins import AllowedOrigins

_PREFLIGHT_SECONDS: Final = b"7200"
_EXPOSED: Final = b"etag, location, ratelimit, ratelimit-policy, retry-after, x-request-id"
_ACCEPTED: Final = b"authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-request-id"
_VARY: Final = (b"vary", b"Origin")


class Origins:
    """:raises ValueError: as AllowedOrigins does"""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = AllowedOrigins(allowed)

    def headers(self, origin: bytes) -> list[Header]:
        """What an answer to a page of `origin` carries."""
        if origin.decode("latin-1") not in self._allowed:
            return [_VARY]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            _VARY,
        ]

    def preflight(self, origin: bytes, methods: Iterable[str]) -> list[Header]:
        """The answer to a browser's question before a request.

        :raises OriginNotAllowed: 403, without any Access-Control header
        """
        if origin.decode("latin-1") not in self._allowed:
            raise OriginNotAllowed("this origin is not on the allow-list", headers={"vary": "Origin"})
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", _ACCEPTED),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
            _VARY,
        ]
