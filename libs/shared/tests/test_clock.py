"""A replica whose clock stands wrong writes and compares the database's time."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from shared.clock import FIRST_INSTANT, LAST_INSTANT, DatabaseClock, later, system_clock
from shared.database import Database, now
from shared.messaging.outbox import OutboxNotifier
from shared.process import Process


@pytest.mark.parametrize("ahead", [timedelta(days=1), -timedelta(hours=3), timedelta(seconds=30)])
async def test_the_databases_clock_decides(payments, ahead):
    clock = DatabaseClock(own=lambda: system_clock() + ahead)
    database = Database(payments.url, "payments", notifier=OutboxNotifier(), clock=clock)
    try:
        await database.set_clock()
        async with database.transaction() as session:
            theirs = await session.scalar(text("select clock_timestamp()"))
            assert abs(now(session) - theirs) < timedelta(seconds=5)
    finally:
        await database.dispose()


@pytest.mark.parametrize("days", [0, 1, 14, 4_000_000])
def test_what_is_later_than_the_end_of_the_calendar_is_its_end(days):
    by = timedelta(days=days)
    assert later(LAST_INSTANT, by) == LAST_INSTANT
    assert later(FIRST_INSTANT, -by) == FIRST_INSTANT
    at = datetime(2026, 11, 30, tzinfo=UTC)
    assert later(at, by) == (at + by if days < 100 else LAST_INSTANT)
    assert later(at, -by) == (at - by if days < 100 else FIRST_INSTANT)


def test_what_the_network_may_be_is_no_difference():
    clock, at = DatabaseClock(), datetime(2026, 11, 30, tzinfo=UTC)
    clock.compare(at, at + timedelta(seconds=2.5), at + timedelta(seconds=3))
    assert clock.ahead == timedelta()
    clock.compare(at, at - timedelta(minutes=5), at + timedelta(seconds=2))
    assert clock.ahead == timedelta(minutes=5, seconds=1)


async def test_a_process_that_is_given_no_clock_goes_by_the_databases(api):
    process = Process(api.service)
    try:
        assert isinstance(process.database.clock, DatabaseClock)
    finally:
        await process.http.aclose()
        await process.database.dispose()
