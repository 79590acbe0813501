"""Leases: they outlast a connection, they do not outlast who had them, and nobody works without one."""

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text

from shared import driver, leases
from shared.database import Database
from shared.ids import new_id
from shared.jobs import Work, run_exclusively
from shared.leases import lease
from shared.messaging.outbox import OutboxNotifier
from shared.outages import DATABASE_ERRORS

from .lines import line_to
from .messaging_nodes import ServiceNode


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.2)


@pytest.fixture
async def other(payments):
    node = ServiceNode("payments", payments.url)
    yield node
    await node.database.dispose()


class Crew:
    """Who is at work, at most at once."""

    def __init__(self) -> None:
        self.at_work = self.most = self.done = 0

    async def work(self, seconds):
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await asyncio.sleep(seconds)
            self.done += 1
        finally:
            self.at_work -= 1

    def job(self, seconds):
        async def job(work):
            await self.work(seconds)

        return job


async def until_taken(node, job):
    while not await run_exclusively("nightly", job, Work(node.database, {})):  # noqa: ASYNC110 - it asks the database
        await asyncio.sleep(0.05)


async def test_a_lease_lasts_as_long_as_the_work(payments, other):
    crew = Crew()
    first = asyncio.create_task(run_exclusively("nightly", crew.job(4), Work(payments.database, {})))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(30):
        await until_taken(other, crew.job(0))
    assert await first
    assert (crew.most, crew.done) == (1, 2)


async def test_a_lease_whose_connection_is_cut_is_kept(payments, other, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 3)
    crew = Crew()
    first = asyncio.create_task(run_exclusively("nightly", crew.job(6), Work(payments.database, {})))
    for _ in range(3):
        await asyncio.sleep(0.7)
        await other.all(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'payments/side'"
        )
        with suppress(*DATABASE_ERRORS):  # its own connections are cut as well
            assert not await run_exclusively("nightly", crew.job(0), Work(other.database, {}))
    assert await first
    assert crew.most == 1


async def test_the_lease_of_a_host_that_died_is_free_soon(payments, other):
    """The server was not informed, and the server believes in its session."""
    async with payments.database.transaction() as session:
        await session.execute(
            text("insert into turns values ('job nightly', :one, clock_timestamp() + interval '1 second')"),
            {"one": new_id()},
        )
    crew = Crew()
    assert not await run_exclusively("nightly", crew.job(0), Work(other.database, {}))
    async with asyncio.timeout(15):
        await until_taken(other, crew.job(0))


async def test_who_cannot_renew_a_lease_stops_before_another_begins(payments, other, monkeypatch):
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 0.2)
    crew = Crew()
    async with line_to(payments.url) as line:
        database = Database(line.url, "payments", notifier=OutboxNotifier())
        alone = asyncio.create_task(run_exclusively("nightly", crew.job(60), Work(database, {})))
        await asyncio.sleep(0.3)
        line.all_silent = True
        line.fall_silent()
        async with asyncio.timeout(30):
            await until_taken(other, crew.job(0))
            with pytest.raises(TimeoutError):
                await alone
        assert (crew.most, crew.done) == (1, 1)
        await database.dispose()


async def test_a_lease_that_another_took_ends_the_work(payments, other):
    """As after a machine stood still for longer than its lease."""
    crew = Crew()
    first = asyncio.create_task(run_exclusively("nightly", crew.job(60), Work(payments.database, {})))
    await asyncio.sleep(0.2)
    await other.all("select 1")
    async with other.database.transaction() as session:
        await session.execute(
            text("update turns set holder = :one, until = clock_timestamp() + interval '20 seconds'"), {"one": new_id()}
        )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first, 20)


async def test_a_lease_is_one_process_own_too(payments):
    async with lease(payments.database, "one") as ours, lease(payments.database, "one") as again:
        assert (ours, again) == (True, False)
    async with lease(payments.database, "one") as ours:
        assert ours


async def test_a_lease_given_by_a_clock_that_stood_ahead_keeps_nobody_waiting(payments):
    async with lease(payments.database, "one") as ours:
        assert ours
    async with payments.database.transaction() as session:
        await session.execute(
            text("update turns set holder = :one, until = clock_timestamp() + interval '1 day'"), {"one": new_id()}
        )
    async with lease(payments.database, "one") as ours:
        assert ours
