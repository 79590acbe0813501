"""A refund is paid when all that is owed was paid, in the currency in which it is owed."""

import json

import pytest
from sqlalchemy import select

from payments.commands.letters import WHY
from payments.domain.refunds import Reason
from payments.jobs import submit_refunds
from shared.events.payments import RefundCompleted
from shared.messaging.tables import Letter


@pytest.fixture
async def sent(shop):
    """A refund under way; its order and the provider's record of it."""
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(reference)
    return order, refund


async def say(shop, refund, status, **changes):
    shop.clock.advance(seconds=1)
    names = ("refund_id", "payment_id", "amount", "currency", "external_reference")
    data = {name: refund[name] for name in names} | {"status": status} | changes
    event = {"event_type": status, "event_date": shop.clock().isoformat(), "event_resource": "refunds", "data": data}
    answer = await shop.callback(json.dumps(event).encode())
    assert answer.status_code == 200, answer.text
    return answer.json()["outcome"]


async def status_of(shop, order):
    return (await shop.read(order))["lines"][0]["refund"]["status"]


@pytest.mark.parametrize(
    ("changes", "paid"),
    [({"amount": 40000}, 40000), ({"amount": 0}, 0), ({"currency": "EUR"}, 0)],
    ids=["less", "nothing", "another currency"],
)
async def test_what_was_not_paid_in_full_is_owed_still_and_finance_sees_it(shop, sent, changes, paid):
    order, refund = sent
    assert await say(shop, refund, "finished", **changes) == "applied"
    assert await status_of(shop, order) == "returned"
    assert await shop.told(RefundCompleted) == []
    wanted = {"cash": 49500 - paid, "refund_liability": paid - 49500}
    assert await shop.balances() == {account: amount for account, amount in wanted.items() if amount}
    seen = (await shop.parked())["refunded_too_little"]
    assert (seen.amount_minor, seen.currency, str(seen.order_id)) == (
        changes.get("amount", 49500),
        changes.get("currency", "GBP"),
        order["order_id"],
    )


async def test_the_same_word_with_the_whole_amount_completes_it(shop, sent):
    order, refund = sent
    await say(shop, refund, "finished", amount=40000)
    assert await say(shop, refund, "finished") == "applied"
    assert await status_of(shop, order) == "completed"
    assert len(await shop.told(RefundCompleted)) == 1
    assert await shop.balances() == {}
    assert await say(shop, refund, "finished") == "known"


async def test_that_it_was_paid_is_told_again_after_it_was_sent_back(shop, sent):
    _, refund = sent
    for status in ("finished", "returned", "received", "finished", "finished"):
        await say(shop, refund, status)
    told = (await shop.session.scalars(select(Letter).where(Letter.kind == "refund_finished"))).all()
    assert len(told) == 2
    assert all(WHY[Reason.COOLING_OFF] in letter.text for letter in told)


def test_every_reason_is_told_in_a_sentence():
    assert set(WHY) == set(Reason)
