"""Middleware that answers public reads before the API: from the response cache, else by one SQL statement.

It costs a small part of what routing does. Requests it does not answer go on to the routes: lists with search words or
filters that are not cached, requests with a token, malformed ones, and those on which it fails.
"""

import logging
import re
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalogue.adapters.response_cache import Answer, Asked, ResponseCache
from catalogue.api.shapes import SLUG
from catalogue.domain import Filters
from catalogue.queries.listings import find_courses, find_page
from shared.database import Database, Unknown
from shared.outages import is_database_down
from shared.web import conditional
from shared.web.middleware import Telemetry
from shared.web.paging import DEFAULT_LIMIT, MOST

log = logging.getLogger(__name__)

LIST: Final = "/v1/courses"
_LIST_ROUTE: Final = SimpleNamespace(path=LIST)  # the label in metrics
_PAGE_ROUTE: Final = SimpleNamespace(path="/v1/courses/{slug}")
_PAGE: Final = re.compile(rf"/v1/courses/({SLUG[1:-1]})")

NARROWS: Final = {"q", "subject", "institution", "level", "cursor"}
"""Query parameters of the list besides `limit`."""
_LIMIT: Final = re.compile("[1-9][0-9]{0,2}")

_SAFE: Final = {"GET", "HEAD"}


class CachedReads:
    """The middleware; after a successful write it empties the cache of this process."""

    def __init__(self, api: ASGIApp, response_cache: ResponseCache, database: Database, service: str) -> None:
        self._api, self._response_cache, self._database = api, response_cache, database
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
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._api(scope, receive, send)
            return
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._api(scope, receive, note_status)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:  # a refused request has written nothing
            self._response_cache.forget()  # so writers read their own writes; the database notifies other processes

    async def _find(self, asked: Asked) -> bytes | None:
        at = self._database.clock()
        kept = self._response_cache.find(asked, at)
        if kept is not None:
            return kept.body
        page, limit = _PAGE.fullmatch(asked.path), whole_list(asked)

        async def read() -> Answer:
            if limit is not None:
                return await find_courses(
                    self._database, self._response_cache, None, Filters(), at, limit=limit, after=None
                )
            assert page is not None, "one of both is asked for"
            return await find_page(self._database, page[1], at)

        if page is None and limit is None:
            return None
        try:
            return await self._response_cache.fill(asked, read)
        except Unknown:
            return None  # the API answers with the problem document
        except Exception as error:  # the API takes over; an error that only this path meets must not go unseen
            if not is_database_down(error):
                log.exception("a page could not be answered before the API", extra={"path": asked.path})
            return None


def whole_list(asked: Asked) -> int | None:
    """Return the page size of a request for the first page of the unfiltered list; None where it is another request."""
    if asked.path != LIST:
        return None
    limit = str(DEFAULT_LIMIT)
    for name, value in parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True):
        if name in NARROWS:
            return None
        limit = value if name == "limit" else limit
    return int(limit) if _LIMIT.fullmatch(limit) and int(limit) <= MOST else None


def _has_nul(scope: Scope) -> bool:
    return b"%00" in scope["query_string"]  # which the API refuses


def _has_token(scope: Scope) -> bool:
    """Whether the request has a token, which the API must verify."""
    return any(name == b"authorization" for name, _ in scope["headers"])
