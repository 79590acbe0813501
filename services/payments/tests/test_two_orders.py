"""A late payment pays an order that had ended, while another one of the same course is open or paid: nothing is sold or
promised twice."""

from sqlalchemy import select

from payments.jobs import close_checkouts, expire_orders, submit_refunds
from payments.tables import CheckoutAttempt
from shared.events.payments import OrderCancelled, PaymentConfirmed, RefundRequested
from shared.messaging.tables import QueuedEmail

from .orders import order_anew, transfer


async def expired(shop, *course_ids):
    """An order that expired when its transfer died; and the payment's reference."""
    order = await shop.order(*course_ids)
    reference = await transfer(shop, order)
    await shop.later(days=3)
    await shop.status(reference, "cancelled")
    await shop.run(expire_orders)
    assert (await shop.read(order))["status"] == "expired"
    return order, reference


async def come_late(shop, reference):
    for status in ("processed", "guaranteed"):
        shop.clock.advance(seconds=1)
        await shop.status(reference, status)


async def emails(shop, kind):
    found = await shop.session.scalars(
        select(QueuedEmail.text).where(QueuedEmail.kind == kind).order_by(QueuedEmail.email_id)
    )
    return found.all()


async def test_the_open_order_of_the_same_course_is_left_and_its_page_closed(shop):
    course_id = await shop.sell()
    first, reference = await expired(shop, course_id)
    second = (await order_anew(shop, course_id)).json()
    session_id = await shop.open_session(second)
    await come_late(shop, reference)
    assert (await shop.read(first))["status"] == "paid"
    assert (await shop.read(second))["status"] == "cancelled"
    assert [str(one.order_id) for one in await shop.announced(OrderCancelled)] == [second["order_id"]]
    await shop.run(close_checkouts)
    assert await shop.session.scalar(select(CheckoutAttempt.status).where(CheckoutAttempt.status == "closed"))
    assert (await shop.checkout(second)).json()["code"] == "order_not_payable"
    shop.sandbox.session(session_id)["status"] = "open"  # it was paid in before it was closed
    payment = (await shop.pay(session_id))["payment_id"]
    await shop.deliver(payment)
    assert len(await shop.announced(PaymentConfirmed)) == 1
    [back] = await shop.announced(RefundRequested)
    assert (back.reason_code, back.amount_minor) == ("already_bought", 49500)
    assert "You have bought this already." in (await emails(shop, "refund_requested"))[0]
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(payment)) == 1


async def test_an_order_is_over_by_its_time_and_not_only_when_the_job_says_so(shop):
    course_id = await shop.sell()
    first = await shop.order(course_id)
    reference = await transfer(shop, first)
    await shop.later(days=3)
    await shop.status(reference, "cancelled")
    second = (await order_anew(shop, course_id)).json()
    assert second["status"] == "placed"
    await come_late(shop, reference)
    assert (await shop.read(first))["status"] == "paid"
    assert (await shop.read(second))["status"] == "cancelled"


async def test_what_else_the_open_order_was_of_is_in_the_basket_again(shop):
    both, other = await shop.sell(), await shop.sell(title="Strategy")
    _, reference = await expired(shop, both)
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{other}")
    second = (await order_anew(shop, both)).json()
    assert len(second["lines"]) == 2
    await come_late(shop, reference)
    assert (await shop.read(second))["status"] == "cancelled"
    async with shop.learner() as client:
        assert [one["course_id"] for one in (await client.get("/v1/basket")).json()["items"]] == [str(other)]
        assert (await client.post("/v1/orders")).status_code == 201


async def test_what_was_bought_meanwhile_is_neither_promised_nor_kept(shop):
    twice, other = await shop.sell(title="Twice"), await shop.sell(title="Other")
    first, reference = await expired(shop, twice, other)
    await shop.pay(await shop.open_session((await order_anew(shop, twice)).json()))
    await come_late(shop, reference)
    assert (await shop.read(first))["status"] == "paid"
    confirmed = (await shop.announced(PaymentConfirmed))[-1]
    assert [str(line.course_id) for line in confirmed.lines] == [str(other)]
    [back] = await shop.announced(RefundRequested)
    assert (str(back.course_id), back.amount_minor, back.reason_code) == (str(twice), 49500, "already_bought")
    promised, _, goes_back = (await emails(shop, "payment_confirmed"))[-1].partition("goes back")
    assert ("Other" in promised, "Twice" in promised, "Twice" in goes_back) == (True, False, True)
    await shop.deliver(reference)
    await shop.run(submit_refunds)
    assert [one["amount"] for one in shop.sandbox.refunds(reference)] == [49500]


async def test_an_order_whose_money_is_back_leaves_the_open_one_too(shop):
    course_id = await shop.sell()
    first, reference = await shop.buy(course_id)
    shop.clock.advance(seconds=1)
    await shop.status(reference, "cancelled")
    await shop.later(days=16)
    second = (await order_anew(shop, course_id)).json()
    assert second["status"] == "placed"
    await come_late(shop, reference)
    assert (await shop.read(first))["status"] == "paid"
    assert (await shop.read(second))["status"] == "cancelled"
