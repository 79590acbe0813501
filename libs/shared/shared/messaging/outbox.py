"""From the change to the commit: `publish` writes the event with the change, and the relays are told of the commit."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import event as orm_event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import SessionTransaction

from shared import telemetry
from shared.driver import SideConnection
from shared.events import Event
from shared.ids import new_id
from shared.messaging.message import envelope
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)

CHANNEL: Final = "outbox"
LEASE_SECONDS: Final = 5.0
"""Longer than a broker that is well takes to confirm. Where it takes longer, another relay sends the event too."""

Row = tuple[UUID, str, str, str]
"""Of the outbox: id, type, partition key, body."""

# In session.info:
HANDLING = "handling"  # id of the event whose handler this is
_ANNOUNCED = "announced"  # rows of the outbox yet to be written, each with the savepoint it belongs to
_WRITTEN = "written"  # there is something to look for once this is committed
_LEASED = "leased"  # rows that are handed over once this is committed


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
        # What a savepoint writes may still be rolled back by one around it: the relay is to look whether it is there.
        wakeup: Wakeup = session.info["wakeup"]
        lease = wakeup.lease(len(rows)) if here is None else 0
        session.connection().exec_driver_sql(_WRITE, (*map(list, zip(*rows, strict=True)), lease))
        session.info[_ANNOUNCED] = [one for one in announced if one[0] is not here]
        if lease:
            session.info.setdefault(_LEASED, []).extend(rows)
        else:
            session.info[_WRITTEN] = True


_WRITE = """
    insert into outbox (id, type, partition_key, body, next_attempt_at)
    select id, type, partition_key, body, now() + make_interval(secs => $5::float8)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
        with ordinality as announced (id, type, partition_key, body, place)
    order by place
"""

orm_event.listen(OrmSession, "before_commit", write_announced)  # a savepoint's too, when it is released


@orm_event.listens_for(OrmSession, "after_commit")
def _tell(session: OrmSession) -> None:
    """After the transaction's own commit, not a savepoint's."""
    if session.in_nested_transaction():
        return
    if leased := session.info.pop(_LEASED, None):
        session.info["wakeup"].hand(leased)
    if session.info.pop(_WRITTEN, False):
        session.info["wakeup"].poke()


@orm_event.listens_for(OrmSession, "after_transaction_end")
def _forget(session: OrmSession, ended: SessionTransaction) -> None:
    """What a transaction, or a savepoint, leaves unwritten was rolled back with it and was never true; nor was what it
    wrote and did not commit. Once woken too often, after a rollback, does no harm."""
    if announced := session.info.get(_ANNOUNCED):
        session.info[_ANNOUNCED] = [one for one in announced if ended.parent is not None and one[0] is not ended]
    if ended.parent is None:
        session.info.pop(_LEASED, None)


class Sender(Protocol):
    """The relay of this process (`shared.messaging.relay.Relay`)."""

    def has_room(self, count: int) -> bool:
        """Whether it can send that many more at once."""
        ...

    def take(self, rows: Sequence[Row]) -> None:
        """Send these, which are committed and leased to it."""
        ...

    def wake(self) -> None:
        """Look for what was committed."""
        ...


class Wakeup:
    """Tells the relays what was committed.

    That of this process is handed it, to be sent at once. Until `LEASE_SECONDS` after its transaction began it is
    leased to it: no relay looks for it; thereafter any does, so nothing is lost with a process that ends in between.
    Where there is no such relay, or it cannot keep up, all are told by NOTIFY. Inside the transaction that would halve
    the write capacity, because notifying commits are serialised: it comes after the commit, one for all within 2 ms, or
    within 50 where a relay of this process is at it already. One that is lost in a crash only waits for their poll.
    """

    def __init__(self) -> None:
        self.side: SideConnection | None = None
        self._pending = asyncio.Event()
        self.relay: Sender | None = None
        """Of this process, until it ends."""
        self.pid: int | None = None
        """Of the connection that notifies."""

    def lease(self, count: int) -> float:
        """For how many seconds so many rows, about to be committed, are this relay's alone; 0 where it is to look for
        them."""
        return LEASE_SECONDS if self.relay is not None and self.relay.has_room(count) else 0.0

    def hand(self, leased: Sequence[Row]) -> None:
        """These are committed."""
        if self.relay is not None:  # else it has ended since, and so does the lease
            self.relay.take(leased)

    def poke(self) -> None:
        """What nobody has leased is committed."""
        self._pending.set()
        if self.relay is not None:
            self.relay.wake()

    async def run(self) -> None:
        assert self.side is not None, "a Database was given it"
        while True:
            await self._pending.wait()
            self._pending.clear()
            try:
                async with self.side.driver() as driver:
                    self.pid = driver.get_server_pid()
                    await driver.execute(f"notify {CHANNEL}")
            except DATABASE_ERRORS as error:
                note_outage(log, error)
                self._pending.set()
                await asyncio.sleep(1)
            await asyncio.sleep(0.002 if self.relay is None else 0.05)
