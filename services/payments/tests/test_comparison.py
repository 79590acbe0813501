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


async def silence(shop):
    await shop.control.put("/control/callbacks", json={"mode": "drop"})


async def compare(shop):
    shop.clock.advance(days=1, minutes=1)
    await shop.run(compare_with_provider)


async def paid_out(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    return order, reference


async def test_where_nothing_differs_nobody_is_asked_about(shop, monkeypatch):
    order, _ = await paid_out(shop)
    await shop.refund(order)
    await shop.run(submit_refunds)
    for _ in range(3):
        await shop.later(minutes=1)

    async def ask(*_):
        raise AssertionError("nothing differs")

    for name in ("fetch_payment", "fetch_refund"):
        monkeypatch.setattr(shop.provider, name, ask)
    await compare(shop)
    assert await shop.unmatched() == {}


async def test_a_reversal_after_the_payout_whose_callback_was_lost(shop):
    order, reference = await paid_out(shop)
    await silence(shop)
    shop.clock.advance(seconds=1)
    await shop.status(reference, "reversed")
    await compare(shop)
    assert (await shop.read(order))["status"] == "reversed"
    assert await shop.balances() == {}


async def test_another_payment_in_a_session_that_was_paid_in(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    first = await shop.pay(session_id)
    await shop.deliver(first["payment_id"])
    await silence(shop)
    shop.sandbox.session(session_id)["status"] = "open"
    second = await shop.pay(session_id)
    await shop.later(hours=1)
    await compare(shop)
    uses = {one["reference"]: one["use"] for one in (await shop.read(order))["payments"]}
    assert uses == {first["payment_id"]: "order", second["payment_id"]: "duplicate"}


async def test_a_refund_that_was_sent_back_and_never_reported(shop):
    order, reference = await paid_out(shop)
    await shop.refund(order)
    await shop.run(submit_refunds)
    for _ in range(3):
        await shop.later(minutes=1)
    await silence(shop)
    [refund] = shop.sandbox.refunds(reference)
    shop.sandbox.set_refund_status(refund, "returned")
    await compare(shop)
    assert (await shop.read(order))["lines"][0]["refund"]["status"] == "returned"


async def test_what_nobody_can_explain_is_shown_to_finance(shop):
    _, paid = await paid_out(shop)
    _, gone = await paid_out(shop)
    await silence(shop)
    by_hand = shop.sandbox.create_refund(paid, 100, "by hand", "")  # a refund in the provider's own dashboard
    shop.sandbox.set_status(shop.sandbox.payment(paid), "cancelled")  # after the payout: nothing but a reversal counts
    shop.sandbox.books.remove("payment", gone)
    names = {"payment_id": "FWU1", "external_reference": f"ord_{new_id().hex}", "status": "delivered"}
    stranger = dict(shop.sandbox.payment(paid)) | names
    shop.sandbox.books.put("payment", "FWU1", stranger)
    await compare(shop)
    unmatched = {reason: row.reference for reason, row in (await shop.unmatched()).items()}
    assert unmatched == {
        "unknown_refund": by_hand["refund_id"],
        "differs_from_provider": paid,
        "not_at_provider": gone,
        "unknown_reference": "FWU1",
    }


async def test_it_goes_page_by_page_and_on_where_it_was_broken_off(shop, monkeypatch):
    monkeypatch.setattr("payments.adapters.flywire.PER_PAGE", 2)
    for _ in range(5):
        await paid_out(shop)
    pages, ask = [], shop.provider.list_payments

    async def listing(since, page):
        pages.append(page)
        if len(pages) == 2:
            raise ProviderUnavailable("away")
        return await ask(since, page)

    monkeypatch.setattr(shop.provider, "list_payments", listing)
    await compare(shop)
    await shop.run(compare_with_provider)
    assert pages == [1, 2, 2, 3, 4]
    await shop.run(compare_with_provider)  # not before a day is over
    assert len(pages) == 5
    assert telemetry.provider_compared.labels("flywire")._value.get() == shop.clock().timestamp()


async def test_one_that_cannot_be_settled_does_not_keep_the_others(shop, monkeypatch):
    both = [await paid_out(shop) for _ in range(2)]
    await silence(shop)
    shop.clock.advance(seconds=1)
    for _, reference in both:
        await shop.status(reference, "reversed")
    fetch = shop.provider.fetch_payment

    async def sick(reference):
        if reference == both[0][1]:
            raise ValueError("sick")
        return await fetch(reference)

    monkeypatch.setattr(shop.provider, "fetch_payment", sick)
    await compare(shop)
    assert {(await shop.read(order))["status"] for order, _ in both} == {"paid", "reversed"}


async def test_two_replicas_at_once_do_no_harm(live_shop):
    shop = live_shop
    order, reference = await paid_out(shop)
    await silence(shop)
    shop.clock.advance(seconds=1)
    await shop.status(reference, "reversed")
    shop.clock.advance(days=1)
    await asyncio.gather(shop.run(compare_with_provider), shop.run(compare_with_provider))
    assert (await shop.read(order))["status"] == "reversed"
    async with shop.service.process.database.transaction() as session:
        run = await session.get_one(Comparison, "flywire")
        assert run.finished_at is not None


async def test_it_waits_for_a_callback_holding_nothing_that_the_callback_may_want(live_shop):
    shop = live_shop
    _, reference = await paid_out(shop)
    at, database = shop.clock(), shop.service.process.database
    own = {"provider": "flywire", "reference": reference, "reason": Why.BOOKS_DIFFER}
    async with database.transaction() as session:
        session.add(UnmatchedPayment(unmatched_id=new_id(), **own, first_at=at, last_at=at))
    shop.clock.advance(days=1, minutes=1)
    async with database.transaction() as callback:
        await callback.execute(select(Payment).where(Payment.reference == reference).with_for_update(key_share=True))
        comparing = asyncio.create_task(shop.run(compare_with_provider))
        async with asyncio.timeout(30):
            while not await callback.scalar(text("select exists (select from pg_locks where not granted)")):
                assert not comparing.done(), comparing
                await asyncio.sleep(0.05)
        await callback.execute(text("set local lock_timeout = '1s'"))
        await end_unmatched(callback, "flywire", [reference], Why.BOOKS_DIFFER)
    await comparing


def test_the_rhythm_is_a_setting(service):
    rhythm = service.service.resources[Rhythm]
    assert (rhythm.every.days, rhythm.back.days) == (1, 35)
