"""What is owed for a line follows from the money that is there, whatever became of an earlier refund of it."""

import pytest
from sqlalchemy import select

from payments.jobs import ask_about_payments, submit_refunds
from shared.events.payments import PaymentRestored, RefundRequested
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail


async def lose(driver, reference):
    driver.clock.advance(seconds=1)
    await driver.status(reference, "cancelled")


async def pay_again(driver, order):
    driver.clock.advance(seconds=1)
    payment = (await driver.pay(await driver.open_session(order)))["payment_id"]
    driver.sandbox.payment(payment)["plan"] = []
    return payment


async def come_back(driver, reference):
    driver.clock.advance(seconds=1)
    await driver.status(reference, "processed")
    await driver.deliver(reference)


async def pay_out(driver):
    for _ in range(4):
        await driver.run(submit_refunds)
        for _ in range(4):
            await driver.later(minutes=2)


def paid_back(driver):
    refunds = driver.sandbox.books.all("refund")
    return sorted((one["payment_id"], one["amount"]) for one in refunds if one["status"] == "finished")


async def receipt(driver, order):
    async with driver.learner() as client:
        return (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()


async def given_back_and_both_lost(driver):
    """Two lines; the first payment is lost, the second one too, and between them the second line was given back."""
    order, first = await driver.buy(await driver.sell(), await driver.sell(59500))
    await lose(driver, first)
    second = await pay_again(driver, order)
    assert (await driver.refund(order, 1)).status_code == 201
    await lose(driver, second)
    return order, first, second


async def test_a_line_given_back_is_owed_from_the_first_payment_where_that_one_returns(driver):
    order, first, _ = await given_back_and_both_lost(driver)
    await come_back(driver, first)
    assert await driver.balances() == {"cash": 109000, "sales": -49500, "refund_liability": -59500}
    assert (await receipt(driver, order))["total"]["amount_minor"] == 109000
    again = await driver.refund(order, 1)
    assert (again.status_code, again.json()["code"]) == (409, "refund_already_requested")
    await pay_out(driver)
    assert paid_back(driver) == [(first, 59500)]
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    shown = await driver.read(order)
    assert [(one["refund"] or {}).get("status") for one in shown["lines"]] == [None, "completed"]
    assert shown["status"] == "partly_refunded"


async def test_and_nothing_of_it_twice_where_the_second_one_returns_too(driver):
    order, first, second = await given_back_and_both_lost(driver)
    await come_back(driver, first)
    await come_back(driver, second)
    await pay_out(driver)
    assert paid_back(driver) == sorted([(first, 59500), (second, 109000)])
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    assert (await driver.read(order))["status"] == "partly_refunded"


async def test_where_the_second_one_returns_first_its_refund_goes_on(driver):
    _, first, second = await given_back_and_both_lost(driver)
    await come_back(driver, second)
    await come_back(driver, first)
    await pay_out(driver)
    assert paid_back(driver) == sorted([(first, 109000), (second, 59500)])
    assert await driver.balances() == {"cash": 49500, "sales": -49500}


async def test_a_line_that_a_payment_did_not_pay_for_is_not_given_back_of_it(driver):
    order, first = await driver.buy(await driver.sell(), await driver.sell(59500))
    await driver.refund(order, 1)
    await lose(driver, first)
    await pay_again(driver, order)
    refused = await driver.refund(order, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_already_requested")
    assert (await driver.refund(order, 0)).status_code == 201
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [59500, 49500]


@pytest.mark.parametrize("comes_back", ["first", "second"])
async def test_what_went_back_in_part_is_owed_less_that_part(driver, comes_back):
    order, first = await driver.buy(await driver.sell(), await driver.sell(59500))
    await lose(driver, first)
    second = await pay_again(driver, order)
    await driver.deliver(second)
    await driver.refund(order, 1)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(second)
    refund["plan"], refund["amount"] = [], 40000
    driver.clock.advance(seconds=1)
    driver.sandbox.set_refund_status(refund, "finished")
    await driver.sandbox.run_due()
    driver.clock.advance(seconds=1)
    await driver.status(second, "reversed")
    assert (await driver.read(order))["lines"][1]["refund"]["status"] == "cancelled"
    assert await driver.balances() == {"cash": -40000, "losses": 40000}
    if comes_back == "first":
        await come_back(driver, first)
        assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [59500, 19500]
        return
    driver.sandbox.payment(second)["status"] = "delivered"
    driver.clock.advance(days=1)
    await driver.run(ask_about_payments)
    line = (await driver.read(order))["lines"][1]["refund"]
    assert line["status"] == "returned"
    assert await driver.balances() == {"cash": 69000, "sales": -49500, "refund_liability": -19500}


async def on_its_way_when_lost(driver):
    """A refund of the second payment is at the provider when that payment is lost, and the first one returns."""
    order, first = await driver.buy(await driver.sell(), await driver.sell(59500))
    await lose(driver, first)
    second = await pay_again(driver, order)
    await driver.deliver(second)
    await driver.refund(order, 1)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(second)
    refund["plan"] = []
    driver.clock.advance(seconds=1)
    await driver.status(second, "reversed")
    await come_back(driver, first)
    return order, first, refund


async def become(driver, refund, status):
    driver.clock.advance(seconds=1)
    driver.sandbox.set_refund_status(refund, status)
    await driver.sandbox.run_due()


async def test_what_the_provider_did_not_pay_in_the_end_is_owed_from_the_other_payment(driver):
    order, first, refund = await on_its_way_when_lost(driver)
    assert await driver.balances() == {"cash": 109000, "sales": -49500, "unapplied": -59500} | {
        "losses": 59500,
        "refund_liability": -59500,
    }
    await become(driver, refund, "cancelled")
    assert await driver.balances() == {"cash": 109000, "sales": -49500, "refund_liability": -59500}
    await pay_out(driver)
    assert paid_back(driver) == [(first, 59500)]
    # And should the provider pay the cancelled one after all, it is a loss, and the refund stays as it is.
    driver.clock.advance(hours=2)
    await become(driver, refund, "finished")
    assert (await driver.read(order))["lines"][1]["refund"]["status"] == "completed"


async def test_of_lost_money_nobody_is_emailed_that_it_is_theirs_all_the_same(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await pay_out(driver)
    [refund] = driver.sandbox.refunds(reference)
    driver.clock.advance(seconds=1)
    await driver.status(reference, "reversed")
    await become(driver, refund, "returned")
    kinds = (await driver.session.scalars(select(QueuedEmail.kind))).all()
    assert "payment_reversed" in kinds
    assert "refund_delayed" not in kinds


async def test_less_than_is_owed_of_lost_money_ends_it(driver):
    order, _, refund = await on_its_way_when_lost(driver)
    refund["amount"] = 40000
    await become(driver, refund, "finished")
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [59500, 19500]
    assert (await driver.read(order))["lines"][1]["refund"]["amount"]["amount_minor"] == 19500


async def test_finance_gives_back_what_was_lost_and_came_again(driver):
    """It is announced with who decided, for credentials held no credit while the money was there."""
    order, first = await driver.buy(await driver.sell())
    await lose(driver, first)
    await come_back(driver, first)
    line = order["lines"][0]["order_line_id"]
    by = new_id()
    async with driver.service.client("finance", id=by) as finance:
        path = f"/v1/orders/{order['order_id']}/lines/{line}/granted-refund"
        (await finance.post(path, json={"reason_code": "complaint"})).raise_for_status()
    [announced] = await driver.announced(RefundRequested)
    [came] = await driver.announced(PaymentRestored)
    assert (str(announced.order_line_id), announced.decided_by, announced.amount_minor) == (line, str(by), 49500)
    assert announced.requested_at >= came.restored_at
    await pay_out(driver)
    assert paid_back(driver) == [(first, 49500)]
