"""A dispute speaks of its own payment, whatever that was used for: its refunds wait, and no other payment is lost."""

import pytest

from payments.jobs import submit_refunds
from shared.events.payments import DisputeOpened, PaymentReversed

from .disputes import CASE, close, delivered, dispute, refused


async def paid_twice(shop):
    """An order that two payments paid, both paid out; the references."""
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    references = [(await shop.pay(session_id))["payment_id"]]
    shop.sandbox.session(session_id)["status"] = "open"  # paid in once more before it was closed
    references.append((await shop.pay(session_id))["payment_id"])
    for reference in references:
        await shop.deliver(reference)
    return order, references


async def paid_again(shop):
    """An order whose first payment the provider took back, and a second one came; the first one's reference."""
    order, first = await delivered(shop, await shop.sell())
    shop.clock.advance(hours=1)
    await shop.status(first, "reversed")
    second = (await shop.pay(await shop.open_session(order)))["payment_id"]
    await shop.deliver(second)
    return order, first


async def test_a_duplicate_that_is_charged_back_is_not_refunded_besides(shop):
    order, (first, duplicate) = await paid_twice(shop)
    case = await dispute(shop, order, payment_reference=duplicate)
    assert (case.status_code, case.json()["payment_reference"]) == (201, duplicate)
    await shop.run(submit_refunds)
    assert shop.sandbox.refunds(duplicate) == []
    assert (await close(shop, case.json()["dispute_id"], "lost")).json()["payment_reference"] == duplicate
    await shop.later(hours=1)
    await shop.run(submit_refunds)
    assert shop.sandbox.refunds(duplicate) == shop.sandbox.refunds(first) == []
    shown = await shop.read(order)
    assert (shown["status"], [one["status"] for one in shown["payments"]]) == ("paid", ["paid_out", "lost"])
    assert [one["status"] for one in shown["returned"]] == ["cancelled"]
    assert await shop.announced(PaymentReversed) == []
    assert await shop.balances() == {"cash": 49500, "sales": -49500}


async def test_while_a_duplicate_is_disputed_the_order_is_given_back_as_ever(shop):
    order, (first, duplicate) = await paid_twice(shop)
    assert (await dispute(shop, order, payment_reference=duplicate)).status_code == 201
    assert (await shop.refund(order)).status_code == 201
    await shop.run(submit_refunds)
    assert (len(shop.sandbox.refunds(first)), shop.sandbox.refunds(duplicate)) == (1, [])


async def test_too_little_that_is_charged_back_is_not_returned_besides(shop):
    order = await shop.order(await shop.sell())
    reference = (await shop.pay(await shop.open_session(order), amount=10000))["payment_id"]
    await shop.deliver(reference)
    case = await dispute(shop, order, payment_reference=reference)
    assert case.status_code == 201
    await shop.cancel(order)
    await shop.run(submit_refunds)
    assert shop.sandbox.refunds(reference) == []
    await close(shop, case.json()["dispute_id"], "won")
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_what_the_bank_decides_of_a_payment_that_another_replaced_changes_nothing(shop, outcome):
    order, first = await paid_again(shop)
    case = await dispute(shop, order, payment_reference=first)
    assert case.status_code == 201
    assert (await shop.announced(DisputeOpened))[0].payment_id == (await shop.announced(PaymentReversed))[0].payment_id
    before = await shop.balances()
    assert (await close(shop, case.json()["dispute_id"], outcome)).status_code == 200
    assert (await shop.read(order))["status"] == "paid"
    assert [one["status"] for one in (await shop.read(order))["payments"]] == ["lost", "paid_out"]
    assert await shop.balances() == before
    assert len(await shop.announced(PaymentReversed)) == 1


async def test_a_dispute_of_one_payment_leaves_the_others_refunds_alone(shop):
    order, (first, duplicate) = await paid_twice(shop)
    assert (await dispute(shop, order)).json()["payment_reference"] == first
    refused(await shop.refund(order), 409, "order_in_dispute")
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(duplicate)) == 1


async def test_only_money_that_came_for_the_order_is_disputed(shop):
    order = await shop.order(await shop.sell())
    dead = await shop.pay(await shop.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    await shop.status(dead["payment_id"], "cancelled")
    _, others = await shop.buy(await shop.sell())
    refused(await dispute(shop, order, payment_reference=dead["payment_id"]), 409, "payment_not_received")
    refused(await dispute(shop, order, payment_reference=others), 404, "not_found")
    async with shop.service.client("learner", "finance", id=shop.learner_id) as own:
        body = {"order_id": order["order_id"], "payment_reference": others, **CASE}
        refused(await own.post("/v1/disputes", json=body), 403, "own_order")
