"""The pages beside the API: the merged OpenAPI document, a place to read and try it, and what each refusal means.

None needs an outside host."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from html import escape
from importlib import resources
from typing import Any, Final

from gateway.openapi import Library, Rule

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
_PROBLEMS: Final = "/problems/"
_PROBLEM: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{code}</title>
  <link rel="icon" href="data:,">
</head>
<body>
  <main>
    <h1><code>{code}</code></h1>
    {rules}
    <p><a href="/docs">All operations</a></p>
  </main>
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
_JSON: Final = b"application/json"
_PAGE: Final = b"text/html; charset=utf-8"
_DAY: Final = b"public, max-age=86400"
_MINUTE: Final = b"public, max-age=60"


def with_pages(api: App, library: Library) -> App:
    """`api` with /openapi.json (merged), /docs and /problems before it."""
    assets = resources.files("fastapi_swagger") / "resources"
    pages: dict[str, tuple[bytes, bytes, bytes]] = {
        "/docs": (_PAGE, _HTML, _MINUTE),
        "/docs/start.js": (b"text/javascript", _START, _DAY),
        "/docs/swagger-ui.css": (b"text/css", (assets / "swagger-ui.css").read_bytes(), _DAY),
        "/docs/swagger-ui-bundle.js": (b"text/javascript", (assets / "swagger-ui-bundle.js").read_bytes(), _DAY),
    }

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        code = path.removeprefix(_PROBLEMS)
        page = pages.get(path)
        if path == "/openapi.json":
            page = _JSON, library.merged, _MINUTE
        elif code != path and code in library.rules:
            page = _PAGE, problem_page(code, library.rules[code]), _MINUTE
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or page is None:
            await api(scope, receive, send)
            return
        await _send(scope, send, *page)

    return serve


def problem_page(code: str, rules: Mapping[Rule, frozenset[str]]) -> bytes:
    """What RFC 9457 (§3.1.1) wants at the address in `type`: documentation for people."""
    told: list[str] = []
    for rule, operations in sorted(rules.items()):
        names = ", ".join(f"<code>{escape(name)}</code>" for name in sorted(operations)) or "any operation"
        told += [
            f"<h2>{rule.status} {escape(rule.title)}</h2>",
            f"<p>{escape(rule.meaning)}</p>",
            f"<p>From {names}</p>",
        ]
    return _PROBLEM.format(code=escape(code), rules="\n    ".join(told)).encode()


async def _send(scope: Scope, send: Send, media_type: bytes, body: bytes, freshness: bytes) -> None:
    etag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
    headers = [(b"etag", etag), (b"cache-control", freshness), _CSP]
    asked = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    if etag in {tag.strip().removeprefix(b"W/") for tag in asked.split(b",")}:
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
