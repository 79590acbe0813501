"""An order the learner leaves: nothing more is sold by it, and no money stays here."""

import asyncio

from sqlalchemy import select

from payments.jobs import close_checkouts, expire_orders, submit_refunds
from payments.tables import CheckoutAttempt
from shared.events.payments import OrderCancelled, OrderExpired, PaymentConfirmed, RefundCompleted, RefundRequested


async def test_a_cancelled_order_is_announced_once_and_its_pay_page_closed(driver):
    order = await driver.order(await driver.sell())
    await driver.open_session(order)
    first, again = await driver.cancel(order), await driver.cancel(order)
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert again.json() == first.json()
    (announced,) = await driver.announced(OrderCancelled)
    assert (str(announced.order_id), announced.learner_id) == (order["order_id"], driver.learner_id)
    await driver.run(close_checkouts)
    assert (await driver.session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
    refused = await driver.checkout(order)
    assert (refused.status_code, refused.json()["code"], refused.json()["order_status"]) == (
        409, "order_not_payable", "cancelled",
    )  # fmt: skip
    assert (await driver.cancel(order, "another")).json()["code"] == "order_not_payable"
    driver.clock.advance(hours=25)
    await driver.run(expire_orders)
    assert await driver.announced(OrderExpired) == []


async def test_its_courses_may_be_ordered_again(driver):
    course_id = await driver.sell()
    await driver.cancel(await driver.order(course_id))
    order, _ = await driver.buy(course_id)
    assert (await driver.read(order))["status"] == "paid"


async def test_money_that_still_arrives_goes_back_though_the_course_is_on_sale(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.control.put("/control/callbacks", json={"mode": "hold"})
    await driver.pay(session_id)
    await driver.cancel(order)
    await driver.control.put("/control/callbacks", json={"mode": "deliver"})
    await driver.control.post("/control/callbacks/release")
    await driver.sandbox.run_due()
    assert await driver.announced(PaymentConfirmed) == []
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "late_payment")
    assert (await driver.read(order))["status"] == "cancelled"
    for _ in range(6):
        await driver.later(hours=2)
        await driver.run(submit_refunds)
    assert len(await driver.announced(RefundCompleted)) == 1


async def test_what_was_paid_too_little_goes_back_at_once(driver):
    order = await driver.order(await driver.sell(), await driver.sell())
    await driver.pay(await driver.open_session(order), amount=49500)
    assert (await driver.read(order))["status"] == "underpaid"
    assert (await driver.cancel(order)).json()["status"] == "cancelled"
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")


async def test_what_is_paid_or_expired_cannot_be_cancelled(driver):
    paid, _ = await driver.buy(await driver.sell())
    refused = await driver.cancel(paid)
    assert (refused.status_code, refused.json()["code"], refused.json()["order_status"]) == (
        409, "order_not_payable", "paid",
    )  # fmt: skip
    late = await driver.order(await driver.sell())
    driver.clock.advance(hours=25)
    refused = await driver.cancel(late, "late")
    assert (refused.status_code, refused.json()["code"]) == (409, "order_expired")
    assert await driver.announced(OrderCancelled) == []


async def test_payment_and_cancellation_at_once_end_as_one_or_the_other(live_driver):
    driver = live_driver
    for number in range(8):
        order = await driver.order(await driver.sell())
        session_id = await driver.open_session(order)
        await asyncio.gather(driver.pay(session_id), driver.cancel(order, f"leave {number}"))
        confirmed = {str(event.order_id) for event in await driver.announced(PaymentConfirmed)}
        returned = {str(event.order_id) for event in await driver.announced(RefundRequested)}
        status = (await driver.read(order))["status"]
        assert (status, order["order_id"] in confirmed, order["order_id"] in returned) in (
            ("paid", True, False),
            ("cancelled", False, True),
        )


async def test_a_session_opened_for_an_order_that_was_left_meanwhile_is_closed(live_driver, monkeypatch):
    """The attempt was not open yet when the order ended, so it is closed when it opens."""
    driver = live_driver
    order = await driver.order(await driver.sell())
    create = type(driver.provider).create_checkout

    async def slowly(self, *given):
        made = await create(self, *given)
        assert (await driver.cancel(order)).json()["status"] == "cancelled"
        return made

    monkeypatch.setattr(type(driver.provider), "create_checkout", slowly)
    refused = await driver.checkout(order)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_payable")
    await driver.run(close_checkouts)
    async with driver.service.process.database.transaction() as session:
        assert (await session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
