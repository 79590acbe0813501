"""From the commit to the transport: `publish` writes the event with the change, the relay sends what is committed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from sqlalchemy import event as orm_event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction

from shared import telemetry
from shared.crashes import crash_point
from shared.database import Database, connect_driver, is_being_cancelled, is_database_down
from shared.events import Event, registry
from shared.ids import new_id
from shared.messaging.message import envelope

log = logging.getLogger(__name__)

CHANNEL = "outbox"
MEASURE_SECONDS = 10.0
"""Between two looks at how much waits."""

_DUE = "from outbox where sent_at is null and next_attempt_at <= now()"
_WAITING = f"select {_DUE} limit 1"
_CLAIM = f"""
    update outbox set sent_at = now(), attempts = attempts + 1
    where position = any (array(select position {_DUE} order by position limit $1 for update skip locked))
    returning position, id, type, body
"""  # noqa: S608 - constants of this module
"""It says that they are sent, and is committed once they are."""
_UNSENT = """
    update outbox set sent_at = null, last_error = $1,
    next_attempt_at = now() + least(power(2, least(attempts - 1, 6)), 60) * interval '1 second'
    where position = $2
"""

Row = tuple[UUID, str, str, str]
"""Of the outbox: id, type, partition key, body."""

# In session.info:
HANDLING = "handling"  # id of the event whose handler this is
_ANNOUNCED = "announced"  # rows of the outbox yet to be written, each with the savepoint it belongs to
_WRITTEN = "written"  # there is something to send once this is committed


def publish(session: AsyncSession, event: Event) -> None:
    """Announce a fact in the transaction that makes it true: committed means sent, rolled back means never sent."""
    if not session.in_transaction():
        session.sync_session.begin()  # what is announced belongs to a transaction
    row = row_of(event, causation=session.info.get(HANDLING))
    session.info.setdefault(_ANNOUNCED, []).append((session.sync_session.get_nested_transaction(), row))


def row_of(event: Event, *, causation: str | None) -> Row:
    """The event as it is to stand in the outbox; `causation` is the id of the event it follows from."""
    id_ = new_id()
    body = envelope(
        event,
        id=id_,
        time=datetime.now(UTC),
        traceparent=telemetry.traceparent.get(),
        request_id=telemetry.request_id.get(),
        causation=causation,
    )
    return id_, event.type, event.partition_key, body


def write_announced(session: OrmSession) -> None:
    """Write what was announced in this transaction, or in this savepoint, and not yet written: all in one statement,
    at a third of what the rows would cost as objects."""
    announced: list[tuple[SessionTransaction | None, Row]] = session.info.get(_ANNOUNCED, [])
    here = session.get_nested_transaction()
    rows = [row for where, row in announced if where is here]
    if rows:
        session.connection().exec_driver_sql(_WRITE, tuple(map(list, zip(*rows, strict=True))))
        session.info[_ANNOUNCED] = [one for one in announced if one[0] is not here]
        session.info[_WRITTEN] = True


_WRITE = """
    insert into outbox (id, type, partition_key, body)
    select id, type, partition_key, body
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
        with ordinality as announced (id, type, partition_key, body, place)
    order by place
"""

orm_event.listen(OrmSession, "before_commit", write_announced)  # a savepoint's too, when it is released


@orm_event.listens_for(OrmSession, "after_transaction_end")
def _forget(session: OrmSession, ended: SessionTransaction) -> None:
    """What a transaction, or a savepoint, leaves unwritten was rolled back with it and was never true."""
    if announced := session.info.get(_ANNOUNCED):
        session.info[_ANNOUNCED] = [one for one in announced if ended.parent is not None and one[0] is not ended]


@orm_event.listens_for(OrmSession, "after_commit")
def _wake_relay(session: OrmSession) -> None:
    """After the transaction's own commit, not a savepoint's. Once too often, after a rollback, does no harm."""
    if not session.in_nested_transaction() and session.info.pop(_WRITTEN, False):
        session.info["wakeup"].poke()


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
    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        """Per envelope None where it is certain to be kept, else why not. Raises TransportDown."""
        ...


class Relay:
    """Sends committed events, oldest first, in batches; any number of relays may run at once.

    A row counts as sent only when the transport confirmed it; an unknown outcome means it is sent again.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        transport: Transport,
        *,
        wakeup: "Wakeup | None" = None,
        batch: int = 500,
        poll_seconds: float = 1.0,
        longest_wait_seconds: float = 5.0,
    ) -> None:
        """`wakeup` is told of the commits of this same process."""
        self.service, self.database, self.transport = service, database, transport
        self.batch, self.poll_seconds, self.longest_wait_seconds = batch, poll_seconds, longest_wait_seconds
        self.last_beat = asyncio.get_event_loop().time()
        self._wake = asyncio.Event()
        self._wakeup = wakeup
        if wakeup is not None:
            wakeup.woken.append(self._wake)
        self._measured = float("-inf")
        self._connection: Any = None  # Any: asyncpg ships no types

    async def run(self) -> None:
        try:
            await self._relay()
        finally:
            if self._connection is not None:
                await self._connection.close(timeout=1)

    async def _relay(self) -> None:
        wait = 0.1
        while True:
            self.last_beat = asyncio.get_running_loop().time()
            try:
                if await self.send_batch() < self.batch:
                    await self._until_something_waits()
                wait = 0.1
            except (TransportDown, asyncio.CancelledError) as down:
                if is_being_cancelled():
                    raise
                log.warning("the transport is down", extra={"error": repr(down)})
                await self._rest(wait)
                wait = min(wait * 2, self.longest_wait_seconds)
            except Exception as error:
                if not is_database_down(error):
                    raise
                log.warning("the database is down", extra={"error": repr(error)})
                await asyncio.sleep(wait)
                wait = min(wait * 2, self.longest_wait_seconds)

    async def _rest(self, seconds: float) -> None:
        try:
            await self._measure()  # how much waits is of most interest while nothing can be sent
        except Exception as error:
            if not is_database_down(error):
                raise
            log.warning("the database is down", extra={"error": repr(error)})
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
            count, age = (
                await connection.execute(
                    text(
                        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0) "
                        "from outbox where sent_at is null"
                    )
                )
            ).one()
        telemetry.outbox_unsent.labels(self.service).set(count)
        telemetry.outbox_oldest_seconds.labels(self.service).set(float(age))

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
        rows = sorted(await connection.fetch(_CLAIM, self.batch), key=itemgetter("position"))
        if not rows:
            return []
        crash_point("relay_claimed")
        outcomes = await self.transport.send(
            [Envelope(str(row["id"]), row["type"], row["body"].encode(), is_heard(row["type"])) for row in rows]
        )
        crash_point("relay_confirmed")
        sent: list[str] = []
        for row, error in zip(rows, outcomes, strict=True):
            if error is None:
                sent.append(row["type"])
            else:
                log.error("event not sent", extra={"event": str(row["id"]), "type": row["type"], "error": error})
                await connection.execute(_UNSENT, error, row["position"])
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


def is_heard(type_: str) -> bool:
    """Whether it must find a queue; of a type this release does not know we cannot tell."""
    kind = registry().get(type_)
    return kind is None or bool(kind.heard_by)


class Wakeup:
    """Tells the relays that something was committed: that of this process at once, the others by NOTIFY.

    Inside the transaction NOTIFY would halve the write capacity, because notifying commits are serialised: it comes
    after the commit, one for all within 2 ms, or within 50 where a relay of this process is at it already. One that is
    lost in a crash only waits for the relay's poll.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pending = asyncio.Event()
        self.woken: list[asyncio.Event] = []
        """Of relays in this process."""
        self.pid: int | None = None
        """Of the connection that notifies."""

    def poke(self) -> None:
        self._pending.set()
        for event in self.woken:
            event.set()

    async def run(self) -> None:
        while True:
            try:
                connection = await connect_driver(self._url)
                self.pid = connection.get_server_pid()
                try:
                    while True:
                        await self._pending.wait()
                        self._pending.clear()
                        await connection.execute(f"notify {CHANNEL}")
                        await asyncio.sleep(0.05 if self.woken else 0.002)
                finally:
                    await connection.close(timeout=1)
            except Exception as error:
                if not is_database_down(error):
                    raise
                log.warning("outbox notifier lost its connection", extra={"error": repr(error)})
                self._pending.set()
                await asyncio.sleep(1)
