"""What is owed for a line follows from the money that is there, whatever became of an earlier refund of it."""

import pytest
from sqlalchemy import select

from payments.jobs import ask_about_payments, submit_refunds
from shared.events.payments import PaymentRestored, RefundRequested
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail


async def lose(shop, reference):
    shop.clock.advance(seconds=1)
    await shop.status(reference, "cancelled")


async def pay_again(shop, order):
    shop.clock.advance(seconds=1)
    payment = (await shop.pay(await shop.open_session(order)))["payment_id"]
    shop.sandbox.payment(payment)["plan"] = []
    return payment


async def come_back(shop, reference):
    shop.clock.advance(seconds=1)
    await shop.status(reference, "processed")
    await shop.deliver(reference)


async def pay_out(shop):
    for _ in range(4):
        await shop.run(submit_refunds)
        for _ in range(4):
            await shop.later(minutes=2)


def paid_back(shop):
    refunds = shop.sandbox.books.all("refund")
    return sorted((one["payment_id"], one["amount"]) for one in refunds if one["status"] == "finished")


async def receipt(shop, order):
    async with shop.learner() as client:
        return (await client.get(f"/v1/orders/{order['order_id']}/receipt")).json()


async def given_back_and_both_lost(shop):
    """Two lines; the first payment is lost, the second one too, and between them the second line was given back."""
    order, first = await shop.buy(await shop.sell(), await shop.sell(59500))
    await lose(shop, first)
    second = await pay_again(shop, order)
    assert (await shop.refund(order, 1)).status_code == 201
    await lose(shop, second)
    return order, first, second


async def test_a_line_given_back_is_owed_from_the_first_payment_where_that_one_returns(shop):
    order, first, _ = await given_back_and_both_lost(shop)
    await come_back(shop, first)
    assert await shop.balances() == {"cash": 109000, "sales": -49500, "refund_liability": -59500}
    assert (await receipt(shop, order))["total"]["amount_minor"] == 109000
    again = await shop.refund(order, 1)
    assert (again.status_code, again.json()["code"]) == (409, "refund_already_requested")
    await pay_out(shop)
    assert paid_back(shop) == [(first, 59500)]
    assert await shop.balances() == {"cash": 49500, "sales": -49500}
    shown = await shop.read(order)
    assert [(one["refund"] or {}).get("status") for one in shown["lines"]] == [None, "completed"]
    assert shown["status"] == "partly_refunded"


async def test_and_nothing_of_it_twice_where_the_second_one_returns_too(shop):
    order, first, second = await given_back_and_both_lost(shop)
    await come_back(shop, first)
    await come_back(shop, second)
    await pay_out(shop)
    assert paid_back(shop) == sorted([(first, 59500), (second, 109000)])
    assert await shop.balances() == {"cash": 49500, "sales": -49500}
    assert (await shop.read(order))["status"] == "partly_refunded"


async def test_where_the_second_one_returns_first_its_refund_goes_on(shop):
    _, first, second = await given_back_and_both_lost(shop)
    await come_back(shop, second)
    await come_back(shop, first)
    await pay_out(shop)
    assert paid_back(shop) == sorted([(first, 109000), (second, 59500)])
    assert await shop.balances() == {"cash": 49500, "sales": -49500}


async def test_a_line_that_a_payment_did_not_pay_for_is_not_given_back_of_it(shop):
    order, first = await shop.buy(await shop.sell(), await shop.sell(59500))
    await shop.refund(order, 1)
    await lose(shop, first)
    await pay_again(shop, order)
    refused = await shop.refund(order, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_already_requested")
    assert (await shop.refund(order, 0)).status_code == 201
    assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [59500, 49500]


@pytest.mark.parametrize("comes_back", ["first", "second"])
async def test_what_went_back_in_part_is_owed_less_that_part(shop, comes_back):
    order, first = await shop.buy(await shop.sell(), await shop.sell(59500))
    await lose(shop, first)
    second = await pay_again(shop, order)
    await shop.deliver(second)
    await shop.refund(order, 1)
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(second)
    refund["plan"], refund["amount"] = [], 40000
    shop.clock.advance(seconds=1)
    shop.sandbox.set_refund_status(refund, "finished")
    await shop.sandbox.run_due()
    shop.clock.advance(seconds=1)
    await shop.status(second, "reversed")
    assert (await shop.read(order))["lines"][1]["refund"]["status"] == "cancelled"
    assert await shop.balances() == {"cash": -40000, "losses": 40000}
    if comes_back == "first":
        await come_back(shop, first)
        assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [59500, 19500]
        return
    shop.sandbox.payment(second)["status"] = "delivered"
    shop.clock.advance(days=1)
    await shop.run(ask_about_payments)
    line = (await shop.read(order))["lines"][1]["refund"]
    assert line["status"] == "returned"
    assert await shop.balances() == {"cash": 69000, "sales": -49500, "refund_liability": -19500}


async def on_its_way_when_lost(shop):
    """A refund of the second payment is at the provider when that payment is lost, and the first one returns."""
    order, first = await shop.buy(await shop.sell(), await shop.sell(59500))
    await lose(shop, first)
    second = await pay_again(shop, order)
    await shop.deliver(second)
    await shop.refund(order, 1)
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(second)
    refund["plan"] = []
    shop.clock.advance(seconds=1)
    await shop.status(second, "reversed")
    await come_back(shop, first)
    return order, first, refund


async def become(shop, refund, status):
    shop.clock.advance(seconds=1)
    shop.sandbox.set_refund_status(refund, status)
    await shop.sandbox.run_due()


async def test_what_the_provider_did_not_pay_in_the_end_is_owed_from_the_other_payment(shop):
    order, first, refund = await on_its_way_when_lost(shop)
    assert await shop.balances() == {"cash": 109000, "sales": -49500, "unapplied": -59500} | {
        "losses": 59500,
        "refund_liability": -59500,
    }
    await become(shop, refund, "cancelled")
    assert await shop.balances() == {"cash": 109000, "sales": -49500, "refund_liability": -59500}
    await pay_out(shop)
    assert paid_back(shop) == [(first, 59500)]
    # And should the provider pay the cancelled one after all, it is a loss, and the refund stays as it is.
    shop.clock.advance(hours=2)
    await become(shop, refund, "finished")
    assert (await shop.read(order))["lines"][1]["refund"]["status"] == "completed"


async def test_of_lost_money_nobody_is_emailed_that_it_is_theirs_all_the_same(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    await pay_out(shop)
    [refund] = shop.sandbox.refunds(reference)
    shop.clock.advance(seconds=1)
    await shop.status(reference, "reversed")
    await become(shop, refund, "returned")
    kinds = (await shop.session.scalars(select(QueuedEmail.kind))).all()
    assert "payment_reversed" in kinds
    assert "refund_delayed" not in kinds


async def test_less_than_is_owed_of_lost_money_ends_it(shop):
    order, _, refund = await on_its_way_when_lost(shop)
    refund["amount"] = 40000
    await become(shop, refund, "finished")
    assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [59500, 19500]
    assert (await shop.read(order))["lines"][1]["refund"]["amount"]["amount_minor"] == 19500


async def test_finance_gives_back_what_was_lost_and_came_again(shop):
    """It is announced with who decided, for credentials held no credit while the money was there."""
    order, first = await shop.buy(await shop.sell())
    await lose(shop, first)
    await come_back(shop, first)
    line = order["lines"][0]["order_line_id"]
    by = new_id()
    async with shop.service.client("finance", id=by) as finance:
        path = f"/v1/orders/{order['order_id']}/lines/{line}/granted-refund"
        (await finance.post(path, json={"reason_code": "complaint"})).raise_for_status()
    [announced] = await shop.announced(RefundRequested)
    [came] = await shop.announced(PaymentRestored)
    assert (str(announced.order_line_id), announced.decided_by, announced.amount_minor) == (line, str(by), 49500)
    assert announced.requested_at >= came.restored_at
    await pay_out(shop)
    assert paid_back(shop) == [(first, 49500)]
