"""The pages beside the API: front page, merged OpenAPI document, Swagger UI, and a page about each problem code.

None loads anything from another host.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import resources
from typing import Any, Final

from gateway.documents.front_page import front_document, front_page
from gateway.documents.openapi import Library
from gateway.documents.problem_pages import INDEX, index_page, problem_page
from gateway.edge.responses import ASTRAY, wants_page
from shared.web.pages import CSP

Scope = MutableMapping[str, Any]  # ASGI's own type
Message = MutableMapping[str, Any]  # ASGI's own type
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HTML: Final = b"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Microcredentials API</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <noscript>The same as data: <a href="/openapi.json">/openapi.json</a></noscript>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, filter: true,
  displayRequestDuration: true, persistAuthorization: false, tryItOutEnabled: true,
  validatorUrl: null
});
"""
_CSP: Final = (
    b"content-security-policy",
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
)
_NO_SCRIPT: Final = (b"content-security-policy", CSP.encode())
_JSON: Final = b"application/json"
_PAGE: Final = b"text/html; charset=utf-8"
_DAY: Final = b"public, max-age=86400"
_FOR_PEOPLE: Final = ("/docs/", f"{INDEX}/")
"""Prefixes under which a browser gets a page for an unknown address."""
_MINUTE: Final = b"public, max-age=60"


def with_pages(api: App, library: Library, *, release: str, contact: str, sample_accounts: Mapping[str, str]) -> App:
    """Return `api` with the front page, /openapi.json (merged), /docs and /problems in front of it.

    `sample_accounts` are those of a sandbox: e-mail addresses by role.
    """
    assets = resources.files("fastapi_swagger") / "resources"
    pages: dict[str, tuple[bytes, bytes, bytes]] = {
        "/docs": (_PAGE, _HTML, _MINUTE),
        "/docs/start.js": (b"text/javascript", _START, _DAY),
        "/docs/swagger-ui.css": (b"text/css", (assets / "swagger-ui.css").read_bytes(), _DAY),
        "/docs/swagger-ui-bundle.js": (b"text/javascript", (assets / "swagger-ui-bundle.js").read_bytes(), _DAY),
    }
    document = front_document(release, contact, sample_accounts)

    def find(scope: Scope) -> tuple[bytes, bytes, bytes] | None:
        path: str = scope.get("path", "")
        path = path.rstrip("/") or "/"
        if path == "/":
            if not wants_page(scope):
                return _JSON, document, _MINUTE
            from_payment = b"payment=" in scope["query_string"] or b"order_id=" in scope["query_string"]
            return _PAGE, front_page(contact, sample_accounts, from_payment=from_payment).encode(), _MINUTE
        if path == "/openapi.json":
            return _JSON, library.merged, _MINUTE
        if path == INDEX:
            return _PAGE, index_page(library.rules, contact).encode(), _MINUTE
        code = path.removeprefix(f"{INDEX}/")
        if code != path and code in library.rules:
            return _PAGE, problem_page(code, library.rules[code], contact).encode(), _MINUTE
        return pages.get(path)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}
        found = find(scope) if asked else None
        if found is not None:
            await _send(scope, send, *found)
        elif asked and wants_page(scope) and scope["path"].startswith(_FOR_PEOPLE):
            await _send(scope, send, _PAGE, ASTRAY, _MINUTE, missing=True)
        else:
            await api(scope, receive, send)

    return serve


async def _send(
    scope: Scope, send: Send, media_type: bytes, body: bytes, freshness: bytes, *, missing: bool = False
) -> None:
    etag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
    path: str = scope["path"]
    policy = _CSP if path.startswith("/docs") else _NO_SCRIPT
    headers = [(b"etag", etag), (b"cache-control", freshness), policy]
    if path == "/" or missing:
        headers.append((b"vary", b"Accept"))
    asked = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    if not missing and etag in {tag.strip().removeprefix(b"W/") for tag in asked.split(b",")}:
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 404 if missing else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
