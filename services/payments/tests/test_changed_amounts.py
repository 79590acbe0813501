"""The same status word with another amount is news."""

from dataclasses import replace

from sqlalchemy import text

from payments.domain.payments import ProviderStatus
from payments.jobs import ask_about_payments, compare_with_provider, return_underpaid, submit_refunds
from shared.events.payments import AmountMismatch, PaymentConfirmed, PaymentReversed, RefundRequested


async def test_the_amount_that_comes_after_nothing_pays_the_order(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), amount=0)
    record = shop.sandbox.payment(payment["payment_id"])
    record["plan"], record["amount_to"] = [], 49500
    shop.clock.advance(seconds=5)
    await shop.status(payment["payment_id"], "processed")
    assert (await shop.read(order))["status"] == "paid"
    assert await shop.balances() == {"provider_receivable": 49500, "sales": -49500}


async def test_money_that_was_used_and_is_another_sum_now_is_shown_to_finance_once(shop):
    _, reference = await shop.buy(await shop.sell())
    record = shop.sandbox.payment(reference)
    record["plan"], record["amount_to"] = [], 100
    shop.clock.advance(seconds=5)
    await shop.status(reference, "processed")
    for _ in range(3):
        shop.clock.advance(days=1)
        await shop.run(ask_about_payments)
    assert (await shop.unmatched())["amount_changed"].amount_minor == 100
    assert [one.received_minor for one in await shop.announced(AmountMismatch)] == [100]


async def test_one_answer_that_lags_reverses_nothing_and_the_provider_is_asked_again_within_minutes(shop, monkeypatch):
    order, reference = await shop.buy(await shop.sell())
    shop.sandbox.payment(reference)["plan"] = []
    fetch, asked = shop.provider.fetch_payment, []

    async def lagging(wanted):
        asked.append(wanted)
        return replace(await fetch(wanted), status=ProviderStatus.INITIATED)

    monkeypatch.setattr(shop.provider, "fetch_payment", lagging)
    shop.clock.advance(minutes=3)
    await shop.run(ask_about_payments)
    assert len(asked) == 1
    assert (await shop.read(order))["status"] == "paid"
    assert await shop.announced(PaymentReversed) == []
    shop.clock.advance(minutes=5)
    await shop.run(ask_about_payments)
    assert len(asked) == 2


async def grow(shop, reference, amount):
    record = shop.sandbox.payment(reference)
    record["plan"], record["amount_to"] = [], amount
    shop.clock.advance(seconds=5)
    await shop.status(reference, "processed")


async def test_too_little_that_grows_to_the_price_pays_the_order(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), amount=10000)
    assert (await shop.read(order))["status"] == "underpaid"
    await grow(shop, payment["payment_id"], 20000)
    assert (await shop.read(order))["status"] == "underpaid"
    assert await shop.balances() == {"provider_receivable": 20000, "unapplied": -20000}
    await grow(shop, payment["payment_id"], 49500)
    assert (await shop.read(order))["status"] == "paid"
    assert len(await shop.announced(PaymentConfirmed)) == 1
    assert await shop.balances() == {"provider_receivable": 49500, "sales": -49500}
    await shop.later(days=20)
    await shop.run(return_underpaid)
    assert await shop.announced(RefundRequested) == []
    assert "amount_changed" not in await shop.unmatched()


async def test_too_little_that_grows_past_the_price_returns_what_is_too_much(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), amount=10000)
    await grow(shop, payment["payment_id"], 50000)
    assert (await shop.read(order))["status"] == "paid"
    assert [one.amount_minor for one in await shop.announced(RefundRequested)] == [500]


async def test_too_little_that_goes_back_already_buys_nothing_when_it_grows(shop):
    order = await shop.order(await shop.sell())
    payment = await shop.pay(await shop.open_session(order), amount=10000)
    await shop.cancel(order)
    await grow(shop, payment["payment_id"], 49500)
    assert (await shop.read(order))["status"] == "cancelled"
    assert await shop.announced(PaymentConfirmed) == []
    assert (await shop.unmatched())["amount_changed"].amount_minor == 49500


async def test_another_currency_is_booked_in_that_currency(shop):
    order = await shop.order(await shop.sell())
    reference = (await shop.pay(await shop.open_session(order), amount=10000))["payment_id"]
    record = shop.sandbox.payment(reference)
    record["plan"] = []
    record["currency_to"], record["amount_to"] = "EUR", 12000
    await shop.deliver(reference)

    async def books():
        rows = await shop.session.execute(
            text(
                "select currency, account, sum(amount_minor)::bigint from ledger_entries "
                "join ledger_postings using (posting_no) group by 1, 2 having sum(amount_minor) <> 0"
            )
        )
        return {tuple(row) for row in rows}

    assert await books() == {("EUR", "cash", 12000), ("EUR", "unapplied", -12000)}
    await shop.cancel(order)
    for _ in range(4):
        await shop.run(submit_refunds)
        await shop.later(minutes=2)
    assert await books() == set()
    shop.clock.advance(days=1)
    await shop.run(compare_with_provider)
    assert "books_differ" not in await shop.unmatched()
