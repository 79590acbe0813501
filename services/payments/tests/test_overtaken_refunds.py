"""Refunds whose answers are overtaken, whose words change, or that two replicas send at once: a line goes back once."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from payments.domain.refunds import ProviderRefundStatus
from payments.jobs import follow_refunds, submit_refunds
from payments.tables import Refund
from shared.events.payments import RefundCompleted, RefundFailed


@pytest.fixture
async def bought(driver):
    """A paid and delivered order of two lines, the first of which is to go back; and the payment's reference."""
    order, reference = await driver.buy(await driver.sell(), await driver.sell())
    await driver.deliver(reference)
    await driver.refund(order)
    return order, reference


async def status_of(driver, order, line=0):
    return (await driver.read(order))["lines"][line]["refund"]["status"]


async def move(driver, refund, status):
    driver.clock.advance(seconds=1)
    path = f"/control/refunds/{refund['refund_id']}/status"
    (await driver.control.post(path, json={"status": status})).raise_for_status()
    await driver.sandbox.run_due()


async def retry(driver, order, line=0):
    refund = (await driver.read(order))["lines"][line]["refund"]
    async with driver.service.client("finance") as finance:
        return await finance.post(f"/v1/orders/{order['order_id']}/refunds/{refund['refund_id']}/retry")


def overtaken(driver, monkeypatch, method, *statuses):
    """Let the provider go on, and report that, while this answer of its is under way."""
    ask = getattr(driver.provider, method)

    async def slowly(*arguments):
        answer = await ask(*arguments)
        for refund in driver.sandbox.books.all("refund"):
            for status in statuses:
                await move(driver, refund, status)
        return answer

    monkeypatch.setattr(driver.provider, method, slowly)


async def test_where_an_answer_contradicts_what_was_reported_it_is_asked_for_again_within_minutes(
    driver, bought, monkeypatch
):
    """And then less and less often, until it is believed."""
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(bought[1])
    refund["plan"] = []
    await move(driver, refund, "finished")
    fetch, asked = driver.provider.fetch_refund, []

    async def behind(wanted):
        asked.append(driver.clock())
        return replace(await fetch(wanted), status=ProviderRefundStatus.RECEIVED)

    monkeypatch.setattr(driver.provider, "fetch_refund", behind)
    announced = driver.clock()
    driver.sandbox.set_refund_status({**refund}, "received")  # a callback of the same second has it asked about
    await driver.sandbox.run_due()
    for _ in range(50):
        await driver.run(follow_refunds)
        driver.clock.advance(minutes=1)
    pauses = [round((at - announced).total_seconds() / 60) for at in asked]
    assert pauses == [0, 2, 5, 15], pauses


@pytest.mark.parametrize("method", ["create_refund", "fetch_refund"])
async def test_a_stale_answer_does_not_undo_what_a_callback_reported(driver, bought, monkeypatch, method):
    order, reference = bought
    if method == "fetch_refund":
        await driver.run(submit_refunds)
        await driver.control.put("/control/callbacks", json={"mode": "deliver"})
        [refund] = driver.sandbox.refunds(reference)
        refund["plan"] = []
        driver.clock.advance(minutes=3)
    with monkeypatch.context() as patch:
        overtaken(driver, patch, method, "received", "finished")
        await driver.run(submit_refunds, follow_refunds)
    assert await status_of(driver, order) == "completed"
    assert await driver.balances() == {"cash": 49500, "sales": -49500}
    for _ in range(3):
        await driver.later(hours=2)
        await driver.run(submit_refunds, follow_refunds)
    assert await status_of(driver, order) == "completed"
    assert await driver.announced(RefundFailed) == []
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_a_refusal_that_was_overtaken_fails_nothing(driver, bought, monkeypatch):
    order, reference = bought
    create = driver.provider.create_refund

    async def twice(*arguments):
        await create(*arguments)  # another replica's, in the meantime
        for status in ("received", "finished"):
            await move(driver, driver.sandbox.refunds(reference)[0], status)
        driver.sandbox.payment(reference)["status"] = "processed"  # so that the second is refused
        try:
            return await create(*arguments)
        finally:
            driver.sandbox.payment(reference)["status"] = "delivered"

    with monkeypatch.context() as patch:
        patch.setattr(driver.provider, "create_refund", twice)
        await driver.run(submit_refunds)
    assert await status_of(driver, order) == "completed"
    assert await driver.announced(RefundFailed) == []


async def test_a_copy_of_the_provider_that_lags_behind_undoes_nothing(driver, bought, monkeypatch):
    order, reference = bought
    await driver.run(submit_refunds)
    [refund] = driver.sandbox.refunds(reference)
    refund["plan"] = []
    await move(driver, refund, "finished")
    # A callback of the same second, received afterwards, has it asked about; the copy still says `received`.
    at = driver.clock()
    driver.clock.at = at
    driver.sandbox.set_refund_status({**refund}, "received")
    await driver.sandbox.run_due()
    await driver.run(follow_refunds)
    assert await status_of(driver, order) == "completed"
    driver.sandbox.books.put("refund", refund["refund_id"], {**refund, "status": "finished"})
    await driver.later(hours=2)
    await driver.run(follow_refunds)
    assert await status_of(driver, order) == "completed"
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await driver.balances() == {"cash": 49500, "sales": -49500}


async def test_a_refund_that_comes_back_is_never_paid_beside_another(driver, bought):
    order, reference = bought
    await driver.run(submit_refunds)
    [first] = driver.sandbox.refunds(reference)
    first["plan"] = []
    for status in ("received", "finished"):
        await move(driver, first, status)
    driver.clock.advance(days=2)
    await move(driver, first, "returned")
    assert (await retry(driver, order)).json()["code"] == "refund_not_failed"
    await driver.later(days=2)
    await driver.run(submit_refunds, follow_refunds)
    for status in ("received", "finished"):
        await move(driver, first, status)
    assert await status_of(driver, order) == "completed"
    assert [one["status"] for one in driver.sandbox.refunds(reference)] == ["finished"]
    assert await driver.balances() == {"cash": 49500, "sales": -49500}


async def test_while_one_refund_is_open_again_the_other_line_is_paid_back_all_the_same(driver, bought):
    order, reference = bought
    await driver.run(submit_refunds)
    [first] = driver.sandbox.refunds(reference)
    first["plan"] = []
    for status in ("received", "finished"):
        await move(driver, first, status)
    await driver.refund(order, line=1)
    await driver.run(submit_refunds)
    second = driver.sandbox.refunds(reference)[1]
    second["plan"] = []
    await move(driver, first, "returned")
    await move(driver, first, "received")  # two under way at once, at the provider's own will
    await move(driver, second, "received")
    for refund in (second, first):
        await move(driver, refund, "finished")
    assert [await status_of(driver, order, line) for line in (0, 1)] == ["completed", "completed"]
    assert await driver.balances() == {}


async def test_a_retry_looks_at_the_provider_before_it_sends(driver, bought, monkeypatch):
    """Refused as far as we knew; and yet it was made."""
    order, reference = bought
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    refund = await driver.session.scalar(select(Refund))
    refund.status, refund.failure_code = "failed", "provider_refused"
    await driver.session.flush()
    driver.sandbox.create_refund(reference, 49500, str(refund.refund_id), "")
    assert (await retry(driver, order)).status_code == 200
    await driver.run(submit_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1
    for _ in range(3):
        await driver.later(hours=2)
        await driver.run(submit_refunds, follow_refunds)
    assert await status_of(driver, order) == "completed"
    assert len(driver.sandbox.refunds(reference)) == 1


async def test_should_a_line_be_paid_back_twice_after_all_the_books_and_finance_know(driver, bought):
    """Whatever the provider does: its books are ours, and a person sees order, payment and amount."""
    order, reference = bought
    await driver.run(submit_refunds)
    [first] = driver.sandbox.refunds(reference)
    first["plan"] = []
    await move(driver, first, "cancelled")
    assert await status_of(driver, order) == "failed"
    await retry(driver, order)
    await driver.run(submit_refunds)
    for _ in range(2):
        await driver.later(seconds=1)
    assert await status_of(driver, order) == "completed"
    for status in ("received", "finished"):  # against its own rules
        driver.clock.advance(hours=2)
        driver.sandbox.set_refund_status(first, status)
        await driver.sandbox.run_due()
        await driver.run(follow_refunds)
    assert sum(one["amount"] for one in driver.sandbox.refunds(reference) if one["status"] == "finished") == 99000
    assert await driver.balances() == {"losses": 49500, "sales": -49500}
    row = (await driver.unmatched())["paid_out_too_much"]
    assert (str(row.order_id), row.amount_minor, row.currency) == (order["order_id"], 49500, "GBP")


async def test_a_refund_reported_in_a_word_we_do_not_know_is_no_refusal(driver, bought, monkeypatch):
    order, reference = bought
    create = driver.sandbox.create_refund

    def pending(*arguments):
        refund = create(*arguments)
        refund["plan"] = []
        driver.sandbox.set_refund_status(refund, "pending")
        return refund

    with monkeypatch.context() as patch:
        patch.setattr(driver.sandbox, "create_refund", pending)
        await driver.control.put("/control/callbacks", json={"mode": "drop"})
        await driver.run(submit_refunds)
    assert await status_of(driver, order) == "submitted"
    assert (await driver.unmatched())["unknown_status"].provider_status == "pending"
    await driver.later(hours=1)
    await driver.run(submit_refunds, follow_refunds)
    assert len(driver.sandbox.refunds(reference)) == 1
    await move(driver, driver.sandbox.refunds(reference)[0], "finished")
    await driver.later(hours=2)
    await driver.run(follow_refunds)
    assert await status_of(driver, order) == "completed"


async def test_refunds_that_a_dispute_holds_up_hold_up_no_others(driver):
    order = await driver.order(await driver.sell())
    sessions = [await driver.open_session(order, payer={"email": f"{n}@example.org"}) for n in range(2)]
    references = [(await driver.pay(session_id))["payment_id"] for session_id in sessions]
    for reference in references:
        await driver.deliver(reference)
    async with driver.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "not_recognised", "case_reference": "CB-17"}
        case = (await finance.post("/v1/disputes", json=body | {"payment_reference": references[-1]})).json()
        other, reference = await driver.buy(await driver.sell())
        await driver.deliver(reference)
        await driver.refund(other)
        async with asyncio.timeout(30):
            await driver.run(submit_refunds)
        assert await status_of(driver, other) == "submitted"
        assert [one["status"] for one in (await driver.read(order))["returned"]] == ["requested"]
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "won"})
    await driver.run(submit_refunds)
    assert [one["status"] for one in (await driver.read(order))["returned"]] == ["submitted"]


@pytest.mark.parametrize("rounds", [3])
async def test_two_replicas_at_once_ask_for_each_refund_once(live_driver, monkeypatch, rounds):
    driver = live_driver
    references = []
    for _ in range(rounds):
        order, reference = await driver.buy(await driver.sell())
        await driver.deliver(reference)
        await driver.refund(order)
        references.append(reference)
    look, create, asked = driver.provider.refunds_of, driver.provider.create_refund, []

    async def slow_look(*arguments):
        await asyncio.sleep(0.02)
        return await look(*arguments)

    async def slow_create(reference, *rest):
        asked.append(reference)
        await asyncio.sleep(0.02)
        return await create(reference, *rest)

    monkeypatch.setattr(driver.provider, "refunds_of", slow_look)
    monkeypatch.setattr(driver.provider, "create_refund", slow_create)
    await asyncio.gather(*(driver.run(submit_refunds) for _ in range(2)))
    assert sorted(asked) == sorted(references)
    for _ in range(2):
        await driver.later(seconds=1)
    assert await driver.announced(RefundFailed) == []
    assert len(await driver.announced(RefundCompleted)) == rounds
    async with driver.service.process.database.transaction() as session:
        assert await session.scalar(text("select coalesce(sum(amount_minor), 0)::int from ledger_entries")) == 0
