"""Before the API: a verification page that was asked for a moment ago is answered from memory.

It costs a small part of what routing does. Its twin is the route itself, which makes the page.
"""

from types import SimpleNamespace
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from credentials.adapters.recent import Recent
from credentials.api.verification import kept_page
from shared.web.middleware import Telemetry

_ROUTE: Final = SimpleNamespace(path="/verify/{badge_id}")  # what metrics call it


class Front:
    def __init__(self, api: ASGIApp, recent: Recent, service: str) -> None:
        self._api, self._recent = api, recent
        self._serve = Telemetry(self._choose, service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not _has_token(scope):
            page = self._recent.get(scope["path"])
            if page is not None:
                scope["route"] = _ROUTE
                await kept_page(Request(scope), page, self._recent)(scope, receive, send)
                return
        await self._api(scope, receive, send)


def _has_token(scope: Scope) -> bool:
    """Who sends one has it checked."""
    return any(name == b"authorization" for name, _ in scope["headers"])
