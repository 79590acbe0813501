"""What goes back to the caller: problem documents, and a service's answer without what concerned one hop."""

from collections.abc import Iterable
from email.utils import formatdate
from typing import Final

import orjson

from shared.errors import Refusal, Unavailable
from shared.web.problems import RETRY_AFTER

Header = tuple[bytes, bytes]

_NOT_PASSED: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade date server x-request-id traceparent ratelimit ratelimit-policy x-content-type-options "
    b"access-control-allow-origin access-control-allow-credentials access-control-allow-headers "
    b"access-control-allow-methods access-control-expose-headers access-control-max-age".split()
)
_BODILESS: Final = frozenset({204, 304})
_last_date: tuple[int, bytes] = (0, b"")


def date(now: float) -> Header:
    """The Date field (RFC 9110 §6.6.1), made once a second."""
    global _last_date  # noqa: PLW0603 - one process, one clock
    second = int(now)
    if _last_date[0] != second:
        _last_date = (second, formatdate(second, usegmt=True).encode())
    return b"date", _last_date[1]


_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def marks(now: float, request_id: str) -> list[Header]:
    """What every answer carries, whoever gives it; `now` is POSIX time."""
    return [date(now), (b"x-request-id", request_id.encode()), _NOSNIFF]


_NO_STORE: Final = (b"cache-control", b"no-store")


def problem(refusal: Refusal, request_id: str) -> tuple[int, list[Header], bytes]:
    """The RFC 9457 document of a refusal, as status, headers and body."""
    body = orjson.dumps(
        {
            **refusal.extras,
            "type": f"/problems/{refusal.code}",
            "title": refusal.title,
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
            "request_id": request_id,
        },
        default=str,
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        _NO_STORE,
        *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    if refusal.status == Unavailable.status and not any(name.lower() == b"retry-after" for name, _ in headers):
        headers.append((b"retry-after", RETRY_AFTER.encode()))
    if refusal.status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b'Bearer error="invalid_token"'))
    return refusal.status, headers, body


def passed_on(
    status: int,
    headers: Iterable[Header],
    own: list[Header],
    *,
    whole: bytes | None,
    private: bool,
    base_url: bytes,
) -> list[Header]:
    """A service's headers as the caller may see them.

    A redirect to the service's own address is made relative; an answer to an authenticated request is not to be
    stored unless the service says otherwise; a body at hand gets its length instead of chunks.
    """
    kept: list[Header] = []
    cached = sized = False
    for header in headers:
        name = header[0]
        if name in _NOT_PASSED:
            continue
        if name == b"content-length":
            if status in _BODILESS:
                continue
            sized = True
        elif name == b"cache-control":
            cached = True
        elif name == b"location" and header[1].startswith(base_url):
            header = (name, header[1][len(base_url) :] or b"/")  # noqa: PLW2901
        kept.append(header)
    if whole is not None and not sized and status not in _BODILESS:
        kept.append((b"content-length", b"%d" % len(whole)))
    if private and not cached:
        kept.append(_NO_STORE)
    kept += own
    return kept
