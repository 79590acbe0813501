"""From the commit to the transport: the relay sends what is committed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
from sqlalchemy import text

from shared import telemetry
from shared.crashes import crash_point
from shared.database import Database, driver_of
from shared.driver import connect_driver
from shared.events import registry
from shared.messaging.outbox import CHANNEL, Row, Wakeup
from shared.outages import DATABASE_ERRORS, is_being_cancelled, note_outage

log = logging.getLogger(__name__)

MEASURE_SECONDS: Final = 10.0
"""Between two looks at how much waits."""
SETTLE_SECONDS: Final = 0.05
"""Before it is written down what became of what was handed over, all at once."""

_DUE = "from outbox where sent_at is null and next_attempt_at <= now()"
_WAITING = f"select {_DUE} limit 1"
_CLAIM = f"""
    update outbox set sent_at = now(), attempts = attempts + 1
    where position = any (array(
        select position {_DUE} and id <> all ($2::uuid[]) order by position limit $1 for update skip locked
    ))
    returning position, id, type, body
"""  # noqa: S608 - constants of this module
"""It says that they are sent, and is committed once they are."""
_UNSENT = """
    update outbox set sent_at = null, last_error = $1,
    next_attempt_at = now() + least(power(2, least(attempts - 1, 6)), 60) * interval '1 second'
    where position = $2
"""
_SENT = """
    with hurry as (select set_config('synchronous_commit', 'off', true))
    update outbox set sent_at = now(), attempts = attempts + 1 from hurry
    where id = any($1::uuid[]) and sent_at is null and created_at > now() - interval '1 day'
"""
"""One that is lost in a crash only means that the event is sent twice, so its commit waits for no disk. What was handed
over was written a moment ago: the parts of other years are passed over."""
_RELEASE = """
    update outbox set next_attempt_at = now()
    where id = any($1::uuid[]) and sent_at is null and created_at > now() - interval '1 day'
"""
"""To be claimed: that way it is told what is the matter, and tried again with patience."""

MOST_COUNTED: Final = 10_000
"""By the gauges: so many are as bad as more, and are counted in no time."""
_MEASURE = text(f"""
    select (select count(*) from (select from outbox where sent_at is null limit {MOST_COUNTED}) as unsent),
        coalesce((
            select extract(epoch from now() - created_at) from outbox where sent_at is null order by position limit 1
        ), 0),
        (select count(*) from (
            select from outbox where xid >= pg_snapshot_xmin(pg_current_snapshot()) limit {MOST_COUNTED}
        ) as hidden)
""")  # noqa: S608 - constants of this module


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a transport is handed."""

    id: str
    type: str
    body: bytes
    heard: bool
    """Somebody listens to this type, so it must find a queue."""


class TransportDown(Exception):
    """Nothing can be sent now; the relay waits and tries again."""


class Transport(Protocol):
    at_once: int
    """How many batches of what is handed over may be on their way: a confirm takes longer than the next commit."""
    batch: int
    """How many it is given at most at a time; it should be done with them before a lease is over."""

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        """Per envelope None where it is certain to be kept, else why not. Raises TransportDown."""
        ...


class Relay:
    """Sends committed events; any number of relays may run at once.

    What its own process commits it is handed (see `Wakeup`). Whatever else there is, it looks for and claims, oldest
    first, in batches: of processes without a relay, or that ended before they had sent it; what was refused before;
    what came too fast. A row counts as sent only when the transport confirmed it; an unknown outcome means it is sent
    again.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        transport: Transport,
        *,
        wakeup: Wakeup | None = None,
        poll_seconds: float = 1.0,
        longest_wait_seconds: float = 5.0,
    ) -> None:
        """`wakeup` is told of the commits of this same process."""
        self.service, self.database, self.transport = service, database, transport
        self.poll_seconds, self.longest_wait_seconds = poll_seconds, longest_wait_seconds
        self.last_beat = asyncio.get_event_loop().time()
        self._wake = asyncio.Event()
        self._wakeup = wakeup
        if wakeup is not None:
            wakeup.relay = self
        self._measured = float("-inf")
        self._connection: Any = None  # Any: asyncpg ships no types
        self._keeps_up = True
        """Nothing was refused, and no whole batch waits."""
        self._handed: list[Row] = []
        self._in_hand: set[UUID] = set()
        """Handed over, and not yet written down what became of it: a lease that runs out meanwhile is for others."""
        self._given = asyncio.Event()
        self._sent: list[UUID] = []
        self._refused: list[UUID] = []
        self._known = asyncio.Event()
        """What became of some that were handed over."""

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self._relay, self._pass_on, self._settle):
                    group.create_task(part())
        finally:
            if self._wakeup is not None:
                self._wakeup.relay = None
            # In a task of its own: in one that is being cancelled no error counts as the database's.
            await asyncio.create_task(self._end())

    async def _end(self) -> None:
        await self._write_down()
        if self._connection is not None:
            await self._connection.close(timeout=1)

    # --- what is handed over

    def has_room(self, count: int) -> bool:
        return self._keeps_up and len(self._handed) + count <= self.transport.batch

    def take(self, rows: Sequence[Row]) -> None:
        self._handed += rows
        self._in_hand.update(id_ for id_, *_ in rows)
        self._given.set()

    def wake(self) -> None:
        self._wake.set()

    async def _pass_on(self) -> None:
        turns = asyncio.Semaphore(self.transport.at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._given.wait()
                await turns.acquire()
                self._given.clear()
                rows, self._handed = self._handed, []
                group.create_task(self._send(rows)).add_done_callback(lambda _: turns.release())

    async def _send(self, rows: Sequence[Row]) -> None:
        crash_point("relay_handed")
        try:
            outcomes = await self.transport.send([_wrapped(id_, type_, body) for id_, type_, _, body in rows])
        except (TransportDown, asyncio.CancelledError) as down:
            if is_being_cancelled():
                raise
            outcomes = [repr(down)] * len(rows)
        except DATABASE_ERRORS as error:
            note_outage(log, error)
            outcomes = [repr(error)] * len(rows)
        for (id_, type_, *_), error in zip(rows, outcomes, strict=True):
            if error is None:
                self._sent.append(id_)
                telemetry.events_sent.labels(self.service, type_).inc()
            else:
                self._refused.append(id_)
                self._keeps_up = False
        crash_point("relay_confirmed")
        self._known.set()

    async def _settle(self) -> None:
        """No hurry: as long as it is leased nobody looks for it."""
        while True:
            await self._known.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._known.clear()
            if not await self._write_down():
                self._known.set()
                await asyncio.sleep(1)

    async def _write_down(self) -> bool:
        """What became of what was handed over; False where the database is away."""
        sent, refused = len(self._sent), len(self._refused)
        if not (sent or refused):
            return True
        try:
            async with asyncio.timeout(1), driver_of(self.database.messaging) as driver:
                await driver.execute(_SENT, self._sent[:sent])
                if refused:
                    await driver.execute(_RELEASE, self._refused[:refused])
        except DATABASE_ERRORS as error:
            note_outage(log, error, not_marked=sent)
            return False
        self._in_hand.difference_update(self._sent[:sent], self._refused[:refused])
        del self._sent[:sent]
        del self._refused[:refused]
        if refused:
            self.wake()
        return True

    # --- what is looked for

    async def _relay(self) -> None:
        wait = 0.1
        while True:
            self.last_beat = asyncio.get_running_loop().time()
            try:
                if await self.send_batch() < self.transport.batch:
                    await self._until_something_waits()
                wait = 0.1
            except (TransportDown, asyncio.CancelledError) as down:
                if is_being_cancelled():
                    raise
                log.warning("the transport is down", extra={"error": repr(down)})
                await self._rest(wait)
                wait = min(wait * 2, self.longest_wait_seconds)
            except DATABASE_ERRORS as error:
                note_outage(log, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self.longest_wait_seconds)

    async def _rest(self, seconds: float) -> None:
        try:
            await self._measure()  # how much waits is of most interest while nothing can be sent
        except DATABASE_ERRORS as error:
            note_outage(log, error)
        await asyncio.sleep(seconds)

    async def _woken(self) -> bool:
        """Rest until there is something to send; False where only the poll's time is up."""
        try:
            async with asyncio.timeout(self.poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _until_something_waits(self) -> None:
        """Until a commit tells of it, or a look finds it: the notice was lost, or an event is to be sent again."""
        while not await self._woken():
            self.last_beat = now = asyncio.get_running_loop().time()
            if now - self._measured >= MEASURE_SECONDS:
                await self._measure()
            connection = await self._connected()
            if await connection.fetchrow(_WAITING) is not None:
                return

    async def _measure(self) -> None:
        self._measured = asyncio.get_running_loop().time()
        async with self.database.messaging.connect() as connection:
            unsent, age, hidden = (await connection.execute(_MEASURE)).one()
        telemetry.outbox_unsent.labels(self.service).set(unsent)
        telemetry.outbox_oldest_seconds.labels(self.service).set(float(age))
        telemetry.outbox_hidden.labels(self.service).set(hidden)

    async def send_batch(self) -> int:
        """Send one batch; the number confirmed. Raises TransportDown."""
        connection = await self._connected()
        try:
            async with connection.transaction():
                sent = await self._send_batch(connection)
        except (TransportDown, asyncpg.PostgresError):  # the database has answered, and listens
            raise
        except BaseException:
            connection.terminate()  # a statement that was broken off may still be on its way
            raise
        for type_ in sent:
            telemetry.events_sent.labels(self.service, type_).inc()
        return len(sent)

    async def _send_batch(self, connection: Any) -> list[str]:  # Any: asyncpg ships no types
        """The types of what was sent."""
        rows = sorted(await connection.fetch(_CLAIM, self.transport.batch, self._in_hand), key=itemgetter("position"))
        if not rows:
            return []
        crash_point("relay_claimed")
        outcomes = await self.transport.send([_wrapped(row["id"], row["type"], row["body"]) for row in rows])
        crash_point("relay_confirmed")
        sent: list[str] = []
        for row, error in zip(rows, outcomes, strict=True):
            if error is None:
                sent.append(row["type"])
            else:
                log.error("event not sent", extra={"event": str(row["id"]), "type": row["type"], "error": error})
                await connection.execute(_UNSENT, error, row["position"])
        self._keeps_up = len(rows) < self.transport.batch and bool(sent)
        return sent

    async def _connected(self) -> Any:  # Any: asyncpg ships no types
        """The relay's own connection: it hears of commits on it, too. Where it was lost another is opened."""
        if self._connection is None or self._connection.is_closed():
            # A claim lost in a crash only means that the event is sent twice, so its commit waits for no disk.
            connection = await connect_driver(self.database.url, synchronous_commit="off")
            connection.add_termination_listener(self._lose)
            try:
                await connection.add_listener(CHANNEL, self._hear)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _lose(self, _connection: object) -> None:
        self._wake.set()  # what was committed meanwhile was not heard of

    def _hear(self, _connection: object, pid: int, _channel: str, _payload: object) -> None:
        if self._wakeup is None or pid != self._wakeup.pid:  # else we know already
            self._wake.set()


def _wrapped(id_: UUID, type_: str, body: str) -> Envelope:
    return Envelope(str(id_), type_, body.encode(), is_heard(type_))


def is_heard(type_: str) -> bool:
    """Whether it must find a queue; of a type this release does not know we cannot tell."""
    kind = registry().get(type_)
    return kind is None or bool(kind.heard_by)
