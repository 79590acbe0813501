"""A database that has lost history: no receipt number is given a second time, and the provider is asked at once."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from payments.__main__ import RECEIPTS
from payments.commands.receipts import BadReceiptNumber, ReceiptBeforeOurs, ReceiptNeverGiven
from payments.jobs import compare_with_provider
from payments.tables import Comparison
from shared import restored
from shared.messaging import history, reconciliation
from shared.messaging.epochs import START
from shared.messaging.feed import FeedPage
from shared.messaging.history import Reader
from shared.messaging.receiver import Receiver
from shared.messaging.reconciliation import Reconciler
from shared.messaging.tables import FeedEpoch, Installation


async def lose_history(driver) -> None:
    values = {"history_lost_at": driver.clock(), "history_lost": "enrolment has read further"}
    await driver.session.execute(update(Installation).values(values))


async def accept(driver, last_receipt: str) -> None:
    await history.accept(driver.session, [], installation=None, by="ann", reason="no younger copy")
    await RECEIPTS.run(driver.session, last_receipt)
    await driver.session.execute(update(Installation).values(history_accepted_at=driver.clock()))


async def test_no_receipt_is_given_before_it_is_known_which_ones_were(driver):
    before, _ = await driver.buy(await driver.sell())
    first = int((await driver.read(before))["receipt_number"].rpartition("-")[2])
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await lose_history(driver)
    await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "placed"

    for short in ("4711", f"{first:06d}", "14x"):
        with pytest.raises(
            BadReceiptNumber, match=f"'{short}' is no receipt number: one is written MC-<year>-<number>"
        ):
            await RECEIPTS.run(driver.session, short)
    with pytest.raises(ReceiptBeforeOurs, match=f"{first:06d}"):
        await RECEIPTS.run(driver.session, f"MC-2026-{first - 1:06d}")
    for never in (f"MC-2026-{10**18 - 1}", f"MC-2026-{first + 2_000_000}", f"MC-9999-{first + 40:06d}"):
        with pytest.raises(ReceiptNeverGiven, match=f"{never} was never given: .*{first:06d}"):
            await RECEIPTS.run(driver.session, never)
    with pytest.raises(BadReceiptNumber):
        await RECEIPTS.run(driver.session, "MC-2026-" + "٤٢")
    assert f"MC-<year>-{first:06d}" in await RECEIPTS.known(driver.session)
    await accept(driver, f"MC-2026-{first + 40:06d}")
    await accept(driver, f"MC-2026-{first:06d}")  # what was drawn here is not given again either
    await driver.run(compare_with_provider)
    announced = await driver.read(order)
    assert announced["status"] == "paid"
    assert int(announced["receipt_number"].rpartition("-")[2]) > first + 40


async def test_no_receipt_is_given_by_a_database_of_which_nobody_was_asked_yet_what_they_have_read(driver):
    """It may have been put back a second ago: its tables are other files, or its server was started."""
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    begun = update(FeedEpoch).where(FeedEpoch.tables.is_not(None))
    here = (
        await driver.session.execute(select(FeedEpoch.tables).order_by(FeedEpoch.number.desc()).limit(1))
    ).scalar_one()
    await driver.session.execute(begun.values(tables="put back"))
    await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "placed"
    await driver.session.execute(
        begun.values(tables=here)
    )  # as where they were asked in the epoch that has begun since
    await driver.run(compare_with_provider)
    assert (await driver.read(order))["status"] == "paid"


async def test_the_provider_is_compared_with_at_once_and_back_to_before_the_copy(driver):
    await driver.run(compare_with_provider)
    began = select(Comparison.began_at, Comparison.since)
    driver.clock.advance(days=1, minutes=1)
    await driver.run(compare_with_provider)
    copied, _ = (await driver.session.execute(began)).one()
    driver.clock.advance(hours=1)
    await driver.run(compare_with_provider)
    assert (await driver.session.execute(began)).one()[0] == copied, "it is not due"
    await lose_history(driver)
    for step in ("noticed", "accepted"):
        driver.clock.advance(seconds=1)
        if step == "accepted":
            await accept(driver, "MC-2026-000001")
            driver.clock.advance(seconds=1)
        await driver.run(compare_with_provider)
        at, since = (await driver.session.execute(began)).one()
        assert at == driver.clock()
        assert since < copied - timedelta(days=1)


class TakenIn:
    """Enrolment, which has read nothing of our log since, and has taken in what the broker brought."""

    def __init__(self):
        self.taken: tuple[UUID, ...] = ()

    async def read(self, types, after):
        return FeedPage(bodies=[], cursor="0123456789ab.5.5", reader=Reader("enrolment", START, None, self.taken))


async def test_a_number_that_a_payer_holds_is_not_given_again_where_only_the_broker_told_of_it(
    live_driver, postgres, monkeypatch
):
    """As by a failover, which loses seconds: nobody has read the feed in them."""
    driver, enrolment = live_driver, TakenIn()
    database = driver.service.process.database
    name = database.web.url.database
    await driver.buy(await driver.sell())
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    admin = await postgres.connect()
    await database.dispose()
    await admin.execute(f'create database "{name}_copy" template "{name}" owner "{name}"')
    lost, _ = await driver.buy(await driver.sell())
    async with database.messaging.connect() as connection:
        last = text("select id from outbox order by position desc limit 1")
        enrolment.taken = ((await connection.execute(last)).scalar_one(),)
    await database.dispose()
    await admin.execute(f'drop database "{name}" with (force)')
    await admin.execute(f'alter database "{name}_copy" rename to "{name}"')
    await admin.close()

    await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "placed", "nobody was asked"
    feeds = {"enrolment": enrolment}
    lines, is_lost = await restored.show(database, feeds, RECEIPTS)
    assert is_lost, lines
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    task = asyncio.create_task(Reconciler(Receiver(driver.service.service.inbox, database), database, feeds).run())
    try:
        await driver.run(compare_with_provider)
        assert (await driver.read(order))["status"] == "placed", "it is known that something is lost"
        decided = {"installation": None, "by": "ann", "reason": "no younger copy"}
        await restored.accept(database, feeds, **decided, step=RECEIPTS, given=lost["receipt_number"])
        async with asyncio.timeout(15):
            while (await driver.read(order))["status"] == "placed":
                driver.clock.advance(seconds=1)
                await driver.run(compare_with_provider)
                await asyncio.sleep(0.1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await driver.read(order))["receipt_number"] > lost["receipt_number"]
