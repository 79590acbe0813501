"""The same status word with another amount is news."""

from dataclasses import replace

from sqlalchemy import text

from payments.domain.payments import ProviderStatus
from payments.jobs import ask_about_payments, compare_with_provider, return_underpaid, submit_refunds
from shared.events.payments import AmountMismatch, PaymentConfirmed, PaymentReversed, RefundRequested


async def test_the_amount_that_comes_after_nothing_pays_the_order(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=0)
    record = driver.sandbox.payment(payment["payment_id"])
    record["plan"], record["amount_to"] = [], 49500
    driver.clock.advance(seconds=5)
    await driver.status(payment["payment_id"], "processed")
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}


async def test_money_that_was_used_and_is_another_sum_now_is_shown_to_finance_once(driver):
    _, reference = await driver.buy(await driver.sell())
    record = driver.sandbox.payment(reference)
    record["plan"], record["amount_to"] = [], 100
    driver.clock.advance(seconds=5)
    await driver.status(reference, "processed")
    for _ in range(3):
        driver.clock.advance(days=1)
        await driver.run(ask_about_payments)
    assert (await driver.unmatched())["amount_changed"].amount_minor == 100
    assert [one.received_minor for one in await driver.announced(AmountMismatch)] == [100]


async def test_one_answer_that_lags_reverses_nothing_and_the_provider_is_asked_again_within_minutes(
    driver, monkeypatch
):
    order, reference = await driver.buy(await driver.sell())
    driver.sandbox.payment(reference)["plan"] = []
    fetch, asked = driver.provider.fetch_payment, []

    async def lagging(wanted):
        asked.append(wanted)
        return replace(await fetch(wanted), status=ProviderStatus.INITIATED)

    monkeypatch.setattr(driver.provider, "fetch_payment", lagging)
    driver.clock.advance(minutes=3)
    await driver.run(ask_about_payments)
    assert len(asked) == 1
    assert (await driver.read(order))["status"] == "paid"
    assert await driver.announced(PaymentReversed) == []
    driver.clock.advance(minutes=5)
    await driver.run(ask_about_payments)
    assert len(asked) == 2


async def grow(driver, reference, amount):
    record = driver.sandbox.payment(reference)
    record["plan"], record["amount_to"] = [], amount
    driver.clock.advance(seconds=5)
    await driver.status(reference, "processed")


async def test_too_little_that_grows_to_the_price_pays_the_order(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=10000)
    assert (await driver.read(order))["status"] == "underpaid"
    await grow(driver, payment["payment_id"], 20000)
    assert (await driver.read(order))["status"] == "underpaid"
    assert await driver.balances() == {"provider_receivable": 20000, "unapplied": -20000}
    await grow(driver, payment["payment_id"], 49500)
    assert (await driver.read(order))["status"] == "paid"
    assert len(await driver.announced(PaymentConfirmed)) == 1
    assert await driver.balances() == {"provider_receivable": 49500, "sales": -49500}
    await driver.later(days=20)
    await driver.run(return_underpaid)
    assert await driver.announced(RefundRequested) == []
    assert "amount_changed" not in await driver.unmatched()


async def test_too_little_that_grows_past_the_price_returns_what_is_too_much(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=10000)
    await grow(driver, payment["payment_id"], 50000)
    assert (await driver.read(order))["status"] == "paid"
    assert [one.amount_minor for one in await driver.announced(RefundRequested)] == [500]


async def test_too_little_that_goes_back_already_buys_nothing_when_it_grows(driver):
    order = await driver.order(await driver.sell())
    payment = await driver.pay(await driver.open_session(order), amount=10000)
    await driver.cancel(order)
    await grow(driver, payment["payment_id"], 49500)
    assert (await driver.read(order))["status"] == "cancelled"
    assert await driver.announced(PaymentConfirmed) == []
    assert (await driver.unmatched())["amount_changed"].amount_minor == 49500


async def test_another_currency_is_booked_in_that_currency(driver):
    order = await driver.order(await driver.sell())
    reference = (await driver.pay(await driver.open_session(order), amount=10000))["payment_id"]
    record = driver.sandbox.payment(reference)
    record["plan"] = []
    record["currency_to"], record["amount_to"] = "EUR", 12000
    await driver.deliver(reference)

    async def books():
        rows = await driver.session.execute(
            text(
                "select currency, account, sum(amount_minor)::bigint from ledger_entries "
                "join ledger_postings using (posting_no) group by 1, 2 having sum(amount_minor) <> 0"
            )
        )
        return {tuple(row) for row in rows}

    assert await books() == {("EUR", "cash", 12000), ("EUR", "unapplied", -12000)}
    await driver.cancel(order)
    for _ in range(4):
        await driver.run(submit_refunds)
        await driver.later(minutes=2)
    assert await books() == set()
    driver.clock.advance(days=1)
    await driver.run(compare_with_provider)
    assert "books_differ" not in await driver.unmatched()
