"""A payer who asks their bank for the money back: what waits, and what follows from the bank's answer."""

import asyncio

import pytest
from sqlalchemy import text

from payments.jobs import ask_about_payments, submit_refunds
from shared.events.payments import (
    DisputeClosed,
    DisputeOpened,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    RefundRequested,
)
from shared.ids import new_id

from .disputes import CASE, close, delivered, dispute, refused


async def test_f6_a_dispute_is_announced_and_stands_in_the_list_until_it_is_closed(driver):
    order, _ = await delivered(driver, await driver.sell())
    answer = await dispute(driver, order)
    assert answer.status_code == 201
    [opened] = await driver.announced(DisputeOpened)
    assert (str(opened.order_id), opened.learner_id, opened.reason_code) == (
        order["order_id"],
        driver.learner_id,
        "not_recognised",
    )
    assert (await driver.read(order))["status"] == "paid"
    async with driver.service.client("finance") as finance:
        [waiting] = (await finance.get("/v1/disputes", params={"open": True})).json()["items"]
        assert (waiting["dispute_id"], waiting["outcome"]) == (answer.json()["dispute_id"], None)
        assert (await close(driver, waiting["dispute_id"], "won")).json()["outcome"] == "won"
        assert (await finance.get("/v1/disputes", params={"open": True})).json()["items"] == []
        assert len((await finance.get("/v1/disputes")).json()["items"]) == 1
    [closed] = await driver.announced(DisputeClosed)
    assert closed.outcome == "won"
    assert await driver.announced(PaymentReversed) == []
    assert (await driver.read(order))["status"] == "paid"


async def test_a_lost_dispute_takes_the_money_and_the_books_balance(driver):
    order, _ = await delivered(driver, await driver.sell())
    case = (await dispute(driver, order)).json()
    assert (await close(driver, case["dispute_id"], "lost")).status_code == 200
    [reversed_] = await driver.announced(PaymentReversed)
    assert (str(reversed_.order_id), reversed_.reason_code) == (order["order_id"], "chargeback")
    assert (await driver.read(order))["status"] == "reversed"
    rows = await driver.session.execute(
        text(
            "select account, sum(amount_minor)::int from ledger_entries group by account having sum(amount_minor) <> 0"
        )
    )
    assert rows.all() == []
    # The provider reports no chargeback: asked, it says what it said before, and nothing comes back by that.
    driver.clock.advance(days=2)
    await driver.run(ask_about_payments)
    assert await driver.announced(PaymentRestored) == []
    assert len(await driver.announced(PaymentConfirmed)) == 1


async def test_while_a_payment_is_disputed_none_of_it_is_given_back(driver):
    order, _ = await delivered(driver, await driver.sell(), await driver.sell(title="Strategy"))
    assert (await driver.refund(order, 0)).status_code == 201
    case = (await dispute(driver, order)).json()
    refused(await driver.refund(order, 1), 409, "order_in_dispute")
    await driver.run(submit_refunds)
    assert [line["refund"] and line["refund"]["status"] for line in (await driver.read(order))["lines"]] == [
        "requested",
        None,
    ]
    await close(driver, case["dispute_id"], "withdrawn")
    await driver.run(submit_refunds)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "submitted"
    assert (await driver.refund(order, 1)).status_code == 201


async def test_money_lost_in_a_dispute_is_not_refunded_besides(driver):
    order, _ = await delivered(driver, await driver.sell())
    await driver.refund(order)
    case = (await dispute(driver, order)).json()
    await close(driver, case["dispute_id"], "lost")
    await driver.run(submit_refunds)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "cancelled"
    assert len(await driver.announced(RefundRequested)) == 1


async def test_what_the_provider_took_back_meanwhile_is_not_lost_twice(driver):
    order, reference = await delivered(driver, await driver.sell())
    case = (await dispute(driver, order)).json()
    driver.clock.advance(days=1)
    await driver.status(reference, "reversed")
    await close(driver, case["dispute_id"], "lost")
    assert len(await driver.announced(PaymentReversed)) == 1


async def test_only_what_was_paid_is_disputed_once_at_a_time_for_a_known_reason(driver):
    unpaid = await driver.order(await driver.sell())
    refused(await dispute(driver, unpaid), 409, "order_not_paid")
    refused(await dispute(driver, {"order_id": str(new_id())}), 404, "not_found")
    order, _ = await driver.buy(await driver.sell(title="Strategy"))
    known = refused(await dispute(driver, order, reason_code="spite"), 422, "unknown_dispute_reason")["reason_codes"]
    assert "not_recognised" in known
    first = (await dispute(driver, order)).json()
    refused(await dispute(driver, order), 409, "dispute_already_open")
    refused(await close(driver, first["dispute_id"], "drawn"), 422, "invalid_request")
    await close(driver, first["dispute_id"], "won")
    refused(await close(driver, first["dispute_id"], "lost"), 409, "dispute_already_closed")
    assert (await dispute(driver, order)).status_code == 201
    refused(await close(driver, new_id(), "won"), 404, "not_found")


@pytest.mark.parametrize("rounds", [5])
async def test_two_people_at_once_enter_a_dispute_once_and_close_it_once(live_driver, rounds):
    driver = live_driver
    order, _ = await driver.buy(await driver.sell())
    for _ in range(rounds):
        answers = await asyncio.gather(*(dispute(driver, order) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        dispute_id = next(answer.json()["dispute_id"] for answer in answers if answer.status_code == 201)
        answers = await asyncio.gather(*(close(driver, dispute_id, outcome) for outcome in ("won", "withdrawn")))
        assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_finance_decides_nothing_about_an_order_of_their_own(driver):
    order, _ = await delivered(driver, await driver.sell())
    async with driver.service.client("learner", "finance", id=driver.learner_id) as own:
        refused(await own.post("/v1/disputes", json={"order_id": order["order_id"], **CASE}), 403, "own_order")
        case = (await dispute(driver, order)).json()
        closing = f"/v1/disputes/{case['dispute_id']}/closing"
        refused(await own.post(closing, json={"outcome": "won"}), 403, "own_order")
        refused(await own.post(f"/v1/orders/{order['order_id']}/refunds/{new_id()}/retry"), 403, "own_order")
    assert (await close(driver, case["dispute_id"], "won")).status_code == 200
