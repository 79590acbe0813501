"""A refund is paid when all that is owed was paid, in the currency in which it is owed."""

import json

import pytest
from sqlalchemy import select

from payments.commands.emails import WHY
from payments.domain.refunds import Reason
from payments.jobs import follow_refunds, submit_refunds
from shared.events.payments import RefundCompleted
from shared.messaging.tables import QueuedEmail


@pytest.fixture
async def sent(driver):
    """A refund under way; its order and the provider's record of it."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    return order, refund


async def say(driver, refund, status, **changes):
    driver.clock.advance(seconds=1)
    names = ("refund_id", "payment_id", "amount", "currency", "external_reference")
    data = {name: refund[name] for name in names} | {"status": status} | changes
    event = {"event_type": status, "event_date": driver.clock().isoformat(), "event_resource": "refunds", "data": data}
    answer = await driver.callback(json.dumps(event).encode())
    assert answer.status_code == 200, answer.text
    return answer.json()["outcome"]


async def status_of(driver, order):
    return (await driver.read(order))["lines"][0]["refund"]["status"]


@pytest.mark.parametrize(
    ("changes", "paid"),
    [({"amount": 40000}, 40000), ({"amount": 0}, 0), ({"currency": "EUR"}, 0)],
    ids=["less", "nothing", "another currency"],
)
async def test_what_was_not_paid_in_full_is_owed_still_and_finance_sees_it(driver, sent, changes, paid):
    order, refund = sent
    assert await say(driver, refund, "finished", **changes) == "applied"
    assert await status_of(driver, order) == "returned"
    assert await driver.announced(RefundCompleted) == []
    wanted = {"cash": 49500 - paid, "refund_liability": paid - 49500}
    assert await driver.balances() == {account: amount for account, amount in wanted.items() if amount}
    seen = (await driver.unmatched())["refunded_too_little"]
    assert (seen.amount_minor, seen.currency, str(seen.order_id)) == (
        changes.get("amount", 49500),
        changes.get("currency", "GBP"),
        order["order_id"],
    )


async def test_the_same_word_with_the_whole_amount_completes_it(driver, sent):
    order, refund = sent
    await say(driver, refund, "finished", amount=40000)
    assert await say(driver, refund, "finished") == "applied"
    assert await status_of(driver, order) == "completed"
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await driver.balances() == {}
    assert await say(driver, refund, "finished") == "known"


async def test_that_it_was_paid_is_announced_again_after_it_was_sent_back(driver, sent):
    _, refund = sent
    for status in ("finished", "returned", "received", "finished", "finished"):
        await say(driver, refund, status)
    announced = (await driver.session.scalars(select(QueuedEmail).where(QueuedEmail.kind == "refund_finished"))).all()
    assert len(announced) == 2
    assert all(WHY[Reason.COOLING_OFF] in email.text for email in announced)


def test_every_reason_is_given_in_a_sentence():
    assert set(WHY) == set(Reason)


async def send_again(driver, order, **who):
    refund = (await driver.read(order))["lines"][0]["refund"]
    async with driver.service.client("finance", **who) as finance:
        return await finance.post(f"/v1/orders/{order['order_id']}/refunds/{refund['refund_id']}/retry")


async def pay_in_part(driver, refund, amount):
    """It ends at the provider with less than was asked for."""
    refund["plan"], refund["amount"] = [], amount
    driver.clock.advance(seconds=1)
    driver.sandbox.set_refund_status(refund, "finished")
    await driver.sandbox.run_due()


async def test_finance_has_the_rest_of_a_refund_sent_and_no_more(driver, sent):
    order, refund = sent
    await pay_in_part(driver, refund, 40000)
    assert (await send_again(driver, order)).status_code == 200
    for _ in range(2):
        await driver.run(submit_refunds, follow_refunds)
        await driver.later(minutes=3)
    made = driver.sandbox.refunds(refund["payment_id"])
    assert [(one["status"], one["amount"]) for one in made] == [("finished", 40000), ("finished", 9500)]
    assert await status_of(driver, order) == "completed"
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await driver.balances() == {}
    assert "refunded_twice" not in await driver.unmatched()
    assert (await send_again(driver, order)).status_code == 409


async def test_a_rest_that_is_paid_in_part_again_is_sent_again(driver, sent):
    order, refund = sent
    await pay_in_part(driver, refund, 40000)
    await send_again(driver, order)
    await driver.run(submit_refunds)
    assert await status_of(driver, order) == "submitted"
    assert (await send_again(driver, order)).status_code == 409  # it is under way
    [_, rest] = driver.sandbox.refunds(refund["payment_id"])
    await pay_in_part(driver, rest, 500)
    assert await status_of(driver, order) == "returned"
    await send_again(driver, order)
    await driver.run(submit_refunds)
    assert [one["amount"] for one in driver.sandbox.refunds(refund["payment_id"])] == [40000, 500, 9000]


async def test_what_the_provider_may_still_pay_is_not_sent_beside(driver, sent):
    order, refund = sent
    await say(driver, refund, "finished")
    await say(driver, refund, "returned")
    refused = await send_again(driver, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_not_failed")


async def test_a_rest_of_which_a_part_was_paid_in_another_currency_is_not_sent(driver, sent):
    order, refund = sent
    await say(driver, refund, "finished", currency="EUR")
    assert (await send_again(driver, order)).status_code == 409


async def test_nobody_sends_the_rest_of_their_own_refund(driver, sent):
    order, refund = sent
    await pay_in_part(driver, refund, 40000)
    refused = await send_again(driver, order, id=driver.learner_id)
    assert (refused.status_code, refused.json()["code"]) == (403, "own_order")


async def test_a_rest_whose_answer_was_lost_is_sent_once(driver, sent):
    order, refund = sent
    await pay_in_part(driver, refund, 40000)
    await send_again(driver, order)
    await driver.control.post(
        "/control/failures", json={"operation": "create_refund", "seconds": 0, "takes_effect": True}
    )
    for _ in range(4):
        await driver.run(submit_refunds, follow_refunds)
        await driver.later(minutes=3)
    assert [one["amount"] for one in driver.sandbox.refunds(refund["payment_id"])] == [40000, 9500]
    assert await status_of(driver, order) == "completed"
