"""What may have happened between the decision to pay a line back and the call that does it."""

import asyncio

import pytest

from payments.jobs import submit_refunds


async def submitting(shop):
    """A refund whose creation timed out without effect; its order and the payment's reference."""
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": False}
    (await shop.control.post("/control/failures", json=failure)).raise_for_status()
    await shop.run(submit_refunds)
    assert await status_of(shop, order) == "submitting"
    return order, reference


async def status_of(shop, order):
    return (await shop.read(order))["lines"][0]["refund"]["status"]


async def dispute(shop, order):
    async with shop.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "other", "case_reference": "CB-1"}
        answer = await finance.post("/v1/disputes", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["dispute_id"]


async def close(shop, dispute_id, outcome):
    async with shop.service.client("finance") as finance:
        answer = await finance.post(f"/v1/disputes/{dispute_id}/closing", json={"outcome": outcome})
    assert answer.status_code == 200, answer.text


async def rounds(shop, times=4):
    for _ in range(times):
        await shop.later(minutes=2)
        await shop.run(submit_refunds)


async def test_what_the_bank_may_take_is_not_paid_back_though_it_was_being_sent(shop):
    order, reference = await submitting(shop)
    claim = await dispute(shop, order)
    await rounds(shop)
    assert shop.sandbox.refunds(reference) == []
    assert await status_of(shop, order) == "requested"
    await close(shop, claim, "won")
    await rounds(shop)
    assert len(shop.sandbox.refunds(reference)) == 1


async def test_what_the_bank_has_taken_is_not_paid_back_though_it_was_being_sent(shop):
    order, reference = await submitting(shop)
    await close(shop, await dispute(shop, order), "lost")
    await rounds(shop)
    assert shop.sandbox.refunds(reference) == []
    assert await status_of(shop, order) == "cancelled"
    assert await shop.balances() == {}


@pytest.mark.parametrize("outcome", [None, "lost"])
async def test_a_dispute_entered_just_before_the_call_holds_it_up(shop, monkeypatch, outcome):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    fetch = shop.provider.fetch_payment

    async def meanwhile(asked):
        fact = await fetch(asked)
        claim = await dispute(shop, order)
        if outcome:
            await close(shop, claim, outcome)
        return fact

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "fetch_payment", meanwhile)
        await shop.run(submit_refunds)
    await rounds(shop)
    assert shop.sandbox.refunds(reference) == []
    assert await status_of(shop, order) == ("cancelled" if outcome else "requested")


async def test_a_replica_that_stood_still_before_the_call_does_not_send_beside_another(live_shop, monkeypatch):
    shop = live_shop
    order, reference = await shop.buy(await shop.sell(), await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    create, stands, go_on = shop.provider.create_refund, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments):
        if not stands.is_set():
            stands.set()
            await go_on.wait()
        return await create(*arguments)

    monkeypatch.setattr(shop.provider, "create_refund", slowly)
    first = asyncio.create_task(shop.run(submit_refunds))
    await stands.wait()
    shop.clock.advance(seconds=61)
    await shop.run(submit_refunds)
    for _ in range(4):
        await shop.later(seconds=1)
    go_on.set()
    await first
    assert len(shop.sandbox.refunds(reference)) == 1
