"""A bank transfer takes days: what it is to pay is not sold twice, and one that is never made is no dead end."""

from payments.jobs import expire_orders, submit_refunds
from shared.events.payments import OrderExpired

from .orders import order_anew, transfer


async def test_what_a_transfer_is_to_pay_is_not_sold_again_while_it_is_under_way(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    reference = await transfer(driver, order)
    await driver.later(days=3)
    await driver.run(expire_orders)
    assert (await driver.read(order))["status"] == "placed"
    assert await driver.announced(OrderExpired) == []
    refused = await order_anew(driver, course_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_ordered")
    assert (await driver.checkout(order)).json()["code"] == "payment_under_way"
    await driver.status(reference, "guaranteed")
    assert (await driver.read(order))["status"] == "paid"


async def test_where_it_dies_the_order_expires(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    reference = await transfer(driver, order)
    await driver.later(days=3)
    await driver.status(reference, "cancelled")
    await driver.run(expire_orders)
    assert (await driver.read(order))["status"] == "expired"
    assert (await order_anew(driver, course_id)).status_code == 201


async def test_the_learner_may_leave_an_order_whose_transfer_is_never_made(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    await transfer(driver, order)
    await driver.later(days=3)
    assert (await driver.cancel(order)).json()["status"] == "cancelled"
    assert (await order_anew(driver, course_id)).status_code == 201


async def test_a_repayment_by_a_transfer_that_is_never_made_is_paid_by_card(driver):
    order, first = await driver.buy(await driver.sell())
    driver.clock.advance(seconds=1)
    await driver.status(first, "cancelled")
    abandoned = await transfer(driver, order)
    driver.clock.advance(days=5)
    refused = (await driver.checkout(order)).json()
    assert refused["code"] == "payment_under_way"
    assert "pay_beside_payment_under_way" in refused["detail"]
    by_card = (await driver.pay(await driver.open_session(order, pay_beside_payment_under_way=True)))["payment_id"]
    assert (await driver.read(order))["status"] == "paid"
    await driver.status(abandoned, "guaranteed")  # and then it was made after all
    await driver.deliver(by_card)
    driver.clock.advance(seconds=1)
    await driver.status(abandoned, "delivered")
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.books.all("refund")
    assert (refund["payment_id"], refund["amount"]) == (abandoned, 49500)


async def test_until_when_an_underpaid_order_can_be_paid(driver):
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order), amount=100)
    driver.clock.advance(days=3)
    assert (await driver.read(order))["expires_at"] > driver.clock().isoformat()
    assert (await driver.checkout(order)).status_code == 201
