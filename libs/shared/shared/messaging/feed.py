"""The event log as a feed, and the reconciliation that heals whatever the broker lost.

A position alone would skip events: a transaction that took an early position may commit late. So the feed is
ordered by (transaction id, position) and ends before the oldest transaction still running.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Final, Protocol
from uuid import UUID

import httpx
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from shared import telemetry
from shared.database import Database, fetch, lock_number
from shared.errors import Unauthenticated
from shared.messaging.claim import Key
from shared.messaging.epochs import START, Cursor, begin_epoch, resume
from shared.messaging.inbox import TAKEN_BACK_SECONDS, Receiver
from shared.messaging.tables import FeedPosition, Retry
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)

PAGE: Final = 500
PAGE_BYTES: Final = 4_000_000
"""Of bodies in one page; the event that reaches it is the last one."""
UNREAD_SECONDS: Final = 2.0
"""Between rounds, until every feed has been read once."""
MOST_ATTEMPTS: Final = 3
"""At one page; after that an event in it must be what ends the process each time."""


class FeedPage(BaseModel):
    bodies: list[str]
    ids: list[UUID] = Field(default=[], exclude=True)
    """Of the events in the log, for whoever reads it here; they do not travel."""
    cursor: str
    """Where the next page begins."""


async def read_page(database: Database, types: Sequence[str], after: str, limit: int = PAGE) -> FeedPage:
    """The events of these types after the cursor, oldest first, none that a late commit could still precede.

    Where there are no more the cursor stands at the mark, which follows the fence each minute, or after the last event
    if that is later. Raises BadFeedCursor; one that does not fit this database's history is sent back to where it does
    (`shared.messaging.epochs`).
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
"""Of each type the next ones, by its index; of these the next of all; and of these as many as are not too long."""


router = APIRouter(include_in_schema=False)


@router.get("/internal/events", operation_id="read_feed")
async def read_feed(
    request: Request,
    types: Annotated[list[str], Query()],
    after: str = START,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    authorization: Annotated[str, Header()] = "",
) -> FeedPage:
    """This service's event log, for the other services alone."""
    admit_service(request, authorization)
    return await read_page(request.app.state.database, types, after, limit)


def admit_service(request: Request, authorization: str) -> None:
    """Raises Unauthenticated unless the caller knows the secret the services share."""
    secret: str = request.app.state.feed_secret
    if not hmac.compare_digest(authorization.encode(), f"Bearer {secret}".encode()):
        raise Unauthenticated("this is for services of this platform")


class Feed(Protocol):
    async def read(self, types: Sequence[str], after: str) -> FeedPage: ...


class HttpFeed:
    def __init__(self, base_url: str, secret: str, client: httpx.AsyncClient) -> None:
        self._url, self._secret, self._client = f"{base_url}/internal/events", secret, client

    async def read(self, types: Sequence[str], after: str) -> FeedPage:
        answer = await self._client.get(
            self._url,
            params=[*(("types", name) for name in types), ("after", after)],
            headers={"Authorization": f"Bearer {self._secret}"},
        )
        answer.raise_for_status()
        return FeedPage.model_validate_json(answer.content)


class Reconciler:
    """Pulls from every producer what this service's inbox lacks; one replica at a time reads a feed."""

    def __init__(self, receiver: Receiver, database: Database, feeds: Mapping[str, Feed]) -> None:
        self.receiver, self.database, self.feeds = receiver, database, feeds
        self._begun: set[str] = set()
        """Feeds of which a page was counted as begun and the database then went away, before that was taken back."""
        self._unread = {source for source in feeds if self._types(source)}
        self._waiting: dict[Key, int] | None = None
        """What waited once every feed had been read and was not tried since, with how often it had waited."""
        self.caught_up = asyncio.Event()
        """Set once every feed was read to its end since this process began, and what waited for another event was
        tried again since."""

    def _types(self, source: str) -> set[str]:
        return {name for name in self.receiver.inbox.types if name.partition(".")[0] == source}

    async def run(self, *, every_seconds: float = 60.0) -> None:
        while True:
            try:
                if count := await self.receiver.take_up_heard():
                    log.info("taken up what the release before did not hear", extra={"count": count})
            except DATABASE_ERRORS as error:
                note_outage(log, error)
            read: set[str] = set()
            for source in self._unread or self.feeds.keys():
                try:
                    if await self.catch_up(source) is not None:
                        read.add(source)
                except DATABASE_ERRORS as error:
                    note_outage(log, error, source=source)
                except (httpx.HTTPError, ValidationError) as error:
                    log.warning("feed not read", extra={"source": source, "error": repr(error)})
            await self._note_read(read)
            await asyncio.sleep(every_seconds if self.caught_up.is_set() else min(every_seconds, UNREAD_SECONDS))

    async def _note_read(self, sources: AbstractSet[str]) -> None:
        if self.caught_up.is_set():
            return
        self._unread -= sources
        telemetry.feeds_unread.labels(self.receiver.service).set(len(self._unread))
        try:
            if not self._unread and await self._waiting_was_tried():
                log.info("every feed was read")
                self.caught_up.set()
        except DATABASE_ERRORS as error:
            note_outage(log, error)

    async def _waiting_was_tried(self) -> bool:
        """Whether what waited when the feeds had been read was tried since: what it waits for may have been in them."""
        async with self.database.transaction() as session:
            found = await session.execute(select(Retry.source, Retry.id, Retry.waits).where(Retry.waiting))
            waiting: dict[Key, int] = {(row.source, row.id): row.waits for row in found}
        if self._waiting is None:
            self._waiting = waiting
        self._waiting = {key: waits for key, waits in self._waiting.items() if waiting.get(key) == waits}
        return not self._waiting

    async def catch_up(self, source: str) -> int | None:
        """Read one producer's feed to its end; how many events were looked at. None where another replica is at it."""
        types = self._types(source)
        if not types:
            return 0
        async with self.database.side.hold(lock_number("feed", source)) as ours:
            return await self._catch_up(source, types) if ours else None

    async def _catch_up(self, source: str, types: AbstractSet[str]) -> int:
        async with self.database.transaction() as session:
            first = insert(FeedPosition).values(source=source, cursor=START, types=sorted(types), attempts=0)
            await session.execute(first.on_conflict_do_nothing())  # a release before this one reads beside it
            position = await fetch(session, FeedPosition, source)
        if source in self._begun:
            await self._take_back(position)
        seen = 0
        if types != set(position.types):
            if missed := types - set(position.types):  # a release hears more than the one before it
                seen += await self._read(position, missed, ahead=True)
            # What a release does not hear is passed over now: one that hears it again is to read it from the beginning.
            position.types = sorted(types)
            await self._keep(position)
        return seen + await self._read(position, types)

    async def _read(self, position: FeedPosition, types: AbstractSet[str], *, ahead: bool = False) -> int:
        """From the position, which moves along, to the end; or else, to be ahead of it, from the beginning."""
        cursor = START if ahead else position.cursor
        seen = 0
        while True:
            page = await self.feeds[position.source].read(sorted(types), cursor)
            if page.bodies:
                await self._take(position, [body.encode() for body in page.bodies])
                seen += len(page.bodies)
            cursor, position.attempts = page.cursor, 0
            if not ahead:
                position.cursor = cursor
            await self._keep(position)
            if not page.bodies:
                return seen

    async def _take(self, position: FeedPosition, bodies: list[bytes]) -> None:
        """Counted before it is tried, for it may end the process; an outage, or being stopped, does not count."""
        position.attempts += 1
        await self._keep(position)
        try:
            if position.attempts <= MOST_ATTEMPTS:
                await self.receiver.take(bodies)
            else:
                await self.receiver.suspect(bodies, "a page of the feed with this event was never finished")
        except (*DATABASE_ERRORS, asyncio.CancelledError):
            self._begun.add(position.source)
            with contextlib.suppress(*DATABASE_ERRORS):  # else when it is read next
                async with asyncio.timeout(TAKEN_BACK_SECONDS):
                    await self._take_back(position)
            raise

    async def _take_back(self, position: FeedPosition) -> None:
        position.attempts = max(position.attempts - 1, 0)
        await self._keep(position)
        self._begun.discard(position.source)

    async def _keep(self, position: FeedPosition) -> None:
        async with self.database.transaction() as session:
            await session.execute(
                update(FeedPosition)
                .where(FeedPosition.source == position.source)
                .values(
                    cursor=position.cursor,
                    types=position.types,
                    attempts=position.attempts,
                    read_at=text("now()"),
                )
            )
