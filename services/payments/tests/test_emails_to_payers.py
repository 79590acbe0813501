"""What payers are e-mailed and shown: of nothing that came, of money that is back, and on which day it came."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from shared.messaging.tables import QueuedEmail

from .disputes import dispute


async def emails(shop):
    return {one.kind: one.text for one in await shop.session.scalars(select(QueuedEmail))}


async def nothing_delivered(shop, order):
    payment = await shop.pay(await shop.open_session(order), amount=0)
    return payment["payment_id"]


@pytest.mark.parametrize("left", [False, True])
async def test_a_payment_of_nothing_that_was_delivered_is_no_longer_under_way(shop, left):
    order = await shop.order(await shop.sell())
    reference = await nothing_delivered(shop, order)
    assert [one["status"] for one in (await shop.read(order))["payments"]] == ["under_way"]
    if left:
        await shop.cancel(order)
    await shop.deliver(reference)
    assert [one["status"] for one in (await shop.read(order))["payments"]] == ["declined"]
    announced = (await emails(shop))["payment_of_nothing"]
    assert ("nothing was charged" in announced, "Open the order again" in announced) == (True, not left)


async def test_the_payer_is_emailed_that_withdrawn_money_is_back(shop):
    order, reference = await shop.buy(await shop.sell())
    for status in ("cancelled", "processed"):
        shop.clock.advance(hours=1)
        await shop.status(reference, status)
    announced = (await emails(shop))["payment_restored"]
    assert order["order_id"] in announced
    assert "£495.00" in announced


@pytest.mark.parametrize("paid_out", [True, False])
async def test_a_refund_that_cannot_be_sent_yet_is_not_called_on_its_way(shop, paid_out):
    order, reference = await shop.buy(await shop.sell())
    if paid_out:
        await shop.deliver(reference)
    await shop.refund(order)
    [announced] = await shop.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert (announced.subject == "Your refund is on its way") == paid_out
    assert ("once your payment has been paid out to us" in announced.text) != paid_out


async def test_nor_is_one_of_a_payment_that_is_disputed(shop):
    order = await shop.order(await shop.sell())
    reference = (await shop.pay(await shop.open_session(order), amount=10000))["payment_id"]
    await shop.deliver(reference)
    assert (await dispute(shop, order, payment_reference=reference)).status_code == 201
    await shop.cancel(order)
    [announced] = await shop.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert announced.subject == "Your refund was requested"


async def test_the_day_on_a_receipt_is_londons(shop):
    shop.clock.at = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
    await shop.buy(await shop.sell())
    address = next(word for word in (await emails(shop))["payment_confirmed"].split() if "/receipts/" in word)
    async with shop.service.client() as client:
        page = (await client.get("/receipts/" + address.partition("/receipts/")[2])).text
    assert "1 July 2026" in page
