"""Before the API: what everybody reads, from memory where it was asked for a moment ago, else by its one statement.

It costs a small part of what routing does. Its twins are the routes themselves: they answer lists that were searched or
narrowed and are not in memory, and whatever is out of the ordinary.
"""

import logging
import re
from types import SimpleNamespace
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from catalogue import queries
from catalogue.adapters.shelf import Answer, Asked, Shelf
from catalogue.api.shapes import SLUG
from catalogue.domain import Filters
from shared.database import Database, Unknown
from shared.outages import is_database_down
from shared.web import conditional
from shared.web.middleware import Telemetry
from shared.web.paging import DEFAULT_LIMIT, MOST

log = logging.getLogger(__name__)

LIST: Final = "/v1/courses"
_LIST_ROUTE: Final = SimpleNamespace(path=LIST)  # what metrics call it
_PAGE_ROUTE: Final = SimpleNamespace(path="/v1/courses/{slug}")
_PAGE: Final = re.compile(rf"/v1/courses/({SLUG[1:-1]})")

NARROWS: Final = {"q", "subject", "institution", "level", "cursor"}
"""What one may ask of a list besides how long it is."""
_LIMIT: Final = re.compile("[1-9][0-9]{0,2}")

_SAFE: Final = {"GET", "HEAD"}


class Front:
    def __init__(self, api: ASGIApp, shelf: Shelf, database: Database, service: str) -> None:
        self._api, self._shelf, self._database = api, shelf, database
        self._serve = Telemetry(self._choose, service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)

    async def _choose(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not _has_token(scope) and not _has_nul(scope):
            answer = await self._find(Asked(scope["path"], scope["query_string"]))
            if answer is not None:
                scope["route"] = _LIST_ROUTE if scope["path"] == LIST else _PAGE_ROUTE
                await conditional(Request(scope), answer)(scope, receive, send)
                return
        await self._api(scope, receive, send)
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            self._shelf.forget()  # who wrote reads it at once; other processes hear of it from the database

    async def _find(self, asked: Asked) -> bytes | None:
        at = self._database.clock()
        kept = self._shelf.find(asked, at)
        if kept is not None:
            return kept.body
        page, limit = _PAGE.fullmatch(asked.path), whole_list(asked)

        async def read() -> Answer:
            if limit is not None:
                return await queries.find_courses(
                    self._database, self._shelf, None, Filters(), at, limit=limit, after=None
                )
            assert page is not None, "one of both is asked for"
            return await queries.find_page(self._database, page[1], at)

        if page is None and limit is None:
            return None
        try:
            return await self._shelf.fill(asked, read)
        except Unknown:
            return None  # the API says so properly
        except Exception as error:  # the API meets it again; what only this way met is not to go unseen
            if not is_database_down(error):
                log.exception("a page could not be answered before the API", extra={"path": asked.path})
            return None


def whole_list(asked: Asked) -> int | None:
    """How many courses are asked for from the beginning of the list; None where the route must read what is asked."""
    if asked.path != LIST:
        return None
    limit = str(DEFAULT_LIMIT)
    for name, value in parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True):
        if name in NARROWS:
            return None
        limit = value if name == "limit" else limit
    return int(limit) if _LIMIT.fullmatch(limit) and int(limit) <= MOST else None


def _has_nul(scope: Scope) -> bool:
    return b"%00" in scope["query_string"]  # the API refuses it


def _has_token(scope: Scope) -> bool:
    """Who sends one has it checked."""
    return any(name == b"authorization" for name, _ in scope["headers"])
