"""Before the API: a verification page that was asked for a moment ago is answered from memory, if nothing has changed.

One indexed read tells that, whichever process of this service wrote the change. It costs a small part of what routing
does. Its twin is the route itself, which makes the page, and answers whatever is out of the ordinary.
"""

import logging
from types import SimpleNamespace
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from credentials import queries
from credentials.adapters.recent import Recent
from credentials.api.verification import kept_page
from shared.database import Database
from shared.outages import is_database_down
from shared.web.middleware import Telemetry

log = logging.getLogger(__name__)

_ROUTE: Final = SimpleNamespace(path="/verify/{badge_id}")  # what metrics call it


class Front:
    def __init__(self, api: ASGIApp, recent: Recent, database: Database, service: str) -> None:
        self._api, self._recent, self._database = api, recent, database
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
        if not self._recent.holds(path):
            return None
        try:
            badge_id = UUID(path.rpartition("/")[2])
            return self._recent.get(path, await queries.badge_revision(self._database, badge_id))
        except Exception as error:  # the API meets it again; what only this way met is not to go unseen
            if not is_database_down(error):
                log.exception("a page could not be answered before the API", extra={"path": path})
            return None


def _has_token(scope: Scope) -> bool:
    """Who sends one has it checked."""
    return any(name == b"authorization" for name, _ in scope["headers"])
