"""What the provider has and we have otherwise is found by its list, whatever was never reported."""

import asyncio

from sqlalchemy import select, text

from payments.adapters.provider import ProviderUnavailable
from payments.commands.unmatched import end_unmatched
from payments.domain.unmatched import Why
from payments.jobs import compare_with_provider, submit_refunds
from payments.jobs.comparing import Rhythm
from payments.tables import Comparison, Payment, UnmatchedPayment
from shared import telemetry
from shared.ids import new_id


async def silence(driver):
    await driver.control.put("/control/callbacks", json={"mode": "drop"})


async def compare(driver):
    driver.clock.advance(days=1, minutes=1)
    await driver.run(compare_with_provider)


async def paid_out(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    return order, reference


async def test_where_nothing_differs_nobody_is_asked_about(driver, monkeypatch):
    order, _ = await paid_out(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    for _ in range(3):
        await driver.later(minutes=1)

    async def ask(*_):
        raise AssertionError("nothing differs")

    for name in ("fetch_payment", "fetch_refund"):
        monkeypatch.setattr(driver.provider, name, ask)
    await compare(driver)
    assert await driver.unmatched() == {}


async def test_a_reversal_after_the_payout_whose_callback_was_lost(driver):
    order, reference = await paid_out(driver)
    await silence(driver)
    driver.clock.advance(seconds=1)
    await driver.status(reference, "reversed")
    await compare(driver)
    assert (await driver.read(order))["status"] == "reversed"
    assert await driver.balances() == {}


async def test_another_payment_in_a_session_that_was_paid_in(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    first = await driver.pay(session_id)
    await driver.deliver(first["payment_id"])
    await silence(driver)
    driver.sandbox.session(session_id)["status"] = "open"
    second = await driver.pay(session_id)
    await driver.later(hours=1)
    await compare(driver)
    uses = {one["reference"]: one["use"] for one in (await driver.read(order))["payments"]}
    assert uses == {first["payment_id"]: "order", second["payment_id"]: "duplicate"}


async def test_a_refund_that_was_sent_back_and_never_reported(driver):
    order, reference = await paid_out(driver)
    await driver.refund(order)
    await driver.run(submit_refunds)
    for _ in range(3):
        await driver.later(minutes=1)
    await silence(driver)
    [refund] = driver.sandbox.refunds(reference)
    driver.sandbox.set_refund_status(refund, "returned")
    await compare(driver)
    assert (await driver.read(order))["lines"][0]["refund"]["status"] == "returned"


async def test_what_nobody_can_explain_is_shown_to_finance(driver):
    _, paid = await paid_out(driver)
    _, gone = await paid_out(driver)
    await silence(driver)
    by_hand = driver.sandbox.create_refund(paid, 100, "by hand", "")  # a refund in the provider's own dashboard
    driver.sandbox.set_status(
        driver.sandbox.payment(paid), "cancelled"
    )  # after the payout: nothing but a reversal counts
    driver.sandbox.books.remove("payment", gone)
    names = {"payment_id": "FWU1", "external_reference": f"ord_{new_id().hex}", "status": "delivered"}
    stranger = dict(driver.sandbox.payment(paid)) | names
    driver.sandbox.books.put("payment", "FWU1", stranger)
    await compare(driver)
    unmatched = {reason: row.reference for reason, row in (await driver.unmatched()).items()}
    assert unmatched == {
        "unknown_refund": by_hand["refund_id"],
        "differs_from_provider": paid,
        "not_at_provider": gone,
        "unknown_reference": "FWU1",
    }


async def test_it_goes_page_by_page_and_on_where_it_was_broken_off(driver, monkeypatch):
    monkeypatch.setattr("payments.adapters.flywire.PER_PAGE", 2)
    for _ in range(5):
        await paid_out(driver)
    pages, ask = [], driver.provider.list_payments

    async def listing(since, page):
        pages.append(page)
        if len(pages) == 2:
            raise ProviderUnavailable("away")
        return await ask(since, page)

    monkeypatch.setattr(driver.provider, "list_payments", listing)
    await compare(driver)
    await driver.run(compare_with_provider)
    assert pages == [1, 2, 2, 3, 4]
    await driver.run(compare_with_provider)  # not before a day is over
    assert len(pages) == 5
    assert telemetry.provider_compared.labels("flywire")._value.get() == driver.clock().timestamp()


async def test_one_that_cannot_be_settled_does_not_keep_the_others(driver, monkeypatch):
    both = [await paid_out(driver) for _ in range(2)]
    await silence(driver)
    driver.clock.advance(seconds=1)
    for _, reference in both:
        await driver.status(reference, "reversed")
    fetch = driver.provider.fetch_payment

    async def sick(reference):
        if reference == both[0][1]:
            raise ValueError("sick")
        return await fetch(reference)

    monkeypatch.setattr(driver.provider, "fetch_payment", sick)
    await compare(driver)
    assert {(await driver.read(order))["status"] for order, _ in both} == {"paid", "reversed"}


async def test_two_replicas_at_once_do_no_harm(live_driver):
    driver = live_driver
    order, reference = await paid_out(driver)
    await silence(driver)
    driver.clock.advance(seconds=1)
    await driver.status(reference, "reversed")
    driver.clock.advance(days=1)
    await asyncio.gather(driver.run(compare_with_provider), driver.run(compare_with_provider))
    assert (await driver.read(order))["status"] == "reversed"
    async with driver.service.process.database.transaction() as session:
        run = await session.get_one(Comparison, "flywire")
        assert run.finished_at is not None


async def test_it_waits_for_a_callback_holding_nothing_that_the_callback_may_want(live_driver):
    driver = live_driver
    _, reference = await paid_out(driver)
    at, database = driver.clock(), driver.service.process.database
    own = {"provider": "flywire", "reference": reference, "reason": Why.BOOKS_DIFFER}
    async with database.transaction() as session:
        session.add(UnmatchedPayment(unmatched_id=new_id(), **own, first_at=at, last_at=at))
    driver.clock.advance(days=1, minutes=1)
    async with database.transaction() as callback:
        await callback.execute(select(Payment).where(Payment.reference == reference).with_for_update(key_share=True))
        comparing = asyncio.create_task(driver.run(compare_with_provider))
        async with asyncio.timeout(30):
            while not await callback.scalar(text("select exists (select from pg_locks where not granted)")):
                assert not comparing.done(), comparing
                await asyncio.sleep(0.05)
        await callback.execute(text("set local lock_timeout = '1s'"))
        await end_unmatched(callback, "flywire", [reference], Why.BOOKS_DIFFER)
    await comparing


async def test_the_rhythm_is_a_setting(service):
    rhythm = service.service.resources[Rhythm]
    assert (rhythm.every.days, rhythm.back.days) == (1, 35)
