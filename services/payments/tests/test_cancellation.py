"""An order the learner leaves: nothing more is sold by it, and no money stays here."""

import asyncio

from sqlalchemy import select

from payments.jobs import close_checkouts, expire_orders, submit_refunds
from payments.tables import CheckoutAttempt
from shared.events.payments import OrderCancelled, OrderExpired, PaymentConfirmed, RefundCompleted, RefundRequested


async def test_a_cancelled_order_is_announced_once_and_its_pay_page_closed(shop):
    order = await shop.order(await shop.sell())
    await shop.open_session(order)
    first, again = await shop.cancel(order), await shop.cancel(order)
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert again.json() == first.json()
    (announced,) = await shop.announced(OrderCancelled)
    assert (str(announced.order_id), announced.learner_id) == (order["order_id"], shop.learner_id)
    await shop.run(close_checkouts)
    assert (await shop.session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
    refused = await shop.checkout(order)
    assert (refused.status_code, refused.json()["code"], refused.json()["order_status"]) == (
        409, "order_not_payable", "cancelled",
    )  # fmt: skip
    assert (await shop.cancel(order, "another")).json()["code"] == "order_not_payable"
    shop.clock.advance(hours=25)
    await shop.run(expire_orders)
    assert await shop.announced(OrderExpired) == []


async def test_its_courses_may_be_ordered_again(shop):
    course_id = await shop.sell()
    await shop.cancel(await shop.order(course_id))
    order, _ = await shop.buy(course_id)
    assert (await shop.read(order))["status"] == "paid"


async def test_money_that_still_arrives_goes_back_though_the_course_is_on_sale(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await shop.control.put("/control/callbacks", json={"mode": "hold"})
    await shop.pay(session_id)
    await shop.cancel(order)
    await shop.control.put("/control/callbacks", json={"mode": "deliver"})
    await shop.control.post("/control/callbacks/release")
    await shop.sandbox.run_due()
    assert await shop.announced(PaymentConfirmed) == []
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.order_line_id, refund.reason_code) == (49500, None, "late_payment")
    assert (await shop.read(order))["status"] == "cancelled"
    for _ in range(6):
        await shop.later(hours=2)
        await shop.run(submit_refunds)
    assert len(await shop.announced(RefundCompleted)) == 1


async def test_what_was_paid_too_little_goes_back_at_once(shop):
    order = await shop.order(await shop.sell(), await shop.sell())
    await shop.pay(await shop.open_session(order), amount=49500)
    assert (await shop.read(order))["status"] == "underpaid"
    assert (await shop.cancel(order)).json()["status"] == "cancelled"
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")


async def test_what_is_paid_or_expired_cannot_be_cancelled(shop):
    paid, _ = await shop.buy(await shop.sell())
    refused = await shop.cancel(paid)
    assert (refused.status_code, refused.json()["code"], refused.json()["order_status"]) == (
        409, "order_not_payable", "paid",
    )  # fmt: skip
    late = await shop.order(await shop.sell())
    shop.clock.advance(hours=25)
    refused = await shop.cancel(late, "late")
    assert (refused.status_code, refused.json()["code"]) == (409, "order_expired")
    assert await shop.announced(OrderCancelled) == []


async def test_payment_and_cancellation_at_once_end_as_one_or_the_other(live_shop):
    shop = live_shop
    for number in range(8):
        order = await shop.order(await shop.sell())
        session_id = await shop.open_session(order)
        await asyncio.gather(shop.pay(session_id), shop.cancel(order, f"leave {number}"))
        confirmed = {str(event.order_id) for event in await shop.announced(PaymentConfirmed)}
        returned = {str(event.order_id) for event in await shop.announced(RefundRequested)}
        status = (await shop.read(order))["status"]
        assert (status, order["order_id"] in confirmed, order["order_id"] in returned) in (
            ("paid", True, False),
            ("cancelled", False, True),
        )


async def test_a_session_opened_for_an_order_that_was_left_meanwhile_is_closed(live_shop, monkeypatch):
    """The attempt was not open yet when the order ended, so it is closed when it opens."""
    shop = live_shop
    order = await shop.order(await shop.sell())
    create = type(shop.provider).create_checkout

    async def slowly(self, *given):
        made = await create(self, *given)
        assert (await shop.cancel(order)).json()["status"] == "cancelled"
        return made

    monkeypatch.setattr(type(shop.provider), "create_checkout", slowly)
    refused = await shop.checkout(order)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_payable")
    await shop.run(close_checkouts)
    async with shop.service.process.database.transaction() as session:
        assert (await session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
