"""From the transport to the effect: an event is claimed, handled and recorded in one transaction.

Inserting the event's key is the claim: of two deliveries at once the second waits for the first and then finds the key
taken; where the first takes long, the second is put off, to be tried later. Handlers accept events in any order and any
number of times.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import TextClause, Update, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from shared import liveness, telemetry
from shared.database import Database, takes_writes
from shared.driver import NotLetIn
from shared.failpoints import failpoint
from shared.messaging.dead_lettering import dead_letter, printable
from shared.messaging.deduplication import CLAIM_FREE, Key, Projection, claim, digests_of, unclaim
from shared.messaging.inbox import Inbox
from shared.messaging.installations import InstallationFilter
from shared.messaging.message import UNKNOWN_TYPE, Message, Unreadable
from shared.messaging.retrying import Counts, Outcome, RetryPolicy, outcome_of
from shared.messaging.tables import Retry
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage

log = logging.getLogger(__name__)

BATCH_SECONDS: Final = 0.4
"""How long a transaction takes up further events of its batch: requests and other deliveries wait for the rows it has
locked, and PostgreSQL lets them wait for a second."""
MOST_STUMBLES: Final = 5
"""How often a batch is divided at a message whose handler raised, those before it being handled twice; thereafter each
of its messages is tried alone."""
TAKEN_BACK_SECONDS: Final = 2.0
"""Limit for correcting the count of a try that was broken off."""


class Receiver:
    """Takes deliveries for one service into its database; once `take` returns, the transport may drop them."""

    def __init__(self, inbox: Inbox, database: Database, policy: RetryPolicy | None = None) -> None:
        self.inbox, self.database, self.policy = inbox, database, policy or RetryPolicy()
        self.installations = InstallationFilter(inbox.service, database)
        self._begun: set[Key] = set()
        """Events whose last try was broken off and whose count is yet to be corrected, for the database was away."""

    @property
    def service(self) -> str:
        """The service whose inbox this is."""
        return self.inbox.service

    async def take(self, bodies: Sequence[bytes]) -> None:
        """Handle, put off or dead-letter every delivery; raise only when the database is away."""
        await self._take_readable(await self._readable(bodies))

    async def _readable(self, bodies: Sequence[bytes]) -> list[Message]:
        messages: list[Message] = []
        for body in bodies:
            try:
                messages.append(self.inbox.read(body))
            except Unreadable as unreadable:
                async with self.database.transaction() as session:
                    await dead_letter(session, body, unreadable.reason, str(unreadable))
        return messages

    async def _take_readable(self, messages: Sequence[Message]) -> None:
        parts, stumbles = [messages], 0
        while parts:
            part, stumbled = parts.pop(0), list[Message]()
            if not part:
                continue
            liveness.beat()
            try:
                parts.insert(0, await self._handle(part, stumbled))
            except Exception as error:  # any handler's fault; its message is tried alone below
                if await self._is_outage(error):
                    raise
                if len(part) == 1:
                    await self._put_off(part[0], error)
                else:
                    stumbles += 1
                    parts[:0] = _around(part, stumbled if stumbles <= MOST_STUMBLES else [])

    async def _is_outage(self, error: BaseException) -> bool:
        """Whether the error means that the database is away, and no message is at fault.

        Where the database answers after all, the message broke its connection: tried without end, it would hold up the
        queue. Where no connection was to be had, no message is at fault.
        """
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

    async def _handle(self, messages: Sequence[Message], stumbled: list[Message]) -> Sequence[Message]:
        """Handle as many messages as there is time for in one transaction; return the others.

        Where a handler raises, `stumbled` is given the messages handled before and, last, the one at fault.
        """
        messages = await self._keep(messages)
        if not messages:
            return []
        loop, handled = asyncio.get_running_loop(), 0
        async with self.database.transaction() as session:
            fresh = await self._claim(session, messages)
            deadline = loop.time() + BATCH_SECONDS
            while handled < len(fresh) and (not handled or loop.time() < deadline):
                try:
                    await self.inbox.handle(session, fresh[handled])
                except Exception:
                    stumbled += fresh[: handled + 1]
                    raise
                handled += 1
            await unclaim(session, fresh[handled:])
            failpoint("inbox_handled")
        failpoint("inbox_committed")
        for message in fresh[:handled]:
            self._log_handled(message)
        return fresh[handled:]

    async def _keep(self, messages: Sequence[Message]) -> list[Message]:
        """Store the events that are projected; return the other messages and those that could not be claimed.

        Raises Locked: another delivery of one of them has taken long.
        """
        rest: list[Message] = []
        kept: dict[Projection, dict[Key, Message]] = {}
        for message in messages:
            projection = self.inbox.projection(message.type)
            if projection is None or kept.setdefault(projection, {}).setdefault(message.key, message) is not message:
                rest.append(message)
        for projection, its in kept.items():
            claimed = await projection.write(self.database, list(its.values()))
            failpoint("inbox_committed")
            for key, message in its.items():
                if key in claimed:
                    self._log_handled(message)
                else:
                    rest.append(message)
        return rest

    def _log_handled(self, message: Message) -> None:
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
        """Claim the messages; return those to handle. The others were handled, are dead letters or are retried."""
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
            # With another body it is no duplicate: a sender has reused the id, and a person must know.
            if message.sha256 != known.get(message.key, message.sha256):
                await dead_letter(session, message.body, "same_id_other_body", "this id came with another body before")
        return fresh

    async def _put_off(self, message: Message, error: Exception) -> None:
        """Store the message for a later try, so that the queue flows on."""
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

    async def suspect_poison(self, bodies: Sequence[bytes], why: str) -> None:
        """Store messages that may end the process: each is tried alone, and the try counted before it is made.

        `why` says why: the broker gave the message up, or a page of the feed was never finished.
        """
        messages = await self._readable(bodies)
        async with self.database.transaction() as session:
            known = await digests_of(session, [message.key for message in messages])
        unknown = [message for message in messages if message.key not in known]
        if unknown:
            await self._keep_for_retry(unknown, Counts(1, 0), 0, why)

    async def retry_newly_subscribed(self) -> int:
        """Retry the messages that were dead-lettered for a type this release subscribes to and the one before did not.

        For a while both releases run, on one queue. Returns how many messages there were.
        """
        async with self.database.transaction() as session:
            taken_up = await session.execute(
                _TAKE_UP, {"service": self.service, "types": sorted(self.inbox.types), "reason": UNKNOWN_TYPE}
            )
        return len(taken_up.all())

    async def run_retries(self, *, every_seconds: float = 1.0) -> None:
        """Retry the events that are due, for ever."""
        while True:
            liveness.beat(every_seconds)
            try:
                if await self.database.finds("select from inbox_retry where due_at <= now() limit 1"):
                    while await self.retry_one():
                        liveness.beat(every_seconds)
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
            await asyncio.sleep(every_seconds)

    async def retry_one(self) -> bool:
        """Retry the event that is due longest, or dead-letter it where it was tried often enough; return False where
        none is due."""
        for key in list(self._begun):
            await self._note(key, Outcome.BROKEN_OFF)
        async with self.database.transaction() as session:
            due = (
                await session.execute(
                    select(Retry)
                    .where(Retry.due_at <= text("now()"))
                    .order_by(Retry.due_at)
                    .limit(1)
                    .with_for_update(skip_locked=True, key_share=True)
                )
            ).scalar_one_or_none()
            if due is None:
                return False
            counts = Counts(due.attempt, due.waits)
            if reason := self.policy.reason_to_give_up(counts):
                await session.delete(due)
                await dead_letter(session, due.body, reason, due.last_error)
                return True
            begun = counts.begun()
            await session.execute(_of(due).values(attempt=begun.failures, due_at=_in(self.policy.delay(begun))))
        await self._retry(due)
        return True

    async def _retry(self, due: Retry) -> None:
        key = (due.source, due.id)
        try:
            message = self.inbox.read(due.body)
            if self.inbox.remembers(message.event):  # in a transaction of its own: it stays whatever the handlers raise
                async with self.database.transaction() as session:
                    await self.inbox.store_facts(session, message.event)
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
            self._log_handled(message)

    async def _note(self, key: Key, outcome: Outcome, error: BaseException | None = None) -> None:
        """Record how a retry that was counted as begun has ended."""
        async with self.database.transaction() as session:
            row = await session.get(Retry, key, with_for_update={"key_share": True})
            if row is not None:
                counts = Counts(row.attempt, row.waits).after(outcome)
                row.attempt, row.waits = max(counts.failures, 0), counts.waits
                if error is not None:
                    row.last_error, row.waiting = printable(repr(error)), outcome is not Outcome.FAILED
                if outcome in _SOON:
                    await session.execute(_of(row).values(due_at=_in(self.policy.delay(counts, outcome))))
        self._begun.discard(key)


def _around(messages: Sequence[Message], stumbled: Sequence[Message]) -> list[Sequence[Message]]:
    """Divide a batch at the message whose handler raised (the last of `stumbled`): those before it, it, those after it.

    Without `stumbled`, each message is a part of its own.
    """
    if not stumbled:
        return [[message] for message in messages]
    tried = set(map(id, stumbled))
    return [stumbled[:-1], stumbled[-1:], [message for message in messages if id(message) not in tried]]


_SOON: Final = {Outcome.WAITS, Outcome.IN_THE_WAY}
"""Outcomes of a try after which the time of the next one, which was stored when the try began, is changed."""


def _of(row: Retry) -> Update:
    one = update(Retry).where(Retry.source == row.source, Retry.id == row.id)
    return one.execution_options(synchronize_session=False)


def _in(seconds: float) -> TextClause:
    return text(f"now() + interval '{seconds} seconds'")  # the database's clock


_TAKE_UP = text("""
    with redriven as (
        update parked_messages set resolved_at = now(), resolution = 'redriven', resolved_by = :service,
            resolution_reason = 'this release consumes it'
        where resolved_at is null and reason = :reason and type = any(:types)
        returning source, id, type, body, error
    )
    insert into inbox_retry (source, id, type, body, attempt, due_at, last_error)
    select source, id, type, body, 1, now(), error from redriven
    on conflict do nothing
    returning id
""")
