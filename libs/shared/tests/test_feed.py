"""The event log as a feed: fenced, so that no late commit is skipped; read anew where it must be."""

import httpx
import pytest

from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.epochs import START, BadFeedCursor
from shared.messaging.feed import HttpFeed, read_page
from shared.messaging.outbox import write_announced
from shared.process import Process

from .delivery import refund_of, reversed_
from .processes import service_of

REFUNDS = [RefundRequested.type]


async def test_pages_follow_one_another_to_the_end(payments):
    await payments.announce(*(refund_of() for _ in range(5)), reversed_(new_id()))
    first = await read_page(payments.database, REFUNDS, START, 3)
    second = await read_page(payments.database, REFUNDS, first.cursor, 3)
    end = await read_page(payments.database, REFUNDS, second.cursor, 3)
    assert [len(page.bodies) for page in (first, second, end)] == [3, 2, 0]
    assert end.cursor.partition(".")[0] == second.cursor.partition(".")[0]
    written = [row[0] for row in await payments.all("select body from outbox order by position")]
    assert first.bodies + second.bodies == written[:5]


async def test_a_late_commit_is_not_skipped_where_a_cursor_of_positions_would(payments):
    async with payments.database.transaction() as session:
        publish(session, refund_of())
        await session.run_sync(write_announced)  # takes the lower position and the lower transaction id
        await payments.announce(refund_of())
        fenced = await read_page(payments.database, REFUNDS, START)
        assert fenced.bodies == []  # the later one waits behind the fence
        naive = await payments.one("select max(position) from outbox")
    after = await read_page(payments.database, REFUNDS, fenced.cursor)
    assert len(after.bodies) == 2
    assert await payments.all("select 1 from outbox where position > :naive", naive=naive) == []


async def test_a_transaction_that_began_early_and_wrote_late_is_not_skipped(payments):
    """Its transaction id is the higher one, its position the lower or the higher: whichever, it comes once."""
    async with payments.database.transaction() as session:
        publish(session, refund_of())
        await session.run_sync(write_announced)
        await payments.announce(refund_of())
        publish(session, refund_of())
        await session.run_sync(write_announced)
        await payments.announce(refund_of())
        assert (await read_page(payments.database, REFUNDS, START)).bodies == []
    page = await read_page(payments.database, REFUNDS, START)
    assert len(page.bodies) == 4
    assert (await read_page(payments.database, REFUNDS, page.cursor)).bodies == []


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "1",
        "x.y",
        "1.2.3",
        "-1.0",
        "1.-2",
        "99999999999999999999999.0",
        "1.9" + "9" * 30,
        "0123456789AB.1.1",
        "a" * 12,
    ],
)
async def test_a_cursor_that_is_none_is_refused(payments, cursor):
    with pytest.raises(BadFeedCursor):
        await read_page(payments.database, REFUNDS, cursor)


async def test_the_feed_is_for_services_alone(payments, tmp_path):
    await payments.announce(refund_of())
    process = Process(service_of("payments", payments.url, mail_folder=str(tmp_path)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(process.app), base_url="http://payments") as client:
        for headers in ([], [(b"Authorization", b"Bearer wrong")], [(b"Authorization", "Bearer ü".encode())]):
            answer = await client.get("/internal/events", params={"types": REFUNDS}, headers=headers)
            assert answer.status_code == 401
        page = await HttpFeed("http://payments", "of the tests", client, "enrolment").read(REFUNDS, START)
        assert len(page.bodies) == 1
        assert "/internal/events" not in (await client.get("/openapi.json")).json()["paths"]
    await process.http.aclose()
    await process.database.dispose()
