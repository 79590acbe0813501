"""Sessions: what a read session refuses, and a command that gives up its transaction while it waits for somebody."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared import sessions
from shared.database import advisory_lock
from shared.sessions import (
    TransactionOpen,
    WriteRefused,
    despite_contention,
    keep_despite_error,
    must_only_read,
    note_failure,
    outside_transaction,
)

from . import refunds_api
from .refunds_api import client, counts

HELD = "select count(*) from pg_stat_activity where application_name = 'payments/web' and state like 'idle in%'"


async def put(session, key):
    await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), :n)"), {"n": key})


async def amounts(payments):
    return [row[0] for row in await payments.all("select amount_minor from refunds order by 1")]


@pytest.mark.parametrize("how", ["add", "core", "text", "driver"])
async def test_what_reads_cannot_write(api, payments, how):
    async with payments.database.transaction() as session:
        await put(session, 5)
    async with client(api) as caller:
        assert (await caller.get("/v1/wrong-reads", params={"how": how})).status_code == 500
    assert await amounts(payments) == [5]


async def test_what_reads_reads(api):
    async with client(api) as caller:
        assert (await caller.get("/v1/wrong-reads", params={"how": "not"})).json() == {"said": "0"}


@pytest.mark.parametrize(
    "statement", ["update\n  orders set a = 1", "INSERT INTO a select 1", "with a as (delete from b) select 1"]
)
def test_a_statement_that_writes_is_known_by_its_words(statement):
    with pytest.raises(WriteRefused):
        must_only_read(statement)
    must_only_read("select updated_at, 'deleted' from insertions order by update_no")


async def test_nothing_is_held_while_somebody_outside_is_asked(payments):
    async with payments.database.transaction() as session:
        await put(session, 1)
        async with outside_transaction(session):
            assert await amounts(payments) == [1]
            assert await payments.one(HELD) == 0
        await put(session, 2)
        assert await amounts(payments) == [1]
    assert await amounts(payments) == [1, 2]


async def test_a_session_that_is_used_meanwhile_is_found_out(payments):
    with pytest.raises(TransactionOpen):
        async with payments.database.transaction() as session, outside_transaction(session):
            await session.execute(text("select 1"))


async def test_a_refusal_leaves_what_was_kept_despite_it(payments):
    with pytest.raises(LookupError):
        async with payments.database.transaction() as session:
            await put(session, 1)
            await keep_despite_error(session)
            await put(session, 2)
            raise LookupError
    assert await amounts(payments) == [1]


async def test_a_failure_leaves_what_was_noted_of_it_alone(payments):
    with pytest.raises(LookupError):
        async with payments.database.transaction() as session:
            await put(session, 1)
            async with outside_transaction(session):
                pass
            await put(session, 2)
            try:
                raise LookupError  # noqa: TRY301 - what the command meets
            except LookupError:
                async with note_failure(session):
                    await put(session, 3)
                raise
    assert await amounts(payments) == [1, 3]


async def test_of_two_repeats_that_wait_outside_one_is_done(api, payments, monkeypatch):
    monkeypatch.setattr(refunds_api, "asked_outside", asyncio.Semaphore(0))
    monkeypatch.setattr(refunds_api, "outside_answers", asyncio.Semaphore(0))
    async with client(api) as caller, asyncio.TaskGroup() as tasks:
        headers = {"Idempotency-Key": "key-1"}
        asking = []
        for _ in range(2):
            asking.append(tasks.create_task(caller.post("/v1/outside", headers=headers)))
            await refunds_api.asked_outside.acquire()
        for _ in asking:
            refunds_api.outside_answers.release()
        done, refused = sorted([await one for one in asking], key=lambda answer: answer.status_code)
        assert (done.status_code, done.json()) == (200, {"said": "done"})
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_running")
        assert await counts(payments) == (0, 1, 1)
        again = await caller.post("/v1/outside", headers=headers)
        assert (again.content, again.headers["idempotency-replayed"]) == (done.content, "true")


@asynccontextmanager
async def holding(payments, seconds):
    """Somebody who holds the lock on a learner for so long."""
    taken = asyncio.Event()

    async def hold():
        async with payments.database.transaction() as session:
            await advisory_lock(session, "learner", "Ada")
            taken.set()
            await asyncio.sleep(seconds)

    held = asyncio.create_task(hold())
    await taken.wait()
    yield
    await held


async def test_what_others_hold_for_longer_than_a_lock_is_waited_for_is_tried_again(payments):
    calls = []

    async def record():
        calls.append(await payments.one(HELD))
        await put(session, len(calls))
        await advisory_lock(session, "learner", "Ada")
        return len(calls)

    async with holding(payments, 2.5), payments.database.transaction() as session:
        await put(session, 100)
        async with outside_transaction(session):
            pass
        number = await despite_contention(session, record)
    assert number > 1
    assert max(calls) <= 1, "besides the one who holds it nothing is open when it is tried again"
    assert await amounts(payments) == [number, 100], "what the tries before have written is rolled back"


async def test_it_is_not_tried_for_ever(payments, monkeypatch):
    monkeypatch.setattr(sessions, "CONTENDED_FOR", timedelta(seconds=0.5))
    async with holding(payments, 2):
        with pytest.raises(DBAPIError, match="lock timeout"):
            async with payments.database.transaction() as session:
                await despite_contention(session, lambda: advisory_lock(session, "learner", "Ada"))


async def test_another_error_is_raised_at_once(payments):
    calls = []

    async def record():
        calls.append(1)
        await session.execute(text("select 1 / 0"))

    with pytest.raises(DBAPIError, match="division by zero"):
        async with payments.database.transaction() as session:
            await despite_contention(session, record)
    assert len(calls) == 1


async def test_nothing_done_before_is_rolled_back_with_what_is_tried_again(payments):
    with pytest.raises(TransactionOpen):
        async with payments.database.transaction() as session:
            await put(session, 1)
            await despite_contention(session, lambda: put(session, 2))
