"""A bank transfer takes days: what it is to pay is not sold twice, and one that is never made is no dead end."""

from payments.jobs import expire_orders, submit_refunds
from shared.events.payments import OrderExpired

from .orders import order_anew, transfer


async def test_what_a_transfer_is_to_pay_is_not_sold_again_while_it_is_under_way(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    reference = await transfer(shop, order)
    await shop.later(days=3)
    await shop.run(expire_orders)
    assert (await shop.read(order))["status"] == "placed"
    assert await shop.announced(OrderExpired) == []
    refused = await order_anew(shop, course_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_ordered")
    assert (await shop.checkout(order)).json()["code"] == "payment_under_way"
    await shop.status(reference, "guaranteed")
    assert (await shop.read(order))["status"] == "paid"


async def test_where_it_dies_the_order_expires(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    reference = await transfer(shop, order)
    await shop.later(days=3)
    await shop.status(reference, "cancelled")
    await shop.run(expire_orders)
    assert (await shop.read(order))["status"] == "expired"
    assert (await order_anew(shop, course_id)).status_code == 201


async def test_the_learner_may_leave_an_order_whose_transfer_is_never_made(shop):
    course_id = await shop.sell()
    order = await shop.order(course_id)
    await transfer(shop, order)
    await shop.later(days=3)
    assert (await shop.cancel(order)).json()["status"] == "cancelled"
    assert (await order_anew(shop, course_id)).status_code == 201


async def test_a_repayment_by_a_transfer_that_is_never_made_is_paid_by_card(shop):
    order, first = await shop.buy(await shop.sell())
    shop.clock.advance(seconds=1)
    await shop.status(first, "cancelled")
    abandoned = await transfer(shop, order)
    shop.clock.advance(days=5)
    refused = (await shop.checkout(order)).json()
    assert refused["code"] == "payment_under_way"
    assert "pay_beside_payment_under_way" in refused["detail"]
    by_card = (await shop.pay(await shop.open_session(order, pay_beside_payment_under_way=True)))["payment_id"]
    assert (await shop.read(order))["status"] == "paid"
    await shop.status(abandoned, "guaranteed")  # and then it was made after all
    await shop.deliver(by_card)
    shop.clock.advance(seconds=1)
    await shop.status(abandoned, "delivered")
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.books.all("refund")
    assert (refund["payment_id"], refund["amount"]) == (abandoned, 49500)


async def test_until_when_an_underpaid_order_can_be_paid(shop):
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order), amount=100)
    shop.clock.advance(days=3)
    assert (await shop.read(order))["expires_at"] > shop.clock().isoformat()
    assert (await shop.checkout(order)).status_code == 201
