"""Jobs: one replica at a time; a failure is logged, counted and tried again."""

import asyncio

import pytest
from sqlalchemy import text

from shared import jobs as jobs_module
from shared import telemetry
from shared.batches import BATCH
from shared.jobs import Effect, Jobs, Work, forget_old_records, run_exclusively
from shared.messaging.history import History

from .messaging_nodes import ServiceNode, eventually


async def test_a_job_is_done_by_one_replica_at_a_time(payments):
    other = ServiceNode("payments", payments.url)
    at_work = most = done = 0

    async def job(work):
        nonlocal at_work, most, done
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.2)
        at_work -= 1
        done += 1

    results = await asyncio.gather(
        *(run_exclusively("nightly", job, Work(node.database, {})) for node in (payments, other) * 2)
    )
    assert most == 1
    assert done == sum(results) >= 1
    assert await run_exclusively("nightly", job, Work(payments.database, {}))  # the lease has ended
    await other.database.dispose()


async def test_the_lease_ends_when_the_job_fails_or_is_cancelled(payments):
    async def fail(work):
        raise ZeroDivisionError

    async def hang(work):
        await asyncio.sleep(3600)

    async def fine(work):
        pass

    work = Work(payments.database, {})
    with pytest.raises(ZeroDivisionError):
        await run_exclusively("nightly", fail, work)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run_exclusively("nightly", hang, work)
    assert await run_exclusively("nightly", fine, work)


async def test_a_job_that_fails_is_counted_and_tried_again(payments):
    jobs, tries = Jobs(), 0

    @jobs.every(0.02)
    async def flaky(work):
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ZeroDivisionError

    before = telemetry.jobs_failed.labels("flaky")._value.get()
    task = asyncio.create_task(jobs.run(Work(payments.database, {})))

    async def recovered():
        assert not task.done(), task
        return tries >= 4

    await eventually(recovered)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert telemetry.jobs_failed.labels("flaky")._value.get() == before + 2


async def test_a_slow_job_does_not_hold_the_others(payments):
    jobs, quick = Jobs(), asyncio.Event()

    @jobs.every(60)
    async def slow(work):
        await asyncio.sleep(3600)

    @jobs.every(60)
    async def fast(work):
        quick.set()

    task = asyncio.create_task(jobs.run(Work(payments.database, {})))
    await asyncio.wait_for(quick.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("after", "done"),
    [
        ("the start", {Effect.REVERSIBLE}),
        ("the first hour", {Effect.REVERSIBLE}),
        ("every feed was read", {Effect.REVERSIBLE, Effect.ENDS}),
        ("both", set(Effect)),
    ],
)
async def test_a_job_that_cannot_be_undone_waits_until_all_has_arrived_and_to_remove_for_an_hour(
    payments, monkeypatch, after, done
):
    monkeypatch.setattr(jobs_module, "FIRST_HOUR", 0.2 if after in {"the first hour", "both"} else 3600)
    jobs, did, history = Jobs(), set(), History(payments.database)
    await history.look()
    for effect in Effect:

        async def job(work, effect=effect):
            did.add(effect)

        job.__name__ = effect
        jobs.every(0.02, effect=effect)(job)

    task = asyncio.create_task(jobs.run(Work(payments.database, {}, history)))
    if after in {"every feed was read", "both"}:
        history.caught_up.set()

    async def all_done():
        return did >= done

    await eventually(all_done)
    await asyncio.sleep(0.5)
    assert did == done
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_old_keys_are_forgotten_and_younger_ones_kept(payments):
    async with payments.database.messaging.begin() as connection:
        for age in ("23 hours", "25 hours", "89 days", "91 days"):
            await connection.execute(
                text(
                    "insert into idempotency_keys (caller, operation, key, request_sha256, status, headers, body, "
                    f"created_at) values ('c', 'o', '{age}', '', 200, '{{}}', '', now() - interval '{age}')"
                )
            )
            await connection.execute(
                text(
                    "insert into inbox (source, id, type, body_sha256, handled_at) "
                    f"values ('{age}', gen_random_uuid(), 't', '', now() - interval '{age}')"
                )
            )
    await forget_old_records(Work(payments.database, {}))
    assert await payments.all("select key from idempotency_keys") == [("23 hours",)]
    assert await payments.all("select source from inbox order by 1") == [("23 hours",), ("25 hours",), ("89 days",)]


async def test_a_great_many_old_records_are_forgotten_in_batches_each_committed(payments):
    """One statement for all would some day run into the statement time-out, and from then on never succeed."""
    async with payments.database.messaging.begin() as connection:
        for statement in (
            "create table steps (what text, rows bigint, xid xid8 default pg_current_xact_id())",
            "create function count_rows() returns trigger language plpgsql as $$ begin "
            "insert into steps select tg_table_name, count(*) from gone; return null; end $$",
            "insert into idempotency_keys (caller, operation, key, request_sha256, status, headers, body, created_at) "
            "select 'c', 'o', n::text, '', 200, '{}', '', now() - interval '25 hours' from generate_series(1, 3500) n",
            "insert into inbox (source, id, type, body_sha256, handled_at) "
            "select 's', gen_random_uuid(), 't', '', now() - interval '91 days' from generate_series(1, 3500)",
            "insert into letters (letter_id, kind, about, recipient, subject, text, sent_at) select gen_random_uuid(), "
            "'k', n::text, 'a', 's', 't', now() - interval '31 days' from generate_series(1, 3500) n",
        ):
            await connection.execute(text(statement))
        for table, what in (("idempotency_keys", "delete"), ("inbox", "delete"), ("letters", "update")):
            await connection.execute(
                text(
                    f"create trigger steps after {what} on {table} referencing old table as gone "
                    "for each statement execute function count_rows()"
                )
            )
    await forget_old_records(Work(payments.database, {}))
    steps = await payments.all(
        "select what, sum(rows), max(rows), count(distinct xid) from steps group by 1 order by 1"
    )
    assert [(what, total) for what, total, _, _ in steps] == [
        ("idempotency_keys", 3500),
        ("inbox", 3500),
        ("letters", 3500),
    ]
    assert all(most <= BATCH and transactions > 3500 // BATCH for _, _, most, transactions in steps)


async def test_of_an_old_email_only_that_it_was_written_is_kept(payments):
    async with payments.database.messaging.begin() as connection:
        for name, sent_at, failed_at in (
            ("sent long ago", "now() - interval '31 days'", "null"),
            ("failed long ago", "null", "now() - interval '31 days'"),
            ("sent lately", "now() - interval '29 days'", "null"),
            ("to be sent", "null", "null"),
        ):
            await connection.execute(
                text(
                    "insert into letters (letter_id, kind, about, recipient, subject, text, sent_at, failed_at) values "
                    f"(gen_random_uuid(), 'refund', '{name}', 'ann@example.org', 's', 'Dear Ann', {sent_at}, {failed_at})"
                )
            )
    for _ in range(2):
        await forget_old_records(Work(payments.database, {}))
    rows = await payments.all("select about, kind, recipient, text from letters order by about")
    assert rows == [
        ("failed long ago", "refund", "", ""),
        ("sent lately", "refund", "ann@example.org", "Dear Ann"),
        ("sent long ago", "refund", "", ""),
        ("to be sent", "refund", "ann@example.org", "Dear Ann"),
    ]


async def test_more_jobs_at_once_than_connections_all_get_done(payments):
    """Each holds a connection for its lease and needs another to work with."""

    async def job(work):
        async with work.database.transaction() as session:
            await session.execute(text("select pg_sleep(0.05)"))

    async with asyncio.timeout(25):  # the pool's own patience is longer
        done = await asyncio.gather(*(run_exclusively(f"job {n}", job, Work(payments.database, {})) for n in range(40)))
    assert all(done)
