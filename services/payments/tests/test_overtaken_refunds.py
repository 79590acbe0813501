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
async def bought(shop):
    """A paid and delivered order of two lines, the first of which is to go back; and the payment's reference."""
    order, reference = await shop.buy(await shop.sell(), await shop.sell())
    await shop.deliver(reference)
    await shop.refund(order)
    return order, reference


async def status_of(shop, order, line=0):
    return (await shop.read(order))["lines"][line]["refund"]["status"]


async def move(shop, refund, status):
    shop.clock.advance(seconds=1)
    path = f"/control/refunds/{refund['refund_id']}/status"
    (await shop.control.post(path, json={"status": status})).raise_for_status()
    await shop.sandbox.run_due()


async def retry(shop, order, line=0):
    refund = (await shop.read(order))["lines"][line]["refund"]
    async with shop.service.client("finance") as finance:
        return await finance.post(f"/v1/orders/{order['order_id']}/refunds/{refund['refund_id']}/retry")


def overtaken(shop, monkeypatch, method, *statuses):
    """Let the provider go on, and tell of it, while this answer of its is under way."""
    ask = getattr(shop.provider, method)

    async def slowly(*arguments):
        answer = await ask(*arguments)
        for refund in shop.sandbox.books.all("refund"):
            for status in statuses:
                await move(shop, refund, status)
        return answer

    monkeypatch.setattr(shop.provider, method, slowly)


async def test_where_an_answer_contradicts_what_was_reported_it_is_asked_for_again_within_minutes(
    shop, bought, monkeypatch
):
    """And then less and less often, until it is believed."""
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(bought[1])
    refund["plan"] = []
    await move(shop, refund, "finished")
    fetch, asked = shop.provider.fetch_refund, []

    async def behind(wanted):
        asked.append(shop.clock())
        return replace(await fetch(wanted), status=ProviderRefundStatus.RECEIVED)

    monkeypatch.setattr(shop.provider, "fetch_refund", behind)
    announced = shop.clock()
    shop.sandbox.set_refund_status({**refund}, "received")  # a callback of the same second has it asked about
    await shop.sandbox.run_due()
    for _ in range(50):
        await shop.run(follow_refunds)
        shop.clock.advance(minutes=1)
    pauses = [round((at - announced).total_seconds() / 60) for at in asked]
    assert pauses == [0, 2, 5, 15], pauses


@pytest.mark.parametrize("method", ["create_refund", "fetch_refund"])
async def test_a_stale_answer_does_not_undo_what_a_callback_reported(shop, bought, monkeypatch, method):
    order, reference = bought
    if method == "fetch_refund":
        await shop.run(submit_refunds)
        await shop.control.put("/control/callbacks", json={"mode": "deliver"})
        [refund] = shop.sandbox.refunds(reference)
        refund["plan"] = []
        shop.clock.advance(minutes=3)
    with monkeypatch.context() as patch:
        overtaken(shop, patch, method, "received", "finished")
        await shop.run(submit_refunds, follow_refunds)
    assert await status_of(shop, order) == "completed"
    assert await shop.balances() == {"cash": 49500, "sales": -49500}
    for _ in range(3):
        await shop.later(hours=2)
        await shop.run(submit_refunds, follow_refunds)
    assert await status_of(shop, order) == "completed"
    assert await shop.announced(RefundFailed) == []
    assert len(shop.sandbox.refunds(reference)) == 1


async def test_a_refusal_that_was_overtaken_fails_nothing(shop, bought, monkeypatch):
    order, reference = bought
    create = shop.provider.create_refund

    async def twice(*arguments):
        await create(*arguments)  # another replica's, in the meantime
        for status in ("received", "finished"):
            await move(shop, shop.sandbox.refunds(reference)[0], status)
        shop.sandbox.payment(reference)["status"] = "processed"  # so that the second is refused
        try:
            return await create(*arguments)
        finally:
            shop.sandbox.payment(reference)["status"] = "delivered"

    with monkeypatch.context() as patch:
        patch.setattr(shop.provider, "create_refund", twice)
        await shop.run(submit_refunds)
    assert await status_of(shop, order) == "completed"
    assert await shop.announced(RefundFailed) == []


async def test_a_copy_of_the_provider_that_lags_behind_undoes_nothing(shop, bought, monkeypatch):
    order, reference = bought
    await shop.run(submit_refunds)
    [refund] = shop.sandbox.refunds(reference)
    refund["plan"] = []
    await move(shop, refund, "finished")
    # A callback of the same second, received afterwards, has it asked about; the copy still says `received`.
    at = shop.clock()
    shop.clock.at = at
    shop.sandbox.set_refund_status({**refund}, "received")
    await shop.sandbox.run_due()
    await shop.run(follow_refunds)
    assert await status_of(shop, order) == "completed"
    shop.sandbox.books.put("refund", refund["refund_id"], {**refund, "status": "finished"})
    await shop.later(hours=2)
    await shop.run(follow_refunds)
    assert await status_of(shop, order) == "completed"
    assert len(await shop.announced(RefundCompleted)) == 1
    assert await shop.balances() == {"cash": 49500, "sales": -49500}


async def test_a_refund_that_comes_back_is_never_paid_beside_another(shop, bought):
    order, reference = bought
    await shop.run(submit_refunds)
    [first] = shop.sandbox.refunds(reference)
    first["plan"] = []
    for status in ("received", "finished"):
        await move(shop, first, status)
    shop.clock.advance(days=2)
    await move(shop, first, "returned")
    assert (await retry(shop, order)).json()["code"] == "refund_not_failed"
    await shop.later(days=2)
    await shop.run(submit_refunds, follow_refunds)
    for status in ("received", "finished"):
        await move(shop, first, status)
    assert await status_of(shop, order) == "completed"
    assert [one["status"] for one in shop.sandbox.refunds(reference)] == ["finished"]
    assert await shop.balances() == {"cash": 49500, "sales": -49500}


async def test_while_one_refund_is_open_again_the_other_line_is_paid_back_all_the_same(shop, bought):
    order, reference = bought
    await shop.run(submit_refunds)
    [first] = shop.sandbox.refunds(reference)
    first["plan"] = []
    for status in ("received", "finished"):
        await move(shop, first, status)
    await shop.refund(order, line=1)
    await shop.run(submit_refunds)
    second = shop.sandbox.refunds(reference)[1]
    second["plan"] = []
    await move(shop, first, "returned")
    await move(shop, first, "received")  # two under way at once, at the provider's own will
    await move(shop, second, "received")
    for refund in (second, first):
        await move(shop, refund, "finished")
    assert [await status_of(shop, order, line) for line in (0, 1)] == ["completed", "completed"]
    assert await shop.balances() == {}


async def test_a_retry_looks_at_the_provider_before_it_sends(shop, bought, monkeypatch):
    """Refused as far as we knew; and yet it was made."""
    order, reference = bought
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    refund = await shop.session.scalar(select(Refund))
    refund.status, refund.failure_code = "failed", "provider_refused"
    await shop.session.flush()
    shop.sandbox.create_refund(reference, 49500, str(refund.refund_id), "")
    assert (await retry(shop, order)).status_code == 200
    await shop.run(submit_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1
    for _ in range(3):
        await shop.later(hours=2)
        await shop.run(submit_refunds, follow_refunds)
    assert await status_of(shop, order) == "completed"
    assert len(shop.sandbox.refunds(reference)) == 1


async def test_should_a_line_be_paid_back_twice_after_all_the_books_and_finance_know(shop, bought):
    """Whatever the provider does: its books are ours, and a person sees order, payment and amount."""
    order, reference = bought
    await shop.run(submit_refunds)
    [first] = shop.sandbox.refunds(reference)
    first["plan"] = []
    await move(shop, first, "cancelled")
    assert await status_of(shop, order) == "failed"
    await retry(shop, order)
    await shop.run(submit_refunds)
    for _ in range(2):
        await shop.later(seconds=1)
    assert await status_of(shop, order) == "completed"
    for status in ("received", "finished"):  # against its own rules
        shop.clock.advance(hours=2)
        shop.sandbox.set_refund_status(first, status)
        await shop.sandbox.run_due()
        await shop.run(follow_refunds)
    assert sum(one["amount"] for one in shop.sandbox.refunds(reference) if one["status"] == "finished") == 99000
    assert await shop.balances() == {"losses": 49500, "sales": -49500}
    row = (await shop.unmatched())["paid_out_too_much"]
    assert (str(row.order_id), row.amount_minor, row.currency) == (order["order_id"], 49500, "GBP")


async def test_a_refund_reported_in_a_word_we_do_not_know_is_no_refusal(shop, bought, monkeypatch):
    order, reference = bought
    create = shop.sandbox.create_refund

    def pending(*arguments):
        refund = create(*arguments)
        refund["plan"] = []
        shop.sandbox.set_refund_status(refund, "pending")
        return refund

    with monkeypatch.context() as patch:
        patch.setattr(shop.sandbox, "create_refund", pending)
        await shop.control.put("/control/callbacks", json={"mode": "drop"})
        await shop.run(submit_refunds)
    assert await status_of(shop, order) == "submitted"
    assert (await shop.unmatched())["unknown_status"].provider_status == "pending"
    await shop.later(hours=1)
    await shop.run(submit_refunds, follow_refunds)
    assert len(shop.sandbox.refunds(reference)) == 1
    await move(shop, shop.sandbox.refunds(reference)[0], "finished")
    await shop.later(hours=2)
    await shop.run(follow_refunds)
    assert await status_of(shop, order) == "completed"


async def test_refunds_that_a_dispute_holds_up_hold_up_no_others(shop):
    order = await shop.order(await shop.sell())
    sessions = [await shop.open_session(order, payer={"email": f"{n}@example.org"}) for n in range(2)]
    references = [(await shop.pay(session_id))["payment_id"] for session_id in sessions]
    for reference in references:
        await shop.deliver(reference)
    async with shop.service.client("finance") as finance:
        body = {"order_id": order["order_id"], "reason_code": "not_recognised", "case_reference": "CB-17"}
        case = (await finance.post("/v1/disputes", json=body | {"payment_reference": references[-1]})).json()
        other, reference = await shop.buy(await shop.sell())
        await shop.deliver(reference)
        await shop.refund(other)
        async with asyncio.timeout(30):
            await shop.run(submit_refunds)
        assert await status_of(shop, other) == "submitted"
        assert [one["status"] for one in (await shop.read(order))["returned"]] == ["requested"]
        await finance.post(f"/v1/disputes/{case['dispute_id']}/closing", json={"outcome": "won"})
    await shop.run(submit_refunds)
    assert [one["status"] for one in (await shop.read(order))["returned"]] == ["submitted"]


@pytest.mark.parametrize("rounds", [3])
async def test_two_replicas_at_once_ask_for_each_refund_once(live_shop, monkeypatch, rounds):
    shop = live_shop
    references = []
    for _ in range(rounds):
        order, reference = await shop.buy(await shop.sell())
        await shop.deliver(reference)
        await shop.refund(order)
        references.append(reference)
    look, create, asked = shop.provider.refunds_of, shop.provider.create_refund, []

    async def slow_look(*arguments):
        await asyncio.sleep(0.02)
        return await look(*arguments)

    async def slow_create(reference, *rest):
        asked.append(reference)
        await asyncio.sleep(0.02)
        return await create(reference, *rest)

    monkeypatch.setattr(shop.provider, "refunds_of", slow_look)
    monkeypatch.setattr(shop.provider, "create_refund", slow_create)
    await asyncio.gather(*(shop.run(submit_refunds) for _ in range(2)))
    assert sorted(asked) == sorted(references)
    for _ in range(2):
        await shop.later(seconds=1)
    assert await shop.announced(RefundFailed) == []
    assert len(await shop.announced(RefundCompleted)) == rounds
    async with shop.service.process.database.transaction() as session:
        assert await session.scalar(text("select coalesce(sum(amount_minor), 0)::int from ledger_entries")) == 0
