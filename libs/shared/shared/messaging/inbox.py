"""From the transport to the effect: an event is claimed, handled and recorded in one transaction.

Inserting the event's key is the claim: of two deliveries at once the second waits for the first and then
finds the key taken; where the first takes long, the second is put off. Handlers stand any order and any number
of duplicates.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import TextClause, Update, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.crashes import crash_point
from shared.database import Database, TableBase, now, record_of, takes_writes
from shared.driver import NotLetIn
from shared.events import Event
from shared.messaging.claim import CLAIM_FREE, Keeping, Key, RowOf, claim, give_back
from shared.messaging.message import UNKNOWN_TYPE, Message, Unreadable, read
from shared.messaging.outbox import HANDLING
from shared.messaging.parking import park, printable
from shared.messaging.retrying import Counts, Outcome, RetryPolicy, outcome_of
from shared.messaging.tables import Retry
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
Handler = Callable[[AsyncSession, E], Awaitable[None]]

LONGEST_SECONDS: Final = 8.0
"""For one event's handlers: less than the ten after which PostgreSQL ends an idle transaction. Long work is a job."""
HELD_SECONDS: Final = 0.4
"""After so long a transaction takes up no other event of its batch: for what it has locked requests wait, and other
deliveries of the batch, and PostgreSQL lets them wait for a second."""
TAKEN_BACK_SECONDS: Final = 2.0
"""For taking back that a try was counted, where it was broken off."""


class Inbox:
    """The table of what one service does about what others announce."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._handlers: dict[str, list[Handler[Any]]] = {}  # Any: each handler takes its own event class
        self._keepings: dict[str, Keeping] = {}

    def keeps(self, table: type[TableBase], *kinds: type[Event]) -> Callable[[RowOf], RowOf]:
        """Keep each of these events as the row the function below makes of it, and do nothing else about it. One that
        is there already stays, and what the row leaves unset is null.

        The row is written in one statement with the claim, which costs a quarter of what a handler and its transaction
        cost: for what is heard often and only remembered.
        """

        def register(row_of: RowOf) -> RowOf:
            async def keep(session: AsyncSession, event: Event) -> None:
                row = record_of(row_of(event, now(session)))
                await session.execute(insert(table).values(row).on_conflict_do_nothing())

            keeping = Keeping(table, row_of)
            for heard in kinds:
                if heard.type in self._handlers:
                    raise TypeError(f"{heard.type} is handled, and cannot be only kept")
                self.on(heard)(keep)
                self._keepings[heard.type] = keeping
            return row_of

        return register

    def on(self, kind: type[E], *others: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Handle these events with the function below. A handler that takes another event does not type-check."""

        def register(handler: Handler[E]) -> Handler[E]:
            for heard in (kind, *others):
                if heard.type in self._keepings:
                    raise TypeError(f"{heard.type} is kept, and nothing else is done about it")
                self._handlers.setdefault(heard.type, []).append(handler)
            return handler

        return register

    def keeping(self, type_: str) -> Keeping | None:
        """What becomes of an event of this type, where it is only kept."""
        return self._keepings.get(type_)

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._handlers)

    def read(self, body: bytes) -> Message:
        """Parse an envelope that is for this service; raises Unreadable."""
        message = read(body)
        if message.type not in self._handlers:
            raise Unreadable(UNKNOWN_TYPE, f"{self.service} does not hear {message.type}")
        return message

    async def receive(self, session: AsyncSession, event: Event) -> None:
        """Run the handlers of one event in this transaction."""
        for handler in self._handlers[event.type]:
            await handler(session, event)

    async def handle(self, session: AsyncSession, message: Message) -> None:
        """Run the handlers as a part of the trace and the request the event comes from."""
        request = telemetry.request_id.set(message.request_id)
        trace = telemetry.traceparent.set(telemetry.accept_traceparent(message.traceparent))
        session.info[HANDLING] = str(message.id)
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self.receive(session, message.event)
        finally:
            del session.info[HANDLING]
            telemetry.traceparent.reset(trace)
            telemetry.request_id.reset(request)


class Receiver:
    """Takes deliveries for one service into its database. Once `take` returns, the transport may forget them."""

    def __init__(self, inbox: Inbox, database: Database, policy: RetryPolicy | None = None) -> None:
        self.inbox, self.database, self.policy = inbox, database, policy or RetryPolicy()
        self._begun: set[Key] = set()
        """Tries that were counted and told nothing about their event; the database was away when that was to be taken
        back."""

    @property
    def service(self) -> str:
        return self.inbox.service

    async def take(self, bodies: Sequence[bytes]) -> None:
        """Handle, put off or park every delivery; raises only when the database is away."""
        await self._take_readable(await self._readable(bodies))

    async def _readable(self, bodies: Sequence[bytes]) -> list[Message]:
        messages: list[Message] = []
        for body in bodies:
            try:
                messages.append(self.inbox.read(body))
            except Unreadable as unreadable:
                async with self.database.transaction() as session:
                    await park(session, body, unreadable.reason, str(unreadable))
        return messages

    async def _take_readable(self, messages: Sequence[Message]) -> None:
        while messages:
            try:
                messages = await self._handle(messages)
            except Exception as error:  # any handler's fault; each message is tried alone below
                if await self._is_outage(error):
                    raise
                if len(messages) == 1:
                    await self._put_off(messages[0], error)
                    return
                for message in messages:
                    await self._take_readable([message])
                return

    async def _is_outage(self, error: BaseException) -> bool:
        """Whether the database is away. Where it answers, a message that made its connection fail is at fault:
        tried without end, it would hold the queue. No message is at fault where a connection was not to be had."""
        if isinstance(error, NotLetIn | PoolTimeout):
            return True
        if not is_database_down(error):
            return False
        try:
            return not await takes_writes(self.database.messaging)
        except Exception as outage:
            if not is_database_down(outage):
                raise
            return True

    async def _handle(self, messages: Sequence[Message]) -> list[Message]:
        """As many as there is time for in one transaction; the others."""
        messages = await self._keep(messages)
        if not messages:
            return []
        loop, handled = asyncio.get_running_loop(), 0
        async with self.database.transaction() as session:
            fresh = await self._claim(session, messages)
            deadline = loop.time() + HELD_SECONDS
            while handled < len(fresh) and (not handled or loop.time() < deadline):
                await self.inbox.handle(session, fresh[handled])
                handled += 1
            await give_back(session, fresh[handled:])
            crash_point("inbox_handled")
        crash_point("inbox_committed")
        for message in fresh[:handled]:
            self._tell_handled(message)
        return fresh[handled:]

    async def _keep(self, messages: Sequence[Message]) -> list[Message]:
        """Keep those that are only kept. The others, and what was not free to be claimed. Raises InHand."""
        rest: list[Message] = []
        kept: dict[Keeping, dict[Key, Message]] = {}
        for message in messages:
            keeping = self.inbox.keeping(message.type)
            if keeping is None or kept.setdefault(keeping, {}).setdefault(message.key, message) is not message:
                rest.append(message)
        for keeping, its in kept.items():
            claimed = await keeping.write(self.database, list(its.values()))
            crash_point("inbox_committed")
            for key, message in its.items():
                if key in claimed:
                    self._tell_handled(message)
                else:
                    rest.append(message)
        return rest

    def _tell_handled(self, message: Message) -> None:
        telemetry.events_handled.labels(self.service, message.type, "handled").inc()
        log.info(
            "event handled",
            extra={
                "event": str(message.id),
                "type": message.type,
                "request_id": message.request_id,
                "traceparent": message.traceparent,
            },
        )

    async def _claim(self, session: AsyncSession, messages: Sequence[Message]) -> list[Message]:
        """Those that are ours to handle; the others were handled, are parked or are being retried."""
        first: dict[Key, Message] = {}
        for message in messages:
            first.setdefault(message.key, message)
        claimed = await claim(session, list(first.values()), CLAIM_FREE)
        if len(claimed) == len(messages):
            return list(messages)
        fresh = [message for key, message in first.items() if key in claimed]
        duplicates = [
            message for message in messages if message.key not in claimed or message is not first[message.key]
        ]
        known = await digests_of(session, [message.key for message in duplicates])
        for message in duplicates:
            telemetry.events_handled.labels(self.service, message.type, "duplicate").inc()
            # With another body it is no duplicate: somebody reused an id, and a person must know.
            if message.sha256 != known.get(message.key, message.sha256):
                await park(session, message.body, "same_id_other_body", "this id came with another body before")
        return fresh

    async def _put_off(self, message: Message, error: Exception) -> None:
        """Keep the message in the database until it is due again, so that the queue flows on."""
        outcome = outcome_of(error, outage=False)
        fault = outcome is Outcome.FAILED
        log.log(
            logging.ERROR if fault else logging.INFO,
            "event put off",
            extra={"event": str(message.id), "type": message.type, "error": repr(error)},
            exc_info=error if fault else None,
        )
        counts = Counts(0, 0).begun().after(outcome)
        delay = self.policy.delay(counts, outcome)
        await self._keep_for_retry([message], counts, delay, repr(error), waiting=not fault)
        telemetry.events_handled.labels(self.service, message.type, "put_off").inc()

    async def _keep_for_retry(
        self, messages: Sequence[Message], counts: Counts, delay: float, error: str, *, waiting: bool = False
    ) -> None:
        rows = [
            {
                "source": message.source,
                "id": message.id,
                "type": message.type,
                "body": message.body,
                "attempt": counts.failures,
                "waits": counts.waits,
                "waiting": waiting,
                "due_at": _in(delay),
                "last_error": printable(error),
            }
            for message in messages
        ]
        async with self.database.transaction() as session:
            await session.execute(insert(Retry).values(rows).on_conflict_do_nothing())

    async def suspect(self, bodies: Sequence[bytes], why: str) -> None:
        """Messages that may kill the process (the broker gave them up, or a page of the feed never got through):
        each is tried alone, and counted first."""
        messages = await self._readable(bodies)
        async with self.database.transaction() as session:
            known = await digests_of(session, [message.key for message in messages])
        unknown = [message for message in messages if message.key not in known]
        if unknown:
            await self._keep_for_retry(unknown, Counts(1, 0), 0, why)

    async def take_up_heard(self) -> int:
        """Have another try at what was parked because the release before did not hear it (for a while both run, on
        one queue) and this one does; how many there were."""
        async with self.database.transaction() as session:
            taken_up = await session.execute(
                _TAKE_UP, {"service": self.service, "types": sorted(self.inbox.types), "reason": UNKNOWN_TYPE}
            )
        return len(taken_up.all())

    async def run_retries(self, *, every_seconds: float = 1.0) -> None:
        """Try what is due, for ever."""
        while True:
            try:
                if await self.database.finds("select from inbox_retry where due_at <= now() limit 1"):
                    while await self.retry_one():
                        pass
            except DATABASE_ERRORS as error:
                note_outage(log, error)
            await asyncio.sleep(every_seconds)

    async def retry_one(self) -> bool:
        """Try the message that is due longest; False where none is due."""
        for key in list(self._begun):
            await self._note(key, Outcome.BROKEN_OFF)
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
            counts = Counts(due.attempt, due.waits)
            if reason := self.policy.reason_to_park(counts):
                await session.delete(due)
                await park(session, due.body, reason, due.last_error)
                return True
            begun = counts.begun()
            await session.execute(_of(due).values(attempt=begun.failures, due_at=_in(self.policy.delay(begun))))
        await self._retry(due)
        return True

    async def _retry(self, due: Retry) -> None:
        key = (due.source, due.id)
        try:
            message = self.inbox.read(due.body)
            async with self.database.transaction() as session:
                claimed = await claim(session, [message])
                if claimed:
                    await self.inbox.handle(session, message)
                await session.execute(delete(Retry).where(Retry.source == due.source, Retry.id == due.id))
        except (Exception, asyncio.CancelledError) as error:
            outage = isinstance(error, asyncio.CancelledError) or await self._is_outage(error)
            outcome = outcome_of(error, outage=outage)
            if outcome is Outcome.BROKEN_OFF:
                self._begun.add(key)
                with contextlib.suppress(*DATABASE_ERRORS):  # else before the next try
                    async with asyncio.timeout(TAKEN_BACK_SECONDS):
                        await self._note(key, outcome)
                raise
            await self._note(key, outcome, error)
            return
        if claimed:
            self._tell_handled(message)

    async def _note(self, key: Key, outcome: Outcome, error: BaseException | None = None) -> None:
        """How a try that was begun has ended."""
        async with self.database.transaction() as session:
            row = await session.get(Retry, key, with_for_update=True)
            if row is not None:
                counts = Counts(row.attempt, row.waits).after(outcome)
                row.attempt, row.waits = max(counts.failures, 0), counts.waits
                if error is not None:
                    row.last_error, row.waiting = printable(repr(error)), outcome is not Outcome.FAILED
                if outcome in _SOON:
                    await session.execute(_of(row).values(due_at=_in(self.policy.delay(counts, outcome))))
        self._begun.discard(key)


_SOON: Final = {Outcome.WAITS, Outcome.IN_THE_WAY}
"""After these the next try comes by another measure than was written when the one before was begun."""


def _of(row: Retry) -> Update:
    one = update(Retry).where(Retry.source == row.source, Retry.id == row.id)
    return one.execution_options(synchronize_session=False)


def _in(seconds: float) -> TextClause:
    return text(f"now() + interval '{seconds} seconds'")  # the database's clock


_TAKE_UP = text("""
    with heard as (
        update parked_messages set resolved_at = now(), resolution = 'redriven', resolved_by = :service,
            resolution_reason = 'this release hears it'
        where resolved_at is null and reason = :reason and type = any(:types)
        returning source, id, type, body, error
    )
    insert into inbox_retry (source, id, type, body, attempt, due_at, last_error)
    select source, id, type, body, 1, now(), error from heard
    on conflict do nothing
    returning id
""")


async def digests_of(session: AsyncSession, keys: Sequence[Key]) -> dict[Key, bytes]:
    """The digest of the body under which each of these keys has been seen, wherever it stands."""
    sources, ids = [source for source, _ in keys], [id_ for _, id_ in keys]
    seen = await session.execute(_KNOWN, {"sources": sources, "ids": ids})
    return {(row.source, row.id): row.sum for row in seen}


_KNOWN = text("""
    with given as (
        select source, id from unnest(cast(:sources as text[]), cast(:ids as uuid[])) as given (source, id)
    )
    select source, id, sha256(body) as sum from parked_messages join given using (source, id)
    where resolved_at is null and reason not in ('malformed', 'same_id_other_body')
    union all
    select source, id, sha256(body) from inbox_retry join given using (source, id)
    union all
    select source, id, body_sha256 from inbox join given using (source, id)
""")
