"""The cached read before the API: a verification page that was made a moment ago is answered from memory if it still
holds.

One indexed read shows whether anything changed, whichever process of this service wrote the change. It costs a small
part of what routing does. The fallback is the route itself, which makes the page, and answers every other request and
error.
"""

import logging
from types import SimpleNamespace
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from credentials.adapters.page_cache import PageCache
from credentials.api.verification import kept_page
from credentials.queries.issued import badge_revision
from shared.database import Database
from shared.outages import is_database_down
from shared.web.middleware import Telemetry

log = logging.getLogger(__name__)

_ROUTE: Final = SimpleNamespace(path="/verify/{badge_id}")  # the route's name in metrics


class CachedReads:
    """Answers a kept verification page itself, and passes every other request on to the API."""

    def __init__(self, api: ASGIApp, page_cache: PageCache, database: Database, service: str) -> None:
        self._api, self._page_cache, self._database = api, page_cache, database
        self._serve = Telemetry(self._choose, service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not _has_token(scope):
            page = await self._find(scope["path"])
            if page is not None:
                scope["route"] = _ROUTE
                await kept_page(Request(scope), page)(scope, receive, send)
                return
        await self._api(scope, receive, send)

    async def _find(self, path: str) -> bytes | None:
        if not self._page_cache.holds(path):
            return None
        try:
            badge_id = UUID(path.rpartition("/")[2])
            return self._page_cache.get(path, await badge_revision(self._database, badge_id))
        except Exception as error:  # the API is tried next; an error of this path alone must be seen
            if not is_database_down(error):
                log.exception("a page could not be answered before the API", extra={"path": path})
            return None


def _has_token(scope: Scope) -> bool:
    """Return whether the request has a token, which the API must check."""
    return any(name == b"authorization" for name, _ in scope["headers"])
