"""From the transport to the effect: an event is claimed, handled and recorded in one transaction.

Inserting the event's key is the claim: of two deliveries at once the second waits for the first and then
finds the key taken. Handlers stand any order and any number of duplicates.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import delete, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.crashes import crash_point
from shared.database import Database, is_database_down
from shared.events import Event
from shared.ids import new_id
from shared.messaging.message import Message, Unreadable, attributes_of, read
from shared.messaging.outbox import HANDLING
from shared.messaging.tables import Incoming, Parked, Retry

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
Handler = Callable[[AsyncSession, E], Awaitable[None]]


class NotYet(Exception):
    """The handler cannot go on until another event arrives; it is tried again later, patiently."""


class Inbox:
    """The table of what one service does about what others announce."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._handlers: dict[str, list[Handler[Any]]] = {}  # Any: each handler takes its own event class

    def on(self, kind: type[E], *others: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Handle these events with the function below. A handler that takes another event does not type-check."""

        def register(handler: Handler[E]) -> Handler[E]:
            for heard in (kind, *others):
                self._handlers.setdefault(heard.type, []).append(handler)
            return handler

        return register

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._handlers)

    async def receive(self, session: AsyncSession, event: Event) -> None:
        """Run the handlers of one event in this transaction."""
        for handler in self._handlers[event.type]:
            await handler(session, event)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long we go on trying before a person must look."""

    delays_seconds: tuple[float, ...] = (1, 2, 5, 15, 60)
    """After a failed try; one more failure than there are delays parks the message."""
    waiting_seconds: float = 5
    """Between tries of an event that waits for another (NotYet)."""
    patience: timedelta = timedelta(hours=24)
    """How long it may wait before it is parked."""


class Receiver:
    """Takes deliveries for one service into its database. Once `take` returns, the transport may forget them."""

    def __init__(self, inbox: Inbox, database: Database, policy: RetryPolicy | None = None) -> None:
        self.inbox, self.database, self.policy = inbox, database, policy or RetryPolicy()

    @property
    def service(self) -> str:
        return self.inbox.service

    async def take(self, bodies: Sequence[bytes]) -> None:
        """Handle, put off or park every delivery; raises only when the database is away."""
        messages: list[Message] = []
        for body in bodies:
            try:
                message = read(body)
            except Unreadable as unreadable:
                await self._park(body, unreadable.reason, str(unreadable))
                continue
            if message.type in self.inbox.types:
                messages.append(message)
            else:
                await self._park(body, "unknown_type", f"{self.service} does not hear {message.type}")
        if messages:
            await self._take_readable(messages)

    async def _take_readable(self, messages: Sequence[Message]) -> None:
        unique = {message.key: message for message in reversed(messages)}
        for message in messages:
            if message.sha256 != unique[message.key].sha256:
                await self._park(message.body, "same_id_other_body", "two bodies under one id in one batch")
        ordered = [unique[key] for key in dict.fromkeys(message.key for message in messages)]
        try:
            await self._handle(ordered)
        except Exception as error:  # any handler's fault; each message is tried alone below
            if is_database_down(error):
                raise
            if len(ordered) == 1:
                await self._put_off(ordered[0], error)
                return
            for message in ordered:
                await self._take_readable([message])

    async def _handle(self, messages: Sequence[Message]) -> None:
        async with self.database.transaction() as session:
            fresh = await self._claim(session, messages)
            for message in messages:
                if message.key in fresh:
                    await self._run(session, message)
            await session.flush()
            crash_point("inbox_handled")
        crash_point("inbox_committed")
        for message in messages:
            outcome = "handled" if message.key in fresh else "duplicate"
            telemetry.events_handled.labels(self.service, message.type, outcome).inc()

    async def _run(self, session: AsyncSession, message: Message) -> None:
        telemetry.request_id.set(message.request_id)
        telemetry.traceparent.set(telemetry.accept_traceparent(message.traceparent))
        session.info[HANDLING] = str(message.id)
        try:
            await self.inbox.receive(session, message.event)
            log.info("event handled", extra={"event": str(message.id), "type": message.type})
        finally:
            del session.info[HANDLING]

    async def _claim(self, session: AsyncSession, messages: Sequence[Message]) -> set[tuple[str, UUID]]:
        """Insert the keys; those inserted are ours to handle. Others were handled, are parked or are being retried."""
        keys = [message.key for message in messages]
        held = {
            (row.source, row.id)
            for table in (Retry, Parked)
            for row in await session.execute(
                select(table.source, table.id).where(
                    tuple_(table.source, table.id).in_(keys),
                    *([Parked.resolved_at.is_(None)] if table is Parked else []),
                )
            )
        }
        wanted = [message for message in messages if message.key not in held]
        claimed = await claim(session, wanted)
        await self._compare([message for message in wanted if message.key not in claimed], session)
        return claimed

    async def _compare(self, duplicates: Sequence[Message], session: AsyncSession) -> None:
        """A duplicate with another body is no duplicate: somebody reused an id, and a person must know."""
        if not duplicates:
            return
        known = {
            (row.source, row.id): row.body_sha256
            for row in await session.execute(
                select(Incoming.source, Incoming.id, Incoming.body_sha256).where(
                    tuple_(Incoming.source, Incoming.id).in_([message.key for message in duplicates])
                )
            )
        }
        for message in duplicates:
            if known.get(message.key) not in (None, message.sha256):
                await park(session, message.body, "same_id_other_body", "handled before with another body")

    async def _put_off(self, message: Message, error: Exception) -> None:
        """Keep the message in the database until it is due again, so that the queue flows on."""
        waiting = isinstance(error, NotYet)
        log.log(
            logging.INFO if waiting else logging.ERROR,
            "event put off",
            extra={"event": str(message.id), "type": message.type, "error": repr(error)},
            exc_info=None if waiting else error,
        )
        delay = self.policy.waiting_seconds if waiting else self.policy.delays_seconds[0]
        async with self.database.transaction() as session:
            await session.execute(
                insert(Retry)
                .values(
                    source=message.source,
                    id=message.id,
                    type=message.type,
                    body=message.body,
                    attempt=0 if waiting else 1,
                    waiting=waiting,
                    due_at=text(f"now() + interval '{delay} seconds'"),
                    last_error=repr(error),
                )
                .on_conflict_do_nothing()
            )
        telemetry.events_handled.labels(self.service, message.type, "put_off").inc()

    async def suspect(self, body: bytes, why: str) -> None:
        """A message the broker gave up on: it is tried with each try counted first, for it may kill the process."""
        try:
            message = read(body)
        except Unreadable as unreadable:
            await self._park(body, unreadable.reason, str(unreadable))
            return
        async with self.database.transaction() as session:
            await session.execute(
                insert(Retry)
                .values(
                    source=message.source,
                    id=message.id,
                    type=message.type,
                    body=body,
                    attempt=1,
                    due_at=text("now()"),
                    last_error=why,
                )
                .on_conflict_do_nothing()
            )

    async def _park(self, body: bytes, reason: str, error: str) -> None:
        async with self.database.transaction() as session:
            await park(session, body, reason, error)

    async def run_retries(self, *, every_seconds: float = 1.0) -> None:
        """Try what is due, for ever."""
        while True:
            try:
                while await self.retry_one():
                    pass
            except Exception as error:
                if not is_database_down(error):
                    raise
                log.warning("the database is down", extra={"error": repr(error)})
            await asyncio.sleep(every_seconds)

    async def retry_one(self) -> bool:
        """Try the message that is due longest; False where none is due."""
        async with self.database.transaction() as session:
            due = (
                await session.execute(
                    select(Retry)
                    .where(Retry.due_at <= text("now()"))
                    .order_by(Retry.due_at)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                )
            ).scalar_one_or_none()
            if due is None:
                return False
            exhausted = due.attempt > len(self.policy.delays_seconds)
            impatient = await session.scalar(
                select(text(f"now() > first_failed_at + interval '{self.policy.patience.total_seconds()} seconds'"))
                .select_from(Retry)
                .where(Retry.source == due.source, Retry.id == due.id)
            )
            if exhausted or (due.waiting and impatient):
                await session.delete(due)
                await park(session, due.body, "waited_too_long" if due.waiting else "handler_failed", due.last_error)
                return True
            # Counted before the try: a message that kills the process must not do so for ever.
            if not due.waiting:
                due.attempt += 1
            step = min(max(due.attempt - 1, 0), len(self.policy.delays_seconds) - 1)
            delay = self.policy.waiting_seconds if due.waiting else self.policy.delays_seconds[step]
            await session.execute(
                text(
                    f"update inbox_retry set due_at = now() + interval '{delay} seconds' "  # noqa: S608 - a number of ours
                    "where source = :source and id = :id"
                ),
                {"source": due.source, "id": due.id},
            )
        await self._retry(due)
        return True

    async def _retry(self, due: Retry) -> None:
        message = read(due.body)
        try:
            async with self.database.transaction() as session:
                if message.key in await claim(session, [message]):
                    await self._run(session, message)
                await session.execute(delete(Retry).where(Retry.source == due.source, Retry.id == due.id))
        except Exception as error:
            if is_database_down(error):
                raise
            async with self.database.transaction() as session:
                row = await session.get(Retry, (due.source, due.id), with_for_update=True)
                if row is not None:
                    row.last_error = repr(error)
                    if row.waiting and not isinstance(error, NotYet):
                        row.waiting, row.attempt = False, 1
            return
        telemetry.events_handled.labels(self.service, message.type, "handled").inc()


async def claim(session: AsyncSession, messages: Iterable[Message]) -> set[tuple[str, UUID]]:
    """Insert the keys in a fixed order (two receivers at once must not deadlock); the ones that were new."""
    rows = sorted(
        ({"source": m.source, "id": m.id, "type": m.type, "body_sha256": m.sha256} for m in messages),
        key=lambda row: (row["source"], row["id"]),
    )
    if not rows:
        return set()
    inserted = await session.execute(
        insert(Incoming).on_conflict_do_nothing().returning(Incoming.source, Incoming.id), rows
    )
    return {(row.source, row.id) for row in inserted}


async def park(session: AsyncSession, body: bytes, reason: str, error: str) -> None:
    """Put a message where a person sees it; the same bytes for the same reason stand there once."""
    same = await session.scalar(
        select(Parked.parked_id)
        .where(Parked.resolved_at.is_(None), Parked.body == body, Parked.reason == reason)
        .limit(1)
    )
    if same is not None:
        return
    attributes = attributes_of(body)
    try:
        id_ = UUID(str(attributes.get("id")))
    except ValueError:
        id_ = None
    source, type_ = (str(attributes[name]) if name in attributes else None for name in ("source", "type"))
    session.add(Parked(parked_id=new_id(), source=source, id=id_, type=type_, body=body, reason=reason, error=error))
    log.error("message parked", extra={"event": str(id_), "type": type_, "reason": reason, "error": error})
