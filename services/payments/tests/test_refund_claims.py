"""What may have happened between the decision to pay a line back and the call that does it."""

import asyncio

import pytest

from payments.jobs import submit_refunds


async def submitting(driver):
    """A refund that the provider was too busy to take; its order and the payment's reference."""
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    failure = {"operation": "create_refund", "times": 1, "seconds": 0, "takes_effect": False, "status": 429}
    (await driver.control.post("/control/failures", json=failure)).raise_for_status()
    await driver.run(submit_refunds)
    assert await status_of(driver, order) == "submitting"
    return order, reference


async def status_of(driver, order):
    return (await driver.read(order))["lines"][0]["refund"]["status"]


async def dispute(driver, order):
    async with driver.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "other", "case_reference": "CB-1"}
        answer = await finance.post("/v1/disputes", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["dispute_id"]


async def close(driver, dispute_id, outcome):
    async with driver.service.client("finance") as finance:
        answer = await finance.post(f"/v1/disputes/{dispute_id}/closing", json={"outcome": outcome})
    assert answer.status_code == 200, answer.text


async def rounds(driver, times=4):
    for _ in range(times):
        await driver.later(minutes=2)
        await driver.run(submit_refunds)


async def test_what_the_bank_may_take_is_not_paid_back_though_it_was_being_sent(driver):
    order, reference = await submitting(driver)
    claim = await dispute(driver, order)
    await rounds(driver)
    assert driver.sandbox.refunds(reference) == []
    assert await status_of(driver, order) == "requested"
    await close(driver, claim, "won")
    await rounds(driver)
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_what_the_bank_has_taken_is_not_paid_back_though_it_was_being_sent(driver):
    order, reference = await submitting(driver)
    await close(driver, await dispute(driver, order), "lost")
    await rounds(driver)
    assert driver.sandbox.refunds(reference) == []
    assert await status_of(driver, order) == "cancelled"
    assert await driver.balances() == {}


@pytest.mark.parametrize("outcome", [None, "lost"])
async def test_a_dispute_entered_just_before_the_call_holds_it_up(driver, monkeypatch, outcome):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    fetch = driver.provider.fetch_payment

    async def meanwhile(asked):
        fact = await fetch(asked)
        claim = await dispute(driver, order)
        if outcome:
            await close(driver, claim, outcome)
        return fact

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "fetch_payment", meanwhile)
        await driver.run(submit_refunds)
    await rounds(driver)
    assert driver.sandbox.refunds(reference) == []
    assert await status_of(driver, order) == ("cancelled" if outcome else "requested")


async def test_a_replica_that_stood_still_before_the_call_does_not_send_beside_another(live_driver, monkeypatch):
    driver = live_driver
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    create, stands, go_on = driver.provider.create_refund, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments):
        if not stands.is_set():
            stands.set()
            await go_on.wait()
        return await create(*arguments)

    monkeypatch.setattr(driver.provider, "create_refund", slowly)
    first = asyncio.create_task(driver.run(submit_refunds))
    await stands.wait()
    driver.clock.advance(seconds=61)
    await driver.run(submit_refunds)
    for _ in range(4):
        await driver.later(seconds=1)
    go_on.set()
    await first
    assert len(driver.sandbox.refunds(reference)) == 1
