"""Connections to the database that stay open and carry nothing any more: no wait without an end, no gauge that shows
what was not measured, no process that cannot be stopped; and every loop is watched."""

import asyncio
import dataclasses
import math

import httpx
import pytest
from sqlalchemy import text

from embedded import ports
from shared import driver, health, jobs, liveness, telemetry
from shared.database import Database, RawStatement
from shared.driver import connect_driver
from shared.jobs import Jobs
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import OutboxNotifier
from shared.outages import is_database_down
from shared.process import Process

from .delivery import refund_of
from .lines import line_to
from .messaging_nodes import eventually
from .processes import running, service_of

ONE = RawStatement("select 1")


@pytest.fixture
async def line(payments, monkeypatch):
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 1.0)
    async with line_to(payments.url) as line:
        yield line


async def session(database):
    async with database.transaction() as session:
        await session.execute(text("select 1"))


async def in_the_middle(database):
    async with database.transaction() as session:
        await session.execute(text("select 1"))
        await session.execute(text("select 2"))


async def beside(database):
    async with database.side.driver() as connection:
        await connection.fetchval("select 1")


WAYS = {
    "session": session,
    "driver": ONE.row,
    "beside": beside,
    "look": lambda database: database.finds("select 1"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_statement_that_is_not_answered_ends_and_the_next_is(line, way):
    database = Database(line.url, "tests", notifier=OutboxNotifier())
    await WAYS[way](database)
    assert line.fall_silent()
    async with asyncio.timeout(6):
        with pytest.raises(OSError) as silent:  # noqa: PT011 - a time-out, of whichever kind
            await WAYS[way](database)
        assert is_database_down(silent.value)
        await WAYS[way](database)
        line.fall_silent()
        await database.dispose()


async def test_a_bare_connection_ends_what_is_not_answered_too(line):
    connection = await connect_driver(line.url)
    line.fall_silent()
    async with asyncio.timeout(4):
        with pytest.raises(TimeoutError):
            await connection.execute("select 1")
        await driver.close_driver(connection)
    assert connection.is_closed()


class Counting(Process):
    rounds = 0
    """How often its job has run."""


@pytest.fixture
async def process(line, nodes, tmp_path, monkeypatch):
    """payments of the delivery suite, with a job, whose database is at the end of the line."""
    monkeypatch.setattr("shared.process.MEASURE_SECONDS", 0.2)
    monkeypatch.setattr("shared.messaging.relay.MEASURE_SECONDS", 0.2)
    monkeypatch.setattr("shared.process.STOP_SECONDS", 3.0)
    counting = Jobs()

    @counting.every(0.1)
    async def count(work):
        await session(work.database)
        process.rounds += 1

    made = service_of("payments", line.url, port=ports.suggest(1), mail_folder=str(tmp_path))
    process = Counting(dataclasses.replace(made, jobs=counting), bus=(bus := InProcessBus()))
    for name in ("enrolment", "credentials"):
        bus.subscribe(nodes[name].receiver)
    return process


def gauges():
    labelled = (
        telemetry.outbox_unsent,
        telemetry.outbox_oldest_seconds,
        telemetry.outbox_hidden,
        telemetry.dead_letters,
        telemetry.rows_set_aside,
    )
    return [gauge.labels("payments")._value.get() for gauge in labelled]


async def live(process):
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{process.service.settings.port}/health/live")
    return answer.status_code, answer.json()["status"]


async def measured():
    return not any(math.isnan(value) for value in gauges())


async def test_a_process_whose_connections_fell_silent_goes_on_by_itself(process, line, payments):
    async with running(process):
        await eventually(measured)
        assert line.fall_silent() >= 3
        await payments.announce(refund_of())
        rounds = process.rounds

        async def goes_on():
            sent = await payments.one("select count(*) from outbox where sent_at is not null")
            return sent == 1 and process.rounds > rounds + 3

        async def measured_anew():
            return await measured() and gauges()[0] == 0

        await eventually(goes_on, 45)  # the job's lease ends, too
        await eventually(measured_anew)
        assert await live(process) == (200, "live")


async def test_what_a_silent_database_keeps_from_being_measured_is_reported_as_no_number(process, line):
    async with running(process) as (task,):
        await eventually(measured)
        line.all_silent = True
        line.fall_silent()

        async def unknown():
            return all(math.isnan(value) for value in gauges())

        await eventually(unknown, 45)
        assert await live(process) == (200, "live")  # the loops go round: to start anew would help nothing
        assert not task.done()


async def test_whether_a_process_is_ready_is_answered_in_time_though_its_database_is_silent(process, line, monkeypatch):
    """In one limit for all of it: for the connection, the statements, and taking leave of what is silent."""
    monkeypatch.setattr(health, "READY_SECONDS", 0.5)
    clock = asyncio.get_running_loop().time

    async with running(process), httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{process.service.settings.port}/health/ready"
        assert (await client.get(url)).status_code == 200
        line.all_silent = True
        line.fall_silent()
        for _ in range(2):  # the second needs a new connection
            began = clock()
            answer = await client.get(url)
            assert (answer.status_code, answer.json()) == (503, {"status": "the database is away"})
            assert clock() - began < 1.5
        line.all_silent = False

        async def ready():
            return (await client.get(url)).status_code == 200

        await eventually(ready, 30)


async def test_a_process_ends_though_its_database_is_silent(process, line, monkeypatch):
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 3600.0)
    stop, started = asyncio.Event(), asyncio.Event()
    process.database = process.receiver.database = Database(line.url, "payments", notifier=process.notifier)
    task = asyncio.create_task(process.run(stop, started=started))
    await started.wait()
    await eventually(measured)
    line.all_silent = True
    line.fall_silent()
    await asyncio.sleep(1)
    stop.set()
    done, _ = await asyncio.wait({task}, timeout=20)
    assert done
    task.result()


async def test_in_embedded_mode_a_relay_that_has_sent_is_not_waited_for(process, payments, monkeypatch):
    """The receivers beat in its name, and then it has nothing more to say."""
    monkeypatch.setattr(liveness, "STUCK_SECONDS", 0.5)

    async def sent():
        return await payments.one("select count(*) from outbox where sent_at is not null") == 1

    async with running(process):
        await payments.announce(refund_of())
        await eventually(sent)
        await asyncio.sleep(1)
        assert "relay: send" not in process.loops.stuck()


async def test_a_loop_that_fails_is_begun_again_and_ends_no_other(process, monkeypatch):
    monkeypatch.setattr("shared.process.BEGIN_AGAIN_SECONDS", 0.05)
    begun = []

    async def fail():
        begun.append(1)
        if len(begun) % 2:
            raise asyncio.CancelledError  # as what was cut off below it says
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.01))
            raise OverflowError("date value out of range")

    process.service = dataclasses.replace(process.service, also=lambda _: {"odd": fail})
    failed = telemetry.loops_failed.labels("odd")._value.get()
    async with running(process) as (task,):

        async def often():
            return len(begun) > 3 and process.rounds > 3

        await eventually(often)
        assert not task.done()
        assert await live(process) == (200, "live")
    assert telemetry.loops_failed.labels("odd")._value.get() > failed + 3
    count = len(begun)
    await asyncio.sleep(0.2)
    assert len(begun) == count  # and ends with the process


async def test_every_loop_of_a_process_is_watched(process):
    async with running(process):

        async def all_consumed():
            return set(process.loops.due) <= process.loops.reported

        await eventually(all_consumed)
        parts = {
            "relay: look",
            "relay: send",
            "relay: settle",
            "outbox notifier",
            "retries",
            "reconciler",
            "email sender",
            "gauges",
        }
        its_jobs = {"jobs: count", "housekeeping: keep_event_log", "housekeeping: forget_old_records"}
        assert {*parts, *its_jobs, "server"} <= set(process.loops.due)
        for name in list(process.loops.due):
            process.loops.due[name] = asyncio.get_running_loop().time() - 1
            assert name in process.loops.stuck()
            process.loops.due[name] = float("inf")
        process.loops.due["reconciler"] = asyncio.get_running_loop().time() - 1
        assert await live(process) == (503, "stuck: reconciler")


async def test_a_job_that_hangs_is_ended_and_tried_again(payments, monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_SECONDS", 0.1)
    hanging, tries = Jobs(), 0

    @hanging.every(0.01)
    async def hang(work):
        nonlocal tries
        tries += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(hanging.run(jobs.Work(payments.database, {})))

    async def again():
        return tries > 2

    await eventually(again)
    task.cancel()
    await asyncio.wait({task})


async def test_a_loop_that_says_nothing_more_is_stuck(monkeypatch):
    loops = liveness.Loops()
    monkeypatch.setattr(liveness, "STUCK_SECONDS", 0.05)
    liveness.begin(loops, "one")
    liveness.beat(within=3600)
    assert loops.stuck() == []
    liveness.beat()
    await asyncio.sleep(0.1)
    assert loops.stuck() == ["one"]
    liveness.rest()
    assert loops.stuck() == []
