"""The reconciler reads the feeds of other services for events that the broker lost."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from shared import liveness, telemetry
from shared.database import Database, fetch
from shared.leases import lease
from shared.messaging.deduplication import Key
from shared.messaging.epochs import START, kept_cursor
from shared.messaging.feed import Feed, FeedAway, FeedPage, pages_of
from shared.messaging.history import History, compare
from shared.messaging.receiver import TAKEN_BACK_SECONDS, Receiver
from shared.messaging.tables import FeedPosition, Retry
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage

log = logging.getLogger(__name__)

UNREAD_SECONDS: Final = 2.0
"""Pause between rounds, until every feed has been read once."""
TURN_SECONDS: Final = 60.0
"""After which a feed that has not ended lets the others be read; the page under way is finished."""
MOST_ATTEMPTS: Final = 3
"""How often a page is begun; after that an event in it must be what ends the process each time."""


class ForeignFeed(Exception):
    """A feed serves the log of another installation than the one that was read before."""


class FeedUnfinished(Exception):
    """A feed did not end within its turn, and the next one goes on where it stood."""


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
            said = {"source": source, "error": str(error)}
            log.error("the feed is not read", extra=said)  # noqa: TRY400 - the trace says nothing more
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
