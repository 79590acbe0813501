"""From the commit to the transport: the relay sends what is committed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final, Protocol, cast
from uuid import UUID

import asyncpg
from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import liveness, telemetry
from shared.database import Database, driver_of
from shared.driver import close_driver, connect_driver, ended_if_broken_off
from shared.events import registry
from shared.failpoints import failpoint
from shared.messaging.outbox import CHANNEL, HandedOff, OutboxNotifier
from shared.outages import is_being_cancelled, note_outage

log = logging.getLogger(__name__)

MEASURE_SECONDS: Final = 10.0
"""Between two measurements of how many events wait."""
SETTLE_SECONDS: Final = 0.05
"""How long outcomes of handed-off events are gathered before they are written to the outbox, all at once."""

LONGEST_PAUSE: Final = timedelta(hours=4)
"""The longest pause of a refused event, to which it doubles: an event too large for the broker closes a channel at each
try, with all that is under way on it. Subscribers read of it in the feed meanwhile."""

_DUE = "from outbox where sent_at is null and next_attempt_at <= now()"
_WAITING = f"select {_DUE} limit 1"
_CLAIM = f"""
    update outbox set sent_at = now(), attempts = least(attempts, 1000000) + 1
    where position = any (array(
        select position {_DUE} and id <> all ($2::uuid[]) order by position limit $1 for no key update skip locked
    ))
    returning position, id, type, body, (select installation_id from installation) as installation
"""  # noqa: S608 - constants of this module
"""Marks the rows as sent, in a transaction that is committed once they are."""
_UNSENT = f"""
    update outbox set sent_at = null, last_error = $1,
    next_attempt_at = now() + least(power(2, least(attempts - 1, 20)), {LONGEST_PAUSE.seconds}) * interval '1 second'
    where position = $2
"""  # noqa: S608 - constants of this module
_SENT = """
    with hurry as (select set_config('synchronous_commit', 'off', true))
    update outbox set sent_at = now(), attempts = least(attempts, 1000000) + 1 from hurry
    where id = any($1::uuid[]) and sent_at is null and created_at > now() - interval '1 day'
"""
"""If it is lost in a crash, the event is sent twice, and no more, so its commit waits for no disk. Handed-off events
were written a moment ago: the condition on `created_at` leaves other years' partitions unread."""
_RELEASE = """
    update outbox set next_attempt_at = now()
    where id = any($1::uuid[]) and sent_at is null and created_at > now() - interval '1 day'
"""
"""Makes refused events due, so that a relay claims them: `_UNSENT` then records the error and spaces the tries."""

MOST_COUNTED: Final = 10_000
"""How far the gauges count: so many waiting events are as bad as more, and are counted in no time."""
_MEASURE = text(f"""
    select (select count(*) from (select from outbox where sent_at is null limit {MOST_COUNTED}) as unsent),
        coalesce((
            select extract(epoch from now() - created_at) from outbox where sent_at is null order by position limit 1
        ), 0),
        (select count(*) from (
            select from outbox where xid >= pg_snapshot_xmin(pg_current_snapshot()) limit {MOST_COUNTED}
        ) as hidden)
""")  # noqa: S608 - constants of this module


_REFUSED = """
    select id, type, created_at, attempts, next_attempt_at, last_error
    from outbox where sent_at is null and attempts > 0 order by position
"""
_DUE_NOW = """
    update outbox set next_attempt_at = now() where sent_at is null and attempts > 0 and next_attempt_at > now()
"""


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """An event that the transport did not keep; it is tried again when due."""

    id: UUID
    type: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    last_error: str | None


async def list_refused(session: AsyncSession) -> Sequence[RefusedEvent]:
    """Return the events that the transport did not keep so far, oldest first."""
    return [RefusedEvent(*row) for row in await session.execute(text(_REFUSED))]


async def retry_refused(session: AsyncSession) -> int:
    """Have the relay try every refused event again now; return how many were waiting for that."""
    return cast("CursorResult[Any]", await session.execute(text(_DUE_NOW))).rowcount


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as a transport is handed it."""

    id: str
    type: str
    body: bytes
    has_consumers: bool
    """Whether the type has consumers, so that the event must find a queue."""
    installation: UUID | None = None
    """The installation whose database it was written in; None where the release that wrote it did not say."""


class TransportDown(Exception):
    """Nothing can be sent now; the relay waits and tries again."""


class Transport(Protocol):
    """The way by which envelopes reach the subscribers: RabbitMQ, or a call within the process."""

    at_once: int
    """How many batches of handed-off events may be on their way: a confirm takes longer than the next commit."""
    batch: int
    """How many envelopes it is given at most at a time; it should be done with them before a lease is over."""

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        """Send these envelopes; return for each None where it is certain to be kept, else why not.

        Raises TransportDown: nothing can be sent now.
        """
        ...


class Relay:
    """Sends committed events; any number of relays may run at once.

    A relay is handed what its own process commits (see `OutboxNotifier`). All other unsent events it looks for and
    claims, oldest first, in batches: those of processes without a relay, or that ended before they had sent them, those
    refused before, and those that came too fast. A row counts as sent only when the transport confirmed it; with an
    unknown outcome the event is sent again.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        transport: Transport,
        *,
        notifier: OutboxNotifier | None = None,
        poll_seconds: float = 1.0,
        longest_wait_seconds: float = 5.0,
    ) -> None:
        """`notifier` is that of this process's Database: it hands the relay what this process commits."""
        self.service, self.database, self.transport = service, database, transport
        self.poll_seconds, self.longest_wait_seconds = poll_seconds, longest_wait_seconds
        self._wake = asyncio.Event()
        self._notifier = notifier
        if notifier is not None:
            notifier.relay = self
        self._gauges = [
            gauge.labels(service)
            for gauge in (telemetry.outbox_unsent, telemetry.outbox_oldest_seconds, telemetry.outbox_hidden)
        ]
        telemetry.set_unknown(*self._gauges)
        self._measured = float("-inf")
        self._connection: Any = None  # Any: asyncpg ships no types
        self._keeps_up = True
        """Whether nothing was refused, and less than a whole batch waits."""
        self._handed: list[HandedOff] = []
        self._in_flight: set[UUID] = set()
        """Handed-off events whose outcome is not yet written: should their lease run out, only other relays claim
        them."""
        self._given = asyncio.Event()
        self._sent: list[UUID] = []
        self._refused: list[UUID] = []
        self._known = asyncio.Event()
        """Set while there are outcomes of handed-off events to write."""

    async def run(self) -> None:
        """Send what is handed off and what is found, and record the outcomes, for ever."""
        liveness.rest()  # each part reports its own liveness
        try:
            async with asyncio.TaskGroup() as group:
                for name, part in (("look", self._relay), ("send", self._pass_on), ("settle", self._settle)):
                    group.create_task(liveness.part(name, part()))
        finally:
            if self._notifier is not None:
                self._notifier.relay = None
            # In a task of its own: `note_outage` raises in one that is being cancelled.
            await asyncio.create_task(self._end())

    async def _end(self) -> None:
        await self._write_down()
        if self._connection is not None:
            await close_driver(self._connection)

    # --- what is handed off

    def has_room(self, count: int) -> bool:
        return self._keeps_up and len(self._handed) + count <= self.transport.batch

    def take(self, rows: Sequence[HandedOff]) -> None:
        self._handed += rows
        self._in_flight.update(id_ for id_, *_ in rows)
        self._given.set()

    def wake(self) -> None:
        self._wake.set()

    async def _pass_on(self) -> None:
        slots = asyncio.Semaphore(self.transport.at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                liveness.rest()
                await self._given.wait()
                liveness.beat()
                await slots.acquire()
                self._given.clear()
                rows, self._handed = self._handed, []
                group.create_task(self._send(rows)).add_done_callback(lambda _: slots.release())

    async def _send(self, rows: Sequence[HandedOff]) -> None:
        failpoint("relay_handed")
        try:
            outcomes = await self.transport.send(
                [_wrapped(id_, type_, body, whose) for id_, type_, _, body, whose in rows]
            )
        except (TransportDown, asyncio.CancelledError) as down:
            if is_being_cancelled():
                raise
            outcomes = [repr(down)] * len(rows)
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error)
            outcomes = [repr(error)] * len(rows)
        for (id_, type_, *_), error in zip(rows, outcomes, strict=True):
            if error is None:
                self._sent.append(id_)
                telemetry.events_sent.labels(self.service, type_).inc()
            else:
                self._refused.append(id_)
                self._keeps_up = False
        failpoint("relay_confirmed")
        self._known.set()
        liveness.rest()  # in embedded mode the receivers ran in this task, and have set its next deadline

    async def _settle(self) -> None:
        """Write the outcomes of handed-off events, in batches: while they are leased no other relay looks for them."""
        while True:
            liveness.rest()
            await self._known.wait()
            liveness.beat()
            await asyncio.sleep(SETTLE_SECONDS)
            self._known.clear()
            if not await self._write_down():
                self._known.set()
                await asyncio.sleep(1)

    async def _write_down(self) -> bool:
        """Write the outcomes of handed-off events to the outbox; return False where the database is away."""
        sent, refused = len(self._sent), len(self._refused)
        if not (sent or refused):
            return True
        try:
            async with asyncio.timeout(1), driver_of(self.database.messaging) as driver:
                await driver.execute(_SENT, self._sent[:sent])
                if refused:
                    await driver.execute(_RELEASE, self._refused[:refused])
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error, not_marked=sent)
            return False
        self._in_flight.difference_update(self._sent[:sent], self._refused[:refused])
        del self._sent[:sent]
        del self._refused[:refused]
        if refused:
            self.wake()
        return True

    # --- what is looked for

    async def _relay(self) -> None:
        wait = 0.1
        while True:
            liveness.beat()
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
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                telemetry.set_unknown(*self._gauges)
                note_outage(log, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self.longest_wait_seconds)

    async def _rest(self, seconds: float) -> None:
        try:
            await self._measure()  # the number of waiting events matters most while nothing can be sent
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error)
        await asyncio.sleep(seconds)

    async def _woken(self) -> bool:
        """Wait to be woken; return False where it is only time for the next poll."""
        try:
            async with asyncio.timeout(self.poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _until_something_waits(self) -> None:
        """Wait until a commit is notified or a poll finds a due event: one sent again, or whose NOTIFY was lost."""
        while not await self._woken():
            liveness.beat()
            if asyncio.get_running_loop().time() - self._measured >= MEASURE_SECONDS:
                await self._measure()
            connection = await self._connected()
            async with ended_if_broken_off(connection):
                if await connection.fetchrow(_WAITING) is not None:
                    return

    async def _measure(self) -> None:
        self._measured = asyncio.get_running_loop().time()
        try:
            async with self.database.messaging.connect() as connection:
                measured = (await connection.execute(_MEASURE)).one()
        except BaseException:
            telemetry.set_unknown(*self._gauges)
            raise
        for gauge, value in zip(self._gauges, measured, strict=True):
            gauge.set(float(value))

    async def send_batch(self) -> int:
        """Claim and send one batch; return how many events were confirmed.

        Raises TransportDown: nothing can be sent now.
        """
        connection = await self._connected()
        try:
            async with connection.transaction():
                sent = await self._send_batch(connection)
        except (TransportDown, asyncpg.PostgresError):  # the database has answered: the connection is sound
            raise
        except BaseException:
            connection.terminate()  # a statement that was broken off may still be on its way
            raise
        for type_ in sent:
            telemetry.events_sent.labels(self.service, type_).inc()
        return len(sent)

    async def _send_batch(self, connection: Any) -> list[str]:  # Any: asyncpg ships no types
        """Claim and send one batch; return the types of the events that were confirmed."""
        rows = sorted(await connection.fetch(_CLAIM, self.transport.batch, self._in_flight), key=itemgetter("position"))
        if not rows:
            return []
        failpoint("relay_claimed")
        outcomes = await self.transport.send(
            [_wrapped(row["id"], row["type"], row["body"], row["installation"]) for row in rows]
        )
        failpoint("relay_confirmed")
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
        """Return the relay's own connection, on which it also listens to NOTIFY; open another where it was lost."""
        if self._connection is None or self._connection.is_closed():
            # A claim lost in a crash only means that the event is sent twice, so its commit waits for no disk.
            connection = await connect_driver(self.database.url, synchronous_commit="off")
            connection.add_termination_listener(self._lose)
            try:
                await connection.add_listener(CHANNEL, self._on_notify)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _lose(self, _connection: object) -> None:
        self._wake.set()  # what is committed without a connection is not notified to us

    def _on_notify(self, _connection: object, pid: int, _channel: str, _payload: object) -> None:
        if self._notifier is None or pid != self._notifier.pid:  # our own notifier has woken us already
            self._wake.set()


def _wrapped(id_: UUID, type_: str, body: str, installation: UUID | None) -> Envelope:
    return Envelope(str(id_), type_, body.encode(), has_consumers(type_), installation)


def has_consumers(type_: str) -> bool:
    """Return whether an event of this type must find a queue; True for a type this release does not know."""
    kind = registry().get(type_)
    return kind is None or bool(kind.consumers)
