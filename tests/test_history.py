"""Every event a second time, to services that have forgotten that they handled it, changes nothing.

A feed is read from its beginning on a restored database, and keys are kept for some months: handlers see old events again.
"""

import asyncio

import pytest
from sqlalchemy import text

from embedded import demo_award
from embedded.services import NAMES, build
from shared.messaging.reconciliation import Reconciler
from shared.process import Process

OF_DELIVERY = {"inbox", "inbox_retry", "feed_positions", "feed_epochs", "turns"}
OF_THE_HOUR = ["ask_at", "unread", "read_at"]
"""Columns that a job moves on by itself: when the provider is asked next, and when enrolment was asked about a person."""


async def rows_of(database) -> dict[str, set[str]]:
    async with database.messaging.connect() as connection:
        tables = await connection.scalars(
            text(
                "select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace "
                "where nspname = 'public' and relkind in ('r', 'p') and not relispartition"
            )
        )
        return {
            table: set(
                await connection.scalars(
                    text(f'select (to_jsonb(t) - cast(:moved as text[]))::text from "{table}" t'),
                    {"moved": OF_THE_HOUR},
                )
            )
            for table in tables.all()
            if table not in OF_DELIVERY
        }


async def settled(processes) -> dict[str, dict[str, set[str]]]:
    """The rows of every service, once nothing is on its way and no job changes any: lists are signed somewhat later."""
    found: dict[str, dict[str, set[str]]] = {}
    async with asyncio.timeout(120):
        while True:
            await quiet(processes)
            again = {process.service.name: await rows_of(process.database) for process in processes}
            if again == found:
                return found
            found = again
            await asyncio.sleep(16)  # longer than any job rests that changes rows: lists are signed every 15 seconds


async def quiet(processes) -> None:
    """Until nothing is on its way in any service."""
    waiting = "select (select count(*) from outbox where sent_at is null) + (select count(*) from inbox_retry)"
    calm = 0
    async with asyncio.timeout(60):
        while calm < 3:
            total = 0
            for process in processes:
                async with process.database.messaging.connect() as connection:
                    total += await connection.scalar(text(waiting))
            calm = 0 if total else calm + 1
            await asyncio.sleep(1)


@pytest.mark.slow
async def test_the_whole_history_a_second_time_changes_nothing(embedded_platform):
    deployment = embedded_platform.deployment
    await demo_award.narrate(embedded_platform.url, deployment.folder, embedded_platform.feeds)
    processes = [Process(build(name, deployment)) for name in NAMES]
    try:
        before = await settled(processes)
        handled = 0
        for process in processes:
            async with process.database.messaging.begin() as connection:
                await connection.execute(text("truncate inbox, feed_positions"))
            reconciler = Reconciler(process.receiver, process.database, process.feeds())
            for source in process.feeds():
                await reconciler.catch_up(source)
            async with process.database.messaging.connect() as connection:
                handled += await connection.scalar(text("select count(*) from inbox"))
        await quiet(processes)
        assert handled > 100
        for process in processes:
            after = await rows_of(process.database)
            for table, rows in before[process.service.name].items():
                differing = sorted(rows ^ after[table])
                assert differing == [], f"{process.service.name}.{table}"
    finally:
        for process in processes:
            await process.http.aclose()
            await process.database.dispose()
