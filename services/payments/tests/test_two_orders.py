"""A late payment pays an order that had ended, while another one of the same course is open or paid: nothing is sold or
promised twice."""

from sqlalchemy import select

from payments.jobs import close_checkouts, expire_orders, submit_refunds
from payments.tables import CheckoutAttempt
from shared.events.payments import OrderCancelled, PaymentConfirmed, RefundRequested
from shared.messaging.tables import QueuedEmail

from .orders import order_anew, transfer


async def expired(driver, *course_ids):
    """An order that expired when its transfer died; and the payment's reference."""
    order = await driver.order(*course_ids)
    reference = await transfer(driver, order)
    await driver.later(days=3)
    await driver.status(reference, "cancelled")
    await driver.run(expire_orders)
    assert (await driver.read(order))["status"] == "expired"
    return order, reference


async def come_late(driver, reference):
    for status in ("processed", "guaranteed"):
        driver.clock.advance(seconds=1)
        await driver.status(reference, status)


async def emails(driver, kind):
    found = await driver.session.scalars(
        select(QueuedEmail.text).where(QueuedEmail.kind == kind).order_by(QueuedEmail.email_id)
    )
    return found.all()


async def test_the_open_order_of_the_same_course_is_left_and_its_page_closed(driver):
    course_id = await driver.sell()
    first, reference = await expired(driver, course_id)
    second = (await order_anew(driver, course_id)).json()
    session_id = await driver.open_session(second)
    await come_late(driver, reference)
    assert (await driver.read(first))["status"] == "paid"
    assert (await driver.read(second))["status"] == "cancelled"
    assert [str(one.order_id) for one in await driver.announced(OrderCancelled)] == [second["order_id"]]
    await driver.run(close_checkouts)
    assert await driver.session.scalar(select(CheckoutAttempt.status).where(CheckoutAttempt.status == "closed"))
    assert (await driver.checkout(second)).json()["code"] == "order_not_payable"
    driver.sandbox.session(session_id)["status"] = "open"  # it was paid in before it was closed
    payment = (await driver.pay(session_id))["payment_id"]
    await driver.deliver(payment)
    assert len(await driver.announced(PaymentConfirmed)) == 1
    [back] = await driver.announced(RefundRequested)
    assert (back.reason_code, back.amount_minor) == ("already_bought", 49500)
    assert "You have bought this already." in (await emails(driver, "refund_requested"))[0]
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(payment)) == 1


async def test_an_order_is_over_by_its_time_and_not_only_when_the_job_says_so(driver):
    course_id = await driver.sell()
    first = await driver.order(course_id)
    reference = await transfer(driver, first)
    await driver.later(days=3)
    await driver.status(reference, "cancelled")
    second = (await order_anew(driver, course_id)).json()
    assert second["status"] == "placed"
    await come_late(driver, reference)
    assert (await driver.read(first))["status"] == "paid"
    assert (await driver.read(second))["status"] == "cancelled"


async def test_what_else_the_open_order_was_of_is_in_the_basket_again(driver):
    both, other = await driver.sell(), await driver.sell(title="Strategy")
    _, reference = await expired(driver, both)
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{other}")
    second = (await order_anew(driver, both)).json()
    assert len(second["lines"]) == 2
    await come_late(driver, reference)
    assert (await driver.read(second))["status"] == "cancelled"
    async with driver.learner() as client:
        assert [one["course_id"] for one in (await client.get("/v1/basket")).json()["items"]] == [str(other)]
        assert (await client.post("/v1/orders")).status_code == 201


async def test_what_was_bought_meanwhile_is_neither_promised_nor_kept(driver):
    twice, other = await driver.sell(title="Twice"), await driver.sell(title="Other")
    first, reference = await expired(driver, twice, other)
    await driver.pay(await driver.open_session((await order_anew(driver, twice)).json()))
    await come_late(driver, reference)
    assert (await driver.read(first))["status"] == "paid"
    confirmed = (await driver.announced(PaymentConfirmed))[-1]
    assert [str(line.course_id) for line in confirmed.lines] == [str(other)]
    [back] = await driver.announced(RefundRequested)
    assert (str(back.course_id), back.amount_minor, back.reason_code) == (str(twice), 49500, "already_bought")
    promised, _, goes_back = (await emails(driver, "payment_confirmed"))[-1].partition("goes back")
    assert ("Other" in promised, "Twice" in promised, "Twice" in goes_back) == (True, False, True)
    await driver.deliver(reference)
    await driver.run(submit_refunds)
    assert [one["amount"] for one in driver.sandbox.refunds(reference)] == [49500]


async def test_an_order_whose_money_is_back_leaves_the_open_one_too(driver):
    course_id = await driver.sell()
    first, reference = await driver.buy(course_id)
    driver.clock.advance(seconds=1)
    await driver.status(reference, "cancelled")
    await driver.later(days=16)
    second = (await order_anew(driver, course_id)).json()
    assert second["status"] == "placed"
    await come_late(driver, reference)
    assert (await driver.read(first))["status"] == "paid"
    assert (await driver.read(second))["status"] == "cancelled"
