"""A database that has lost history: no receipt number is given a second time, and the provider is asked at once."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from payments.__main__ import RECEIPTS
from payments.commands.receipts import BadReceiptNumber, ReceiptBeforeOurs, ReceiptNeverGiven
from payments.jobs import compare_with_provider
from payments.tables import Comparison
from shared.messaging import history
from shared.messaging.tables import FeedEpoch, Installation


async def lose_history(shop) -> None:
    values = {"history_lost_at": shop.clock(), "history_lost": "enrolment has read further"}
    await shop.session.execute(update(Installation).values(values))


async def accept(shop, last_receipt: str) -> None:
    await history.accept(shop.session, [], installation=None, by="ann", reason="no younger copy")
    await RECEIPTS.run(shop.session, last_receipt)
    await shop.session.execute(update(Installation).values(history_accepted_at=shop.clock()))


async def test_no_receipt_is_given_before_it_is_known_which_ones_were(shop):
    before, _ = await shop.buy(await shop.sell())
    first = int((await shop.read(before))["receipt_number"].rpartition("-")[2])
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await lose_history(shop)
    await shop.pay(session_id)
    assert (await shop.read(order))["status"] == "placed"

    with pytest.raises(BadReceiptNumber):
        await RECEIPTS.run(shop.session, "4711")
    with pytest.raises(ReceiptBeforeOurs, match=f"{first:06d}"):
        await RECEIPTS.run(shop.session, f"MC-2026-{first - 1:06d}")
    for never in (f"MC-2026-{10**18 - 1}", f"MC-2026-{first + 2_000_000}", f"MC-9999-{first + 40:06d}"):
        with pytest.raises(ReceiptNeverGiven, match=f"{never} was never given: .*{first:06d}"):
            await RECEIPTS.run(shop.session, never)
    with pytest.raises(BadReceiptNumber):
        await RECEIPTS.run(shop.session, "MC-2026-" + "٤٢")
    assert f"{first:06d}" in await RECEIPTS.known(shop.session)
    await accept(shop, f"MC-2026-{first + 40:06d}")
    await accept(shop, f"MC-2026-{first:06d}")  # what was drawn here is not given again either
    await shop.run(compare_with_provider)
    announced = await shop.read(order)
    assert announced["status"] == "paid"
    assert int(announced["receipt_number"].rpartition("-")[2]) > first + 40


async def test_no_receipt_is_given_by_a_database_of_which_nobody_was_asked_yet_what_they_have_read(shop):
    """It may have been put back a second ago: its tables are other files, or its server was started."""
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    begun = update(FeedEpoch).where(FeedEpoch.tables.is_not(None))
    here = (
        await shop.session.execute(select(FeedEpoch.tables).order_by(FeedEpoch.number.desc()).limit(1))
    ).scalar_one()
    await shop.session.execute(begun.values(tables="put back"))
    await shop.pay(session_id)
    assert (await shop.read(order))["status"] == "placed"
    await shop.session.execute(begun.values(tables=here))  # as where they were asked in the epoch that has begun since
    await shop.run(compare_with_provider)
    assert (await shop.read(order))["status"] == "paid"


async def test_the_provider_is_compared_with_at_once_and_back_to_before_the_copy(shop):
    await shop.run(compare_with_provider)
    began = select(Comparison.began_at, Comparison.since)
    shop.clock.advance(days=1, minutes=1)
    await shop.run(compare_with_provider)
    copied, _ = (await shop.session.execute(began)).one()
    shop.clock.advance(hours=1)
    await shop.run(compare_with_provider)
    assert (await shop.session.execute(began)).one()[0] == copied, "it is not due"
    await lose_history(shop)
    for step in ("noticed", "accepted"):
        shop.clock.advance(seconds=1)
        if step == "accepted":
            await accept(shop, "MC-2026-000001")
            shop.clock.advance(seconds=1)
        await shop.run(compare_with_provider)
        at, since = (await shop.session.execute(began)).one()
        assert at == shop.clock()
        assert since < copied - timedelta(days=1)
