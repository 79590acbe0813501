"""The event log as a feed for other services, and what reads the feeds of others.

A position alone would skip events: a transaction that took an early position may commit late. So the feed is
ordered by (transaction id, position) and ends before the oldest transaction still running.
"""

import hmac
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Final, Protocol
from uuid import UUID

import httpx
from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import text

from shared import liveness
from shared.database import Database
from shared.errors import Unauthenticated
from shared.messaging.epochs import START, BadFeedCursor, Cursor, begin_epoch, leads_on, resume
from shared.messaging.history import Reader, compare, lacking, reader_of, state_of
from shared.peers import PeerAway, ask

PAGE: Final = 500
PAGE_BYTES: Final = 4_000_000
"""Bytes of event bodies in one page; the event that reaches it is the page's last."""
MOST_BYTES: Final = 16 * PAGE_BYTES
"""Limit of a whole answer: the bodies, a large last one, and everything around them."""
READ_SECONDS: Final = 45.0
"""Limit for one page, however slowly it trickles in."""
MOST_IDS: Final = 1000
"""How many events an owner is asked about at once."""


class FeedPage(BaseModel):
    bodies: list[str]
    ids: list[UUID] = Field(default=[], exclude=True)
    """The ids of the events, for readers in this process; they do not travel."""
    cursor: str
    """Where the next page begins."""
    installation: UUID | None = None
    """The installation whose log it is."""
    reader: Reader | None = None
    """How far the log's owner has read the asking service's log."""


async def read_page(database: Database, types: Sequence[str], after: str, limit: int = PAGE) -> FeedPage:
    """Return the events of these types after the cursor, oldest first, none that a late commit could still precede.

    Where there are no more, the page's cursor stands at the mark, which follows the fence each minute, or after the
    last event if that is later. A cursor that does not fit this database's history is set back to where it does
    (`shared.messaging.epochs`). Raises BadFeedCursor: it is no cursor.
    """
    asked = Cursor.parse(after)
    while True:
        async with database.messaging.connect() as connection:
            resumed = await resume(connection, asked)
            if resumed is not None:
                begin, mark = resumed
                values = {
                    "types": list(types),
                    "xid": str(begin.xid),
                    "position": begin.position,
                    "limit": limit,
                    "bytes": PAGE_BYTES,
                }
                rows = (await connection.execute(_PAGE, values)).all()
                break
        await begin_epoch(database)
    first = rows[0]
    found = [row for row in rows if row.position is not None]
    bodies = [row.body for row in found]
    last = (rows[-1].xid_, rows[-1].position) if bodies else (begin.xid, begin.position)
    if len(bodies) == first.found < limit:
        last = max(last, (min(mark, first.fence), 0))
    return FeedPage(bodies=bodies, ids=[row.id for row in found], cursor=str(Cursor(begin.epoch, *last)))


_PAGE: Final = text("""
    with fence as materialized (select pg_snapshot_xmin(pg_current_snapshot()) as xid),
    found as materialized (
        select one.xid, one.position, one.created_at
        from unnest(cast(:types as text[])) as asked (type), lateral (
            select outbox.xid, outbox.position, outbox.created_at from outbox
            where outbox.type = asked.type and outbox.xid < (select fence.xid from fence)
            and (outbox.xid, outbox.position) > (cast(cast(:xid as text) as xid8), cast(:position as bigint))
            order by outbox.xid, outbox.position limit :limit
        ) as one
        order by one.xid, one.position limit :limit
    ),
    sized as (
        select found.xid, found.position, whole.id, whole.body,
            sum(octet_length(whole.body)) over (order by found.xid, found.position) - octet_length(whole.body) as before
        from found, lateral (
            select outbox.id, outbox.body from outbox
            where outbox.position = found.position and outbox.created_at = found.created_at limit 1
        ) as whole
    )
    select cast(cast(fence.xid as text) as bigint) as fence, (select count(*) from found) as found,
        cast(cast(sized.xid as text) as bigint) as xid_, sized.position, sized.id, sized.body
    from fence left join sized on sized.before < :bytes
    order by sized.xid, sized.position
""")
"""The next events of each type, by the index; of these the next of all types; of these as many as fit PAGE_BYTES."""


router = APIRouter(include_in_schema=False)


@router.get("/internal/events", operation_id="read_feed")
async def read_feed(
    request: Request,
    types: Annotated[list[str], Query()],
    after: str = START,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    reader: str = "",
    authorization: Annotated[str, Header()] = "",
) -> FeedPage:
    """This service's event log, for the other services alone."""
    admit_service(request, authorization)
    return await give_page(request.app.state.database, types, after, limit, reader)


async def give_page(
    database: Database, types: Sequence[str], after: str, limit: int = PAGE, reader: str = ""
) -> FeedPage:
    """Return a page for another service, and note whether its cursor shows that this database has lost history.

    Raises BadFeedCursor: `after` is no cursor.
    """
    page = await read_page(database, types, after, limit)
    await compare(database, Reader(reader or "another service", after, None))
    page.installation, page.reader = (await state_of(database)).installation, await reader_of(database, reader)
    return page


@router.post("/internal/events/lacking", operation_id="find_lacking")
async def find_lacking(
    request: Request,
    ids: Annotated[list[UUID], Body(max_length=MOST_IDS)],
    authorization: Annotated[str, Header()] = "",
) -> list[UUID]:
    """Which of these events of ours, that another service has taken in, are not in this database."""
    admit_service(request, authorization)
    return await lacking(request.app.state.database, ids)


def admit_service(request: Request, authorization: str) -> None:
    """Raise Unauthenticated unless the caller sends the secret that the services share."""
    secret: str = request.app.state.feed_secret
    if not hmac.compare_digest(authorization.encode(), f"Bearer {secret}".encode()):
        raise Unauthenticated("this is for services of this platform")


class FeedAway(PeerAway):
    """The log's owner does not answer, or not as the feed's protocol says."""


class Feed(Protocol):
    """The event log of another service."""

    async def read(self, types: Sequence[str], after: str) -> FeedPage:
        """Return the page after this cursor.

        Raises FeedAway: its owner does not answer, or not with a page.
        """
        ...


class LogOwner(Protocol):
    """Another service, as the owner of an event log: it is asked which events its log has."""

    async def lacking(self, ids: Sequence[UUID]) -> list[UUID]:
        """Return which of these events, `MOST_IDS` at most, the log's owner does not have.

        Raises FeedAway: it does not answer, or is of the previous release.
        """
        ...


class HttpFeed:
    """The feed of another service, read over HTTP."""

    def __init__(self, base_url: str, secret: str, client: httpx.AsyncClient, reader: str) -> None:
        self._url, self._secret, self._client = f"{base_url}/internal/events", secret, client
        self._reader = reader

    async def read(self, types: Sequence[str], after: str) -> FeedPage:
        try:
            answer = await ask(
                self._client,
                "GET",
                self._url,
                params=[*(("types", name) for name in types), ("after", after), ("reader", self._reader)],
                headers={"Authorization": f"Bearer {self._secret}"},
                within=READ_SECONDS,
                most_bytes=MOST_BYTES,
            )
            answer.raise_for_status()
            page = FeedPage.model_validate_json(answer.content)
            Cursor.parse(page.cursor)
            if page.reader is not None:
                Cursor.parse(page.reader.cursor)
        except (PeerAway, httpx.HTTPStatusError, ValidationError, BadFeedCursor) as error:
            raise FeedAway(str(error)) from error
        if page.bodies and page.cursor == after:
            raise FeedAway("the page leads to itself")
        return page

    async def lacking(self, ids: Sequence[UUID]) -> list[UUID]:
        try:
            answer = await ask(
                self._client,
                "POST",
                f"{self._url}/lacking",
                json=[str(one) for one in ids],
                headers={"Authorization": f"Bearer {self._secret}"},
                within=READ_SECONDS,
            )
            answer.raise_for_status()
            return _IDS.validate_json(answer.content)
        except (PeerAway, httpx.HTTPStatusError, ValidationError) as error:
            raise FeedAway(str(error)) from error


_IDS: Final = TypeAdapter(list[UUID])


async def pages_of(feed: Feed, types: AbstractSet[str], cursor: str) -> AsyncIterator[FeedPage]:
    """Yield the pages after this cursor; the last one is empty.

    Raises FeedAway: its owner does not answer, or its pages go round in a circle. Once a cursor may go back: of a
    database that was restored the beginning is read again.
    """
    went_back = 0
    while True:
        liveness.beat()
        page = await feed.read(sorted(types), cursor)
        went_back += bool(page.bodies) and not leads_on(cursor, page.cursor)
        if went_back > 1:
            raise FeedAway("its pages go round in a circle")
        yield page
        if not page.bodies:
            return
        cursor = page.cursor
