"""An event that is retried: what each outcome makes of each state, and which budget it is held against."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.driver import NotLetIn
from shared.events.payments import RefundRequested
from shared.messaging import Inbox, RetryLater, deduplication, inbox, receiver
from shared.messaging.receiver import Receiver
from shared.messaging.retrying import RetryPolicy
from shared.messaging.tables import Retry

from .delivery import body_of, refund_of
from .messaging_nodes import eventually

POLICY = RetryPolicy(delays_seconds=(0.01,) * 5, waiting_seconds=0.01, patience=timedelta(hours=1))

STATES = {
    "fresh": (0, 0, False),
    "waits": (0, 7, True),
    "failed, then waits": (2, 7, True),
    "fails for the last time": (5, 0, False),
}
"""`attempt`, `waits` and `waiting` before the try."""
FAILURES, WAITS, UNCOUNTED = (1, 0, False), (0, 1, True), (0, 0, None)
OUTCOMES = {
    "fails": FAILURES,
    "hangs": FAILURES,
    "costs its connection": FAILURES,
    "waits": WAITS,
    "lock timeout": WAITS,
    "deadlock": WAITS,
    "another delivery is at it": WAITS,
    "the database is away": UNCOUNTED,
    "no connection to be had": UNCOUNTED,
    "too many connections": UNCOUNTED,
    "cancelled": UNCOUNTED,
    "killed": (1, 0, None),
}
"""What a try adds to `attempt` and `waits`, and what it makes of `waiting` (None: it stays as it is)."""


class Killed(BaseException):
    """Nothing is written after it."""


RAISED = {
    "fails": ZeroDivisionError(),
    "waits": RetryLater("for another"),
    "the database is away": asyncpg.CannotConnectNowError("the database system is shutting down"),
    "no connection to be had": PoolTimeout(),
    "too many connections": NotLetIn("sorry, too many clients already"),
    "killed": Killed(),
}


class Trying:
    """A receiver whose handler ends as it is set to, and one event that is retried."""

    def __init__(self, node, monkeypatch):
        self.node, self.monkeypatch = node, monkeypatch
        self.outcome, self.away, self.begun = "well", False, asyncio.Event()
        own = Inbox("enrolment")
        own.on(RefundRequested)(self.handle)
        self.receiver = Receiver(own, node.database, POLICY)
        takes_writes = receiver.takes_writes

        async def answers(engine):
            return not self.away and await takes_writes(engine)

        monkeypatch.setattr(receiver, "takes_writes", answers)

    async def handle(self, session, event):
        match self.outcome:
            case "hangs" | "cancelled":
                self.begun.set()
                await asyncio.sleep(3600)
            case "costs its connection":
                await session.execute(text("select pg_terminate_backend(pg_backend_pid())"))
            case "lock timeout" | "deadlock":
                state = "55P03" if self.outcome == "lock timeout" else "40P01"
                await session.execute(text(f"do $$ begin raise exception 'x' using errcode = '{state}'; end $$"))
            case "the database is away":
                self.away = True
        if self.outcome in RAISED:
            raise RAISED[self.outcome]

    async def put(self, attempt, waits, waiting):
        message = self.receiver.inbox.read(body_of(refund_of()))
        row = {"source": message.source, "id": message.id, "type": message.type, "body": message.body}
        async with self.node.database.transaction() as session:
            session.add(
                Retry(**row, attempt=attempt, waits=waits, waiting=waiting, due_at=text("now()"), last_error="before")
            )
        return message

    async def once(self, state, outcome):
        """Try an event in that state once, with that outcome; the state afterwards."""
        message = await self.put(*state)
        self.outcome = outcome
        if outcome == "another delivery is at it":
            async with self.node.database.messages() as other:
                await deduplication.claim(other, [message])
                assert await self.receiver.retry_one()
                await other.rollback()
        elif outcome == "cancelled":
            self.monkeypatch.setattr(inbox, "LONGEST_SECONDS", 10)
            task = asyncio.create_task(self.receiver.retry_one())
            await self.begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif OUTCOMES[outcome][2] is None:
            with pytest.raises(type(RAISED[outcome])):
                await self.receiver.retry_one()
        else:
            assert await self.receiver.retry_one()
        return (await self.node.all("select attempt, waits, waiting from inbox_retry"))[0]

    async def due(self):
        async with self.node.database.transaction() as session:
            await session.execute(text("update inbox_retry set due_at = now()"))


@pytest.fixture
def trying(enrolment, monkeypatch):
    monkeypatch.setattr(inbox, "LONGEST_SECONDS", 0.1)
    return Trying(enrolment, monkeypatch)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("state", STATES)
async def test_what_each_outcome_makes_of_each_state(trying, state, outcome):
    attempt, waits, waiting = STATES[state]
    failure, wait, now_waiting = OUTCOMES[outcome]
    after = await trying.once(STATES[state], outcome)
    assert after == (attempt + failure, waits + wait, waiting if now_waiting is None else now_waiting)


@pytest.mark.parametrize(
    ("state", "reason"), [((6, 0, False), "handler_failed"), ((0, 360_001, True), "waited_too_long")]
)
async def test_what_has_used_up_its_budget_is_dead_lettered_without_another_try(trying, enrolment, state, reason):
    await trying.put(*state)
    trying.outcome = "killed"
    assert await trying.receiver.retry_one()
    assert await enrolment.dead_letters() == [reason]
    assert await enrolment.one("select count(*) from inbox_retry") == 0


@pytest.mark.parametrize("first", ["lock timeout", "fails", "poison"])
async def test_who_waits_is_waited_for_whatever_happened_first(trying, enrolment, first):
    body, calls = body_of(refund_of()), 0
    if first == "poison":
        await trying.receiver.suspect_poison([body], "dead-lettered")
    else:
        trying.outcome = first
        await trying.receiver.take([body])
    trying.outcome = "waits"
    retries = asyncio.create_task(trying.receiver.run_retries(every_seconds=0.01))

    async def many():
        nonlocal calls
        calls = await enrolment.one("select waits from inbox_retry")
        return calls > 5 * len(POLICY.delays_seconds)

    await eventually(many)
    trying.outcome = "well"

    async def handled():
        return await enrolment.one("select count(*) from inbox") == 1

    await eventually(handled)
    retries.cancel()
    await asyncio.gather(retries, return_exceptions=True)
    assert await enrolment.dead_letters() == []


async def test_a_try_that_an_outage_broke_off_is_taken_back_once_the_database_answers(trying, enrolment, monkeypatch):
    """While it is away nothing can be written; the process remembers."""

    async def away(*_):
        raise NotLetIn("away")

    with monkeypatch.context() as patched:
        patched.setattr(trying.receiver, "_note", away)
        assert await trying.once((1, 0, False), "the database is away") == (2, 0, False)
    trying.outcome, trying.away = "waits", False
    assert await trying.receiver.retry_one()
    assert await enrolment.all("select attempt, waits from inbox_retry") == [(1, 1)]


async def test_an_event_that_kills_each_time_is_dead_lettered_though_it_waited_before(trying, enrolment):
    await trying.once((0, 7, True), "killed")
    for _ in range(5):
        await trying.due()
        with pytest.raises(Killed):
            await trying.receiver.retry_one()
    await trying.due()
    assert await trying.receiver.retry_one()
    assert await enrolment.dead_letters() == ["handler_failed"]
