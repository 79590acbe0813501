"""What payers are e-mailed and shown: of nothing that came, of money that is back, and on which day it came."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from shared.messaging.tables import QueuedEmail

from .disputes import dispute


async def emails(driver):
    return {one.kind: one.text for one in await driver.session.scalars(select(QueuedEmail))}


async def nothing_delivered(driver, order):
    payment = await driver.pay(await driver.open_session(order), amount=0)
    return payment["payment_id"]


@pytest.mark.parametrize("left", [False, True])
async def test_a_payment_of_nothing_that_was_delivered_is_no_longer_under_way(driver, left):
    order = await driver.order(await driver.sell())
    reference = await nothing_delivered(driver, order)
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["under_way"]
    if left:
        await driver.cancel(order)
    await driver.deliver(reference)
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["declined"]
    announced = (await emails(driver))["payment_of_nothing"]
    assert ("nothing was charged" in announced, "Open the order again" in announced) == (True, not left)


async def test_the_payer_is_emailed_that_withdrawn_money_is_back(driver):
    order, reference = await driver.buy(await driver.sell())
    for status in ("cancelled", "processed"):
        driver.clock.advance(hours=1)
        await driver.status(reference, status)
    announced = (await emails(driver))["payment_restored"]
    assert order["order_id"] in announced
    assert "£495.00" in announced


@pytest.mark.parametrize("paid_out", [True, False])
async def test_a_refund_that_cannot_be_sent_yet_is_not_called_on_its_way(driver, paid_out):
    order, reference = await driver.buy(await driver.sell())
    if paid_out:
        await driver.deliver(reference)
    await driver.refund(order)
    [announced] = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert (announced.subject == "Your refund is on its way") == paid_out
    assert ("once your payment has been paid out to us" in announced.text) != paid_out


async def test_nor_is_one_of_a_payment_that_is_disputed(driver):
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order), amount=10000))["payment_id"]
    await driver.deliver(reference)
    assert (await dispute(driver, order, payment_reference=reference)).status_code == 201
    await driver.cancel(order)
    [announced] = await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_requested"))
    assert announced.subject == "Your refund was requested"


async def test_the_day_on_a_receipt_is_londons(driver):
    driver.clock.at = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
    await driver.buy(await driver.sell())
    address = next(word for word in (await emails(driver))["payment_confirmed"].split() if "/receipts/" in word)
    async with driver.service.client() as client:
        page = (await client.get("/receipts/" + address.partition("/receipts/")[2])).text
    assert "1 July 2026" in page
