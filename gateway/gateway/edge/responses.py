"""The front door's responses: problem documents, the page of an unknown address, a service's headers as passed on."""

from collections.abc import Iterable, MutableMapping
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from typing import Any, Final

import orjson

from shared.errors import DomainError, Unavailable
from shared.web.pages import CSP, page
from shared.web.problems import MEDIA_TYPE, RETRY_AFTER

Header = tuple[bytes, bytes]

_NOT_PASSED: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade date server x-request-id traceparent ratelimit ratelimit-policy x-content-type-options "
    b"access-control-allow-origin access-control-allow-credentials access-control-allow-headers "
    b"access-control-allow-methods access-control-expose-headers access-control-max-age".split()
)
_FORMS: Final = frozenset({b"multipart/form-data", b"application/x-www-form-urlencoded"})
_BODILESS: Final = frozenset({204, 304})
_PROBLEM: Final = MEDIA_TYPE.encode()

ASTRAY: Final = page(
    "Nothing is here",
    "<h1>Nothing is here</h1>\n<p>The address is mistyped, or what it named has another name by now.</p>\n"
    '<p><a href="/">This platform</a> · <a href="/verify">Check a credential or a document</a> · '
    '<a href="/docs">All operations</a> · <a href="/problems">All problems</a></p>',
).encode()
_last_date: tuple[int, bytes] = (0, b"")


def date(now: float) -> Header:
    """Return the Date field (RFC 9110 §6.6.1), formatted once a second; `now` is POSIX time."""
    global _last_date  # noqa: PLW0603 - one process, one clock
    second = int(now)
    if _last_date[0] != second:
        _last_date = (second, formatdate(second, usegmt=True).encode())
    return b"date", _last_date[1]


_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def marks(now: float, request_id: str) -> list[Header]:
    """Return the headers of every answer, the front door's own and the services'; `now` is POSIX time."""
    return [date(now), (b"x-request-id", request_id.encode()), _NOSNIFF]


_NO_STORE: Final = (b"cache-control", b"no-store")


def problem(error: DomainError, request_id: str) -> tuple[int, list[Header], bytes]:
    """Return the problem document (RFC 9457) of an error as status, headers and body."""
    body = orjson.dumps(
        {
            **error.extras,
            "type": f"/problems/{error.code}",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "request_id": request_id,
        },
        default=str,
    )
    headers = [
        (b"content-type", _PROBLEM),
        (b"content-length", b"%d" % len(body)),
        _NO_STORE,
        *((name.encode(), value.encode()) for name, value in error.headers.items()),
    ]
    if error.status == Unavailable.status and not any(name.lower() == b"retry-after" for name, _ in headers):
        headers.append((b"retry-after", RETRY_AFTER.encode()))
    if error.status == 401:  # noqa: PLR2004 - Unauthorized
        headers.append((b"www-authenticate", b'Bearer error="invalid_token"'))
    return error.status, headers, body


def wants_page(scope: MutableMapping[str, Any]) -> bool:  # Any: ASGI's own type
    """Whether a browser opens the address for a person to read: it accepts HTML."""
    is_read: bool = scope["method"] in {"GET", "HEAD"}
    return is_read and any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def sends_form(scope: MutableMapping[str, Any]) -> bool:  # Any: ASGI's own type
    """Whether a browser sends an HTML form, whose answer a person reads."""
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return scope["method"] == "POST" and kind in _FORMS and b"text/html" in headers.get(b"accept", b"")


def refusal_page(error: DomainError) -> tuple[int, list[Header], bytes]:
    """Return the page about an error for a person who sent a form, as status, headers and body."""
    body = page(
        error.title,
        f"<h1>{escape(error.title)}</h1>\n<p>{escape(error.detail[:1].upper() + error.detail[1:])}.</p>\n"
        f'<p>Go back to the page before to mend it. <a href="/problems/{error.code}">What this means</a> · '
        '<a href="/verify">Check a credential or a document</a></p>',
    ).encode()
    return error.status, [*_of_page(body), *((n.encode(), v.encode()) for n, v in error.headers.items())], body


def is_missing(status: int, headers: Iterable[Header]) -> bool:
    """Whether a service answered 404 with a problem document, which is for programs."""
    if status != HTTPStatus.NOT_FOUND:
        return False
    return any(name == b"content-type" and value.startswith(_PROBLEM) for name, value in headers)


def astray(status: int) -> tuple[int, list[Header], bytes]:
    """Return the page for a person who opened an address at which there is nothing, as status, headers and body."""
    return status, _of_page(ASTRAY), ASTRAY


def _of_page(body: bytes) -> list[Header]:
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", CSP.encode()),
        (b"vary", b"Accept"),
        _NO_STORE,
    ]


def passed_on(
    status: int,
    headers: Iterable[Header],
    own: list[Header],
    *,
    whole: bytes | None,
    private: bool,
    base_url: bytes,
) -> list[Header]:
    """Return a service's headers as the caller sees them, followed by the front door's `own`.

    Headers of one hop are dropped. A redirect to the service's own address is made relative. The answer to an
    authenticated request (`private`) is not to be stored unless the service says otherwise. A body that has arrived
    `whole` gets its length instead of chunks.
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
