"""Jobs row by row: one bad row stops neither the others nor the next round, and a person sees it."""

import argparse
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from shared import cli, due_rows, telemetry
from shared.database import Database, Unknown
from shared.due_rows import for_batches, for_each, for_each_in_transaction
from shared.errors import Unavailable
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.tables import QueuedEmail, SetAside
from shared.testing.services import FrozenClock

from .processes import service_of

DUE = (
    select(QueuedEmail.email_id)
    .where(QueuedEmail.sent_at.is_(None))
    .order_by(QueuedEmail.created_at, QueuedEmail.email_id)
)


class Away(Unavailable):
    """Somebody outside does not answer."""


class Unclear(Unavailable):
    """Somebody outside answers what we do not understand."""

    answered = True


@pytest.fixture
async def work(payments):
    database = Database(payments.url, "payments", notifier=payments.notifier, clock=FrozenClock())
    yield Work(database, {})
    await database.dispose()


async def write(payments, count):
    """E-mails to be sent, as rows that are due; their ids in order."""
    ids = [new_id() for _ in range(count)]
    async with payments.database.messaging.begin() as connection:
        for number, email_id in enumerate(ids):
            await connection.execute(
                text(
                    "insert into letters (letter_id, kind, about, recipient, subject, text, created_at) "
                    "values (:id, 'k', :about, '', '', '', now() + :n * interval '1 second')"
                ),
                {"id": email_id, "about": str(number), "n": number},
            )
    return ids


async def send(session, email_id):
    await session.execute(
        update(QueuedEmail).where(QueuedEmail.email_id == email_id).values(sent_at=datetime.now().astimezone())
    )


async def unsent(payments):
    return [row[0] for row in await payments.all("select letter_id from letters where sent_at is null order by about")]


def refusing(bad, error: type[Exception] = ZeroDivisionError):
    tried = []

    async def handle(session, email_id):
        tried.append(email_id)
        await send(session, email_id)
        if email_id in bad:
            raise error("not this one")

    return handle, tried


async def test_a_bad_row_holds_no_other_and_leaves_nothing_behind(payments, work):
    ids = await write(payments, 25)
    bad = set(ids[:12])  # more than a batch of them, and first in the queue
    handle, tried = refusing(bad)
    before = telemetry.rows_failed.labels("send")._value.get()
    await for_each_in_transaction(work, "send", DUE, handle, batch=10)
    assert tried == ids
    assert set(await unsent(payments)) == bad
    assert telemetry.rows_failed.labels("send")._value.get() == before + 12
    async with work.database.transaction() as session:
        assert await due_rows.count_set_aside(session) == 12
        rows = await due_rows.list_set_aside(session)
    assert {(row.job, row.failures) for row in rows} == {("send", 1)}
    assert "not this one" in rows[0].last_error


async def test_a_bad_row_is_tried_again_after_longer_and_longer_pauses_and_forgotten_once_it_is_well(payments, work):
    bad, _ = await write(payments, 2)
    handle, tried = refusing({bad})
    clock = work.database.clock
    began = clock()
    tries = []
    for _ in range(60 * 24):
        tried.clear()
        await for_each_in_transaction(work, "send", DUE, handle)
        if bad in tried:
            tries.append(int((clock() - began) / timedelta(minutes=1)))
        if len(tries) == 9:
            break
        clock.advance(minutes=1)
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]

    clock.advance(minutes=59)
    tried.clear()
    await for_each_in_transaction(work, "send", DUE, send)
    assert await unsent(payments) == [bad]
    clock.advance(minutes=1)
    await for_each_in_transaction(work, "send", DUE, send)
    assert await unsent(payments) == []
    assert await payments.all("select 1 from set_aside_rows") == []


async def test_a_row_that_is_due_no_more_is_forgotten_too_and_another_job_s_is_not(payments, work):
    ids = await write(payments, 1)
    for job in ("send", "send again"):
        await for_each_in_transaction(work, job, DUE, refusing(set(ids))[0])
    async with work.database.transaction() as session:
        await send(session, ids[0])
    await for_each_in_transaction(work, "send", DUE, send)
    assert len(await payments.all("select 1 from set_aside_rows")) == 2  # their minute is not over
    work.database.clock.advance(minutes=1)
    await for_each_in_transaction(work, "send", DUE, send)
    assert await payments.all("select job from set_aside_rows") == [("send again",)]


async def test_when_all_are_away_the_round_ends_and_one_that_is_away_holds_no_other(payments, work):
    ids = await write(payments, 8)
    handle, tried = refusing(set(ids), Away)
    await for_each_in_transaction(work, "send", DUE, handle)
    assert tried == ids[:3]
    handle, tried = refusing({ids[3], ids[5]}, Away)
    await for_each_in_transaction(work, "send", DUE, handle)
    assert tried == ids[3:]  # the first three have their minute
    for _ in range(3):
        work.database.clock.advance(minutes=1)
        handle, tried = refusing({ids[3]}, Away)
        for _ in range(2):  # a row that hangs again ends its round; the others have the next one
            await for_each_in_transaction(work, "send", DUE, handle)
        assert await unsent(payments) == [ids[3]]
        assert tried.count(ids[3]) == 1  # who is away is asked every minute, not ever more seldom


async def test_rows_that_hung_before_delay_what_is_newly_due_by_one_of_them_a_round(payments, work):
    ids = await write(payments, 10)
    hanging = set(ids[:6])
    handle, tried = refusing(hanging, Away)
    for _ in range(3):
        await for_each_in_transaction(work, "send", DUE, handle)
    assert set(await unsent(payments)) == hanging
    work.database.clock.advance(minutes=1)
    asked: list[object] = []
    for _ in range(6):
        tried.clear()
        await for_each_in_transaction(work, "send", DUE, handle)
        assert len(tried) == 1
        asked += tried
    assert set(asked) == hanging  # each has its turn


async def test_a_row_that_was_handled_is_forgotten_though_others_hang_in_every_round(payments, work):
    ids = await write(payments, 3)
    await for_each_in_transaction(work, "send", DUE, refusing(set(ids), Away)[0])
    work.database.clock.advance(minutes=1)
    await for_each_in_transaction(work, "send", DUE, refusing(set(ids[1:]), Away)[0])
    assert await unsent(payments) == ids[1:]
    assert await payments.all("select 1 from set_aside_rows where row_key = :key", key=str(ids[0])) == []


async def test_a_row_that_stays_due_is_handled_once_a_round_and_hides_none_behind_it(payments, work):
    ids = await write(payments, 7)
    tried = []

    async def handle(email_id):
        tried.append(email_id)
        if email_id in ids[5:]:
            async with work.database.transaction() as session:
                await send(session, email_id)

    await for_each(work, "send", DUE, handle, batch=2)
    assert tried == ids
    assert await unsent(payments) == ids[:5]


async def test_a_bad_row_in_a_batch_costs_the_batch_its_haste_and_nothing_else(payments, work):
    ids = await write(payments, 7)
    calls = []

    async def handle(keys):
        calls.append(len(keys))
        async with work.database.transaction() as session:
            for key in keys:
                await send(session, key)
                if key == ids[1]:
                    await session.execute(text("select 1 / 0"))

    await for_batches(work, "send", DUE, handle, batch=3)
    assert calls == [3, 1, 1, 1, 3, 1]
    assert await unsent(payments) == [ids[1]]


async def test_a_database_that_is_away_is_no_fault_of_the_row(payments, work):
    await write(payments, 2)

    async def cut(session, email_id):
        await session.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Exception, match=r"connection|terminat"):
        await for_each_in_transaction(work, "send", DUE, cut)
    assert await payments.all("select 1 from set_aside_rows") == []


async def test_a_person_has_a_row_tried_again_at_once(payments, work):
    (bad,) = await write(payments, 1)
    await for_each_in_transaction(work, "send", DUE, refusing({bad})[0])
    async with work.database.transaction() as session:
        with pytest.raises(Unknown):
            await due_rows.retry(session, "send", str(new_id()))
        await due_rows.retry(session, "send", str(bad))
    await for_each_in_transaction(work, "send", DUE, send)
    assert await unsent(payments) == []


async def test_the_command_line_lists_them(payments, work, capsys):
    (bad,) = await write(payments, 1)
    await for_each_in_transaction(work, "send", DUE, refusing({bad})[0])
    service = service_of("payments", payments.url)
    await cli._set_aside(service, argparse.Namespace(action="list"))
    assert f"send  {bad}  since" in capsys.readouterr().out
    await cli._set_aside(service, argparse.Namespace(action="retry", job="send", row_key=str(bad)))
    await for_each_in_transaction(work, "send", DUE, send)
    assert await unsent(payments) == []


async def test_an_answer_that_is_not_understood_keeps_no_other_row_waiting_and_its_pauses_grow(payments, work):
    ids = await write(payments, 13)
    handle, tried = refusing(set(ids[:12]), Unclear)
    await for_each_in_transaction(work, "send", DUE, handle)
    assert tried == ids
    for minutes in (1, 1, 1):
        work.database.clock.advance(minutes=minutes)
        await for_each_in_transaction(work, "send", DUE, handle)
    assert len(tried) == 13 + 2 * 12  # after one minute and after three


async def test_rows_that_never_failed_come_before_any_number_of_others(payments, work):
    ids = await write(payments, 12)
    handle, tried = refusing(set(ids[:11]), Away)
    for _ in range(4):
        await for_each_in_transaction(work, "send", DUE.where(QueuedEmail.email_id != ids[11]), handle)
    work.database.clock.advance(minutes=2)
    tried.clear()
    await for_each_in_transaction(work, "send", DUE, handle)
    assert tried[0] == ids[11]
    assert set(await unsent(payments)) == set(ids[:11])


async def test_rows_found_by_having_been_set_aside_are_tried_each_at_its_own_time(payments, work):
    due = select(SetAside.row_key).where(SetAside.job == "again")
    for key in ("a", "b", "b"):
        await due_rows.set_aside(work, "again", key, ZeroDivisionError())
    tried = []

    async def handle(key):
        tried.append(key)
        raise ZeroDivisionError

    work.database.clock.advance(minutes=1)
    await for_each(work, "again", due, handle)
    assert tried == ["a"]
    work.database.clock.advance(minutes=2)
    await for_each(work, "again", due, handle)
    assert tried == ["a", "b", "a"]
