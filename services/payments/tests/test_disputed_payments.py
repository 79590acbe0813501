"""A dispute speaks of its own payment, whatever that was used for: its refunds wait, and no other payment is lost."""

import pytest

from payments.jobs import submit_refunds
from shared.events.payments import DisputeOpened, PaymentReversed

from .disputes import CASE, close, delivered, dispute, refused


async def paid_twice(driver):
    """An order that two payments paid, both paid out; the references."""
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    references = [(await driver.pay(session_id))["payment_id"]]
    driver.sandbox.session(session_id)["status"] = "open"  # paid in once more before it was closed
    references.append((await driver.pay(session_id))["payment_id"])
    for reference in references:
        await driver.deliver(reference)
    return order, references


async def paid_again(driver):
    """An order whose first payment the provider took back, and a second one came; the first one's reference."""
    order, first = await delivered(driver, await driver.sell())
    driver.clock.advance(hours=1)
    await driver.status(first, "reversed")
    second = (await driver.pay(await driver.open_session(order)))["payment_id"]
    await driver.deliver(second)
    return order, first


async def test_a_duplicate_that_is_charged_back_is_not_refunded_besides(driver):
    order, (first, duplicate) = await paid_twice(driver)
    case = await dispute(driver, order, payment_reference=duplicate)
    assert (case.status_code, case.json()["payment_reference"]) == (201, duplicate)
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(duplicate) == []
    assert (await close(driver, case.json()["dispute_id"], "lost")).json()["payment_reference"] == duplicate
    await driver.later(hours=1)
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(duplicate) == driver.sandbox.refunds(first) == []
    shown = await driver.read(order)
    states = {one["reference"]: one["status"] for one in shown["payments"]}
    assert (shown["status"], states) == ("paid", {first: "paid_out", duplicate: "lost"})
    assert [one["status"] for one in shown["returned"]] == ["cancelled"]
    assert await driver.announced(PaymentReversed) == []
    assert await driver.balances() == {"cash": 49500, "sales": -49500}


async def test_while_a_duplicate_is_disputed_the_order_is_given_back_as_ever(driver):
    order, (first, duplicate) = await paid_twice(driver)
    assert (await dispute(driver, order, payment_reference=duplicate)).status_code == 201
    assert (await driver.refund(order)).status_code == 201
    await driver.run(submit_refunds)
    assert (len(driver.sandbox.refunds(first)), driver.sandbox.refunds(duplicate)) == (1, [])


async def test_too_little_that_is_charged_back_is_not_returned_besides(driver):
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order), amount=10000))["payment_id"]
    await driver.deliver(reference)
    case = await dispute(driver, order, payment_reference=reference)
    assert case.status_code == 201
    await driver.cancel(order)
    await driver.run(submit_refunds)
    assert driver.sandbox.refunds(reference) == []
    await close(driver, case.json()["dispute_id"], "won")
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_what_the_bank_decides_of_a_payment_that_another_replaced_changes_nothing(driver, outcome):
    order, first = await paid_again(driver)
    case = await dispute(driver, order, payment_reference=first)
    assert case.status_code == 201
    assert (await driver.announced(DisputeOpened))[0].payment_id == (await driver.announced(PaymentReversed))[
        0
    ].payment_id
    before = await driver.balances()
    assert (await close(driver, case.json()["dispute_id"], outcome)).status_code == 200
    assert (await driver.read(order))["status"] == "paid"
    assert [one["status"] for one in (await driver.read(order))["payments"]] == ["lost", "paid_out"]
    assert await driver.balances() == before
    assert len(await driver.announced(PaymentReversed)) == 1


async def test_a_dispute_of_one_payment_leaves_the_others_refunds_alone(driver):
    order, (first, duplicate) = await paid_twice(driver)
    assert (await dispute(driver, order)).json()["payment_reference"] == first
    refused(await driver.refund(order), 409, "order_in_dispute")
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(duplicate)) == 1


async def test_only_money_that_came_for_the_order_is_disputed(driver):
    order = await driver.order(await driver.sell())
    dead = await driver.pay(await driver.open_session(order), first_name="SANDBOX_TO_CANCEL_STATUS")
    await driver.status(dead["payment_id"], "cancelled")
    _, others = await driver.buy(await driver.sell())
    refused(await dispute(driver, order, payment_reference=dead["payment_id"]), 409, "payment_not_received")
    refused(await dispute(driver, order, payment_reference=others), 404, "not_found")
    async with driver.service.client("learner", "finance", id=driver.learner_id) as own:
        body = {"order_id": order["order_id"], "payment_reference": others, **CASE}
        refused(await own.post("/v1/disputes", json=body), 403, "own_order")
