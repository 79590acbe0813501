"""The event log as a feed for other services, and the reconciler, which reads theirs for events the broker lost.

A position alone would skip events: a transaction that took an early position may commit late. So the feed is
ordered by (transaction id, position) and ends before the oldest transaction still running.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Annotated, Final, Protocol
from uuid import UUID

import httpx
from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from shared import liveness, telemetry
from shared.database import Database, fetch
from shared.errors import Unauthenticated
from shared.leases import lease
from shared.messaging.deduplication import Key
from shared.messaging.epochs import START, BadFeedCursor, Cursor, begin_epoch, kept_cursor, leads_on, resume
from shared.messaging.history import History, Reader, compare, lacking, reader_of, state_of
from shared.messaging.inbox import TAKEN_BACK_SECONDS, Receiver
from shared.messaging.tables import FeedPosition, Retry
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage
from shared.peers import PeerAway, ask

log = logging.getLogger(__name__)

PAGE: Final = 500
PAGE_BYTES: Final = 4_000_000
"""Bytes of event bodies in one page; the event that reaches it is the page's last."""
MOST_BYTES: Final = 16 * PAGE_BYTES
"""Limit of a whole answer: the bodies, a large last one, and everything around them."""
UNREAD_SECONDS: Final = 2.0
"""Pause between rounds, until every feed has been read once."""
READ_SECONDS: Final = 45.0
"""Limit for one page, however slowly it trickles in."""
MOST_IDS: Final = 1000
"""How many events an owner is asked about at once."""
TURN_SECONDS: Final = 60.0
"""After which a feed that has not ended lets the others be read; the page under way is finished."""
MOST_ATTEMPTS: Final = 3
"""How often a page is begun; after that an event in it must be what ends the process each time."""


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


class ForeignFeed(Exception):
    """A feed serves the log of another installation than the one that was read before."""


class FeedUnfinished(Exception):
    """A feed did not end within its turn, and the next one goes on where it stood."""


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
    """Another service, asked what it has of its own log."""

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


class Reconciler:
    """Reads every producer's feed for events this service's inbox lacks; one replica at a time reads a feed."""

    def __init__(
        self, receiver: Receiver, database: Database, feeds: Mapping[str, Feed], history: History | None = None
    ) -> None:
        self.receiver, self.database, self.feeds = receiver, database, feeds
        self.history = history or History(database)
        self._round = self.history.round
        self._begun: set[str] = set()
        """Feeds of which a page was broken off and its count of attempts is yet to be corrected."""
        self._unread, self._unasked = self._subscribed(), set(feeds)
        """In the present epoch: feeds not yet read to their end, and services not yet asked how far they read ours."""
        self._foreign: set[str] = set()
        self._unfinished: set[str] = set()
        """Feeds that did not end within their last turn."""
        self._ahead: dict[tuple[str, frozenset[str]], str] = {}
        """Where the reading of newly subscribed types stood when its turn was over; another process begins anew."""
        self._waiting: dict[Key, int] | None = None
        """Events that waited when every feed had been read and were not tried since, with how often they had waited."""
        self.caught_up = self.history.caught_up

    def _subscribed(self) -> set[str]:
        return {source for source in self.feeds if self._types(source)}

    def _types(self, source: str) -> set[str]:
        return {name for name in self.receiver.inbox.types if name.partition(".")[0] == source}

    async def run(self, *, every_seconds: float = 60.0) -> None:
        """Read the feeds, every so many seconds, for ever."""
        loop = asyncio.get_running_loop()
        all_due = loop.time()
        while True:
            liveness.beat(every_seconds)
            try:
                await self._begin_anew()
                if count := await self.receiver.retry_newly_subscribed():
                    log.info("taken up what the release before did not consume", extra={"count": count})
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
            read: set[str] = set()
            wanted = self._unread | self._unasked | self._unfinished
            if not wanted or loop.time() >= all_due:  # one that is away for long keeps none of the others unread
                wanted, all_due = set(self.feeds), loop.time() + every_seconds
            for source in [one for one in self.feeds if one in wanted]:
                if await self._give_turn(source):
                    read.add(source)
                liveness.beat(every_seconds)
            await self._note_read(read)
            liveness.beat(every_seconds)
            await self._rest(every_seconds)

    async def _give_turn(self, source: str) -> bool:
        """Read a feed for a turn; return whether it has been read to its end. What keeps it from that is logged."""
        self._unfinished.discard(source)
        try:
            return await self.catch_up(source) is not None
        except FeedUnfinished as error:
            self._unfinished.add(source)
            log.warning("the feed did not end yet", extra={"source": source, "read": str(error)})
        except ForeignFeed as error:
            self._foreign.add(source)
            log.error("the feed is not read", extra={"source": source, "error": str(error)})  # noqa: TRY400
        except FeedAway as error:
            log.warning("feed not read", extra={"source": source, "error": repr(error.__cause__ or error)})
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error, source=source)
        return False

    async def _rest(self, seconds: float) -> None:
        """Wait until the next round is due: it is soon while a feed is unread, as all are once the epoch changes."""
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        while True:
            await asyncio.sleep(min(max(ends - clock(), 0.0), UNREAD_SECONDS))
            if clock() >= ends or self._unfinished or not self.caught_up.is_set():
                return
            try:
                await self.history.look()
            except DATABASE_ERRORS as error:
                note_outage(log, error)

    async def _begin_anew(self) -> None:
        """Count every feed as unread where the database has begun another epoch."""
        await self.history.look()
        if self._round != self.history.round:
            self._round, self._waiting = self.history.round, None
            self._unread, self._unasked = self._subscribed(), set(self.feeds)

    async def _note_read(self, sources: AbstractSet[str]) -> None:
        self._foreign -= sources
        telemetry.feeds_foreign.labels(self.receiver.service).set(len(self._foreign))
        telemetry.feeds_unfinished.labels(self.receiver.service).set(len(self._unfinished))
        if self.caught_up.is_set():
            return
        self._unread -= sources
        self._unasked -= sources
        telemetry.feeds_unread.labels(self.receiver.service).set(len(self._unread))
        try:
            await self._begin_anew()
            if self._unasked:
                return
            await self.history.note_compared()
            if not self._unread and await self._waiting_was_tried():
                log.info("every feed was read")
                self.caught_up.set()
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error)

    async def _waiting_was_tried(self) -> bool:
        """Whether every event that waited when the feeds had been read was tried since: they may hold what it needs."""
        async with self.database.transaction() as session:
            found = await session.execute(select(Retry.source, Retry.id, Retry.waits).where(Retry.waiting))
            waiting: dict[Key, int] = {(row.source, row.id): row.waits for row in found}
        if self._waiting is None:
            self._waiting = waiting
        self._waiting = {key: waits for key, waits in self._waiting.items() if waiting.get(key) == waits}
        return not self._waiting

    async def catch_up(self, source: str) -> int | None:
        """Read one producer's feed to its end; return how many events it held, None where another replica reads it.

        Raises FeedAway, and FeedUnfinished: TURN_SECONDS were over before the end.
        """
        types = self._types(source)
        if not types:  # its owner may read ours, and is asked how far
            await self._compare(source, await self.feeds[source].read(["nothing"], START))
            return 0
        async with lease(self.database, f"feed {source}") as ours:
            return await self._catch_up(source, types) if ours else None

    async def _catch_up(self, source: str, types: AbstractSet[str]) -> int:
        async with self.database.transaction() as session:
            first = insert(FeedPosition).values(source=source, cursor=START, types=sorted(types), attempts=0)
            await session.execute(first.on_conflict_do_nothing())  # the previous release may run beside this one
            position = await fetch(session, FeedPosition, source)
            position.cursor = kept_cursor(position.cursor, source)
        if source in self._begun:
            await self._take_back(position)
        seen, ends = 0, asyncio.get_running_loop().time() + TURN_SECONDS
        if types != set(position.types):
            if missed := types - set(position.types):  # this release subscribes to more than the one before it
                seen += await self._read_ahead(position, frozenset(missed), ends)
            # Types no longer subscribed to are passed over: a release that subscribes again reads from the beginning.
            position.types = sorted(types)
            await self._keep(position)
        async for page in self._read(position, types, position.cursor, ends):
            seen += len(page.bodies)
            position.cursor = page.cursor
            await self._keep(position)
        return seen

    async def _read_ahead(self, position: FeedPosition, types: frozenset[str], ends: float) -> int:
        """Read the events of these types from the beginning, while the position stays; return how many there were.

        Raises what `_read` raises.
        """
        seen, key = 0, (position.source, types)
        async for page in self._read(position, types, self._ahead.get(key, START), ends):
            seen += len(page.bodies)
            self._ahead[key] = page.cursor
            await self._keep(position)
        del self._ahead[key]
        return seen

    async def _read(
        self, position: FeedPosition, types: AbstractSet[str], cursor: str, ends: float
    ) -> AsyncIterator[FeedPage]:
        """Yield the pages after the cursor, to the end of the feed, once their events are handled.

        Raises FeedAway; ForeignFeed; FeedUnfinished: there was more when the turn ended, by the loop's clock.
        """
        seen = 0
        async for page in pages_of(self.feeds[position.source], types, cursor):
            await self._check_origin(position, page)
            if page.bodies:
                await self._take(position, [body.encode() for body in page.bodies])
                seen += len(page.bodies)
            position.attempts = 0
            yield page
            if page.bodies and asyncio.get_running_loop().time() >= ends:
                raise FeedUnfinished(f"{seen} events, as far as {page.cursor}")

    async def _check_origin(self, position: FeedPosition, page: FeedPage) -> None:
        """Raise ForeignFeed where the page is of another installation than the one that was read before."""
        if page.installation is not None and position.installation not in {None, page.installation}:
            raise ForeignFeed(
                f"it is of the installation {page.installation}, and {position.installation} was read before: "
                f"`restored accept` there, or `feed reset {position.source} --installation` here"
            )
        position.installation = page.installation or position.installation
        await self._compare(position.source, page)

    async def _compare(self, source: str, page: FeedPage) -> None:
        """Note whether the log's owner has read, or taken in, events of ours that this database has lost."""
        if page.reader is not None:
            await compare(self.database, replace(page.reader, service=source))

    async def _take(self, position: FeedPosition, bodies: list[bytes]) -> None:
        """Handle a page of events. The attempt is counted before it is made, for it may end the process; one that an
        outage or the end of the process breaks off does not count."""
        position.attempts += 1
        await self._keep(position)
        try:
            if position.attempts <= MOST_ATTEMPTS:
                await self.receiver.take(bodies)
            else:
                await self.receiver.suspect_poison(bodies, "a page of the feed with this event was never finished")
        except (Exception, asyncio.CancelledError) as error:
            if not (isinstance(error, asyncio.CancelledError) or is_database_down(error)):
                raise
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
                    installation=position.installation,
                    read_at=text("now()"),
                )
            )
