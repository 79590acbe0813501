"""From the change to the commit: `publish` writes the event with the change, and the commit is notified to relays."""

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

from shared import liveness, telemetry
from shared.driver import SideConnection
from shared.events import Event
from shared.ids import new_id
from shared.messaging.message import envelope
from shared.outages import note_outage

log = logging.getLogger(__name__)

CHANNEL: Final = "outbox"
LEASE_SECONDS: Final = 5.0
"""How long a committed event is one relay's alone: longer than a healthy broker takes to confirm it. Where the broker
takes longer, another relay sends the event, too."""

LARGEST_EVENT: Final = 8_000_000
"""Bytes of an event's envelope: less than any broker's default `max_message_size`, and than a page of a feed may
have."""


class EventTooLarge(Exception):
    """An event has more than LARGEST_EVENT bytes, which no transport must carry: a fault of its publisher."""


Row = tuple[UUID, str, str, str]
"""A row of the outbox: id, type, partition key, body."""
HandedOff = tuple[UUID, str, str, str, UUID | None]
"""A row of the outbox, and the installation whose database it was written in."""

# In session.info:
HANDLING = "handling"  # id of the event whose handler this is
_ANNOUNCED = "announced"  # rows of the outbox yet to be written, each with the savepoint it belongs to
_WRITTEN = "written"  # whether relays are to look for rows once this is committed
_LEASED = "leased"  # rows that are handed off to this process's relay once this is committed


def publish(session: AsyncSession, event: Event) -> None:
    """Publish an event in the transaction that makes it true: committed means sent, rolled back means never sent.

    Raises EventTooLarge.
    """
    if not session.in_transaction():
        session.sync_session.begin()  # a published event belongs to a transaction
    row = row_of(event, causation=session.info.get(HANDLING))
    session.info.setdefault(_ANNOUNCED, []).append((session.sync_session.get_nested_transaction(), row))


def row_of(event: Event, *, causation: str | None) -> Row:
    """Return the event's row of the outbox; `causation` is the id of the event it follows from.

    Raises EventTooLarge.
    """
    id_ = new_id()
    body = envelope(
        event,
        id=id_,
        time=datetime.now(UTC),
        traceparent=telemetry.traceparent.get(),
        request_id=telemetry.request_id.get(),
        causation=causation,
    )
    # A character has four bytes at most: an ordinary event is not encoded for this.
    if len(body) > LARGEST_EVENT // 4 and (size := len(body.encode())) > LARGEST_EVENT:
        raise EventTooLarge(f"{event.type} about {event.aggregate_id} has {size} bytes of {LARGEST_EVENT} at most")
    return id_, event.type, event.partition_key, body


def write_announced(session: OrmSession) -> None:
    """Write to the outbox the events published in this transaction, or in this savepoint, and not yet written.

    All go in one statement, at a third of what the rows would cost as objects.
    """
    announced: list[tuple[SessionTransaction | None, Row]] = session.info.get(_ANNOUNCED, [])
    here = session.get_nested_transaction()
    rows = [row for where, row in announced if where is here]
    if rows:
        # A savepoint's rows may still be rolled back by one around it: the relay looks for them, and is handed nothing.
        notifier: OutboxNotifier = session.info["notifier"]
        lease = notifier.lease(len(rows)) if here is None else 0
        values = (*map(list, zip(*rows, strict=True)), lease)
        installation: UUID | None = session.connection().exec_driver_sql(_WRITE, values).scalar()
        session.info[_ANNOUNCED] = [one for one in announced if one[0] is not here]
        if lease:
            session.info.setdefault(_LEASED, []).extend((*row, installation) for row in rows)
        else:
            session.info[_WRITTEN] = True


_WRITE = """
    with written as (
        insert into outbox (id, type, partition_key, body, next_attempt_at)
        select id, type, partition_key, body, now() + make_interval(secs => $5::float8)
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
            with ordinality as announced (id, type, partition_key, body, place)
        order by place
    )
    select installation_id from installation
"""

orm_event.listen(OrmSession, "before_commit", write_announced)  # a savepoint's too, when it is released


@orm_event.listens_for(OrmSession, "after_commit")
def _announce_commit(session: OrmSession) -> None:
    """Hand off or notify what was published, after the transaction's own commit, not a savepoint's."""
    if session.in_nested_transaction():
        return
    if leased := session.info.pop(_LEASED, None):
        session.info["notifier"].hand_off(leased)
    if session.info.pop(_WRITTEN, False):
        session.info["notifier"].notify()


@orm_event.listens_for(OrmSession, "after_transaction_end")
def _forget(session: OrmSession, ended: SessionTransaction) -> None:
    """Drop the events of a transaction or savepoint that was rolled back, written or not: they were never true.

    `_WRITTEN` stays: a relay that is woken once too often, after a rollback, does no harm.
    """
    if announced := session.info.get(_ANNOUNCED):
        session.info[_ANNOUNCED] = [one for one in announced if ended.parent is not None and one[0] is not ended]
    if ended.parent is None:
        session.info.pop(_LEASED, None)


class Sender(Protocol):
    """The relay of this process (`shared.messaging.relay.Relay`)."""

    def has_room(self, count: int) -> bool:
        """Whether the relay can send that many more events at once."""
        ...

    def take(self, rows: Sequence[HandedOff]) -> None:
        """Send these events, which are committed and leased to this relay."""
        ...

    def wake(self) -> None:
        """Look for events that were committed."""
        ...


class OutboxNotifier:
    """Notifies the relays of committed events.

    This process's own relay is handed the events, to send at once. They are leased to it until `LEASE_SECONDS` after
    their transaction began: until then no other relay looks for them, thereafter any does, so nothing is lost with a
    process that ends in between. Where there is no relay in this process, or it cannot keep up, all relays are notified
    by NOTIFY. Inside the transaction that would halve the write capacity, because notifying commits are serialised: so
    it comes after the commit, one NOTIFY for all commits within 2 ms, or within 50 ms where this process has a relay.
    If it is lost in a crash, the events wait for the relays' next poll.
    """

    def __init__(self) -> None:
        self.side: SideConnection | None = None
        self._pending = asyncio.Event()
        self.relay: Sender | None = None
        """The relay of this process, until it ends."""
        self.pid: int | None = None
        """The backend's number of the connection that notifies."""

    def lease(self, count: int) -> float:
        """Return for how many seconds so many rows, about to be committed, are leased to this process's relay; 0 where
        they are not handed off to it."""
        return LEASE_SECONDS if self.relay is not None and self.relay.has_room(count) else 0.0

    def hand_off(self, leased: Sequence[HandedOff]) -> None:
        """Hand these rows, committed and leased, to this process's relay."""
        if self.relay is not None:  # else it has ended since, and the lease runs out
            self.relay.take(leased)

    def notify(self) -> None:
        """Wake all relays for committed rows that none has leased."""
        self._pending.set()
        if self.relay is not None:
            self.relay.wake()

    async def run(self) -> None:
        """Send NOTIFY after commits, for ever."""
        assert self.side is not None, "a Database was given it"
        while True:
            liveness.rest()
            await self._pending.wait()
            liveness.beat()
            self._pending.clear()
            try:
                async with self.side.driver() as driver:
                    self.pid = driver.get_server_pid()
                    await driver.execute(f"notify {CHANNEL}")
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
                self._pending.set()
                await asyncio.sleep(1)
            await asyncio.sleep(0.002 if self.relay is None else 0.05)
