"""Lists of the provider's that do not end, end early, or hold what cannot be read: seen, and nothing else waits."""

import asyncio

import pytest
from sqlalchemy import select, text, update

from payments.jobs import compare_with_provider, find_payments
from payments.jobs.paging import ListIncomplete, Walk
from payments.tables import CheckoutAttempt
from shared.messaging.tables import SetAside


@pytest.fixture(autouse=True)
def few_a_page(monkeypatch):
    monkeypatch.setattr("payments.adapters.flywire.PER_PAGE", 2)


async def paid_out(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.deliver(reference)
    return order, reference


async def paid_unnoticed(shop):
    """An order paid at the provider, of which nothing was received and nothing is asked by itself."""
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    shop.clock.advance(seconds=1)
    payment = await shop.pay(session_id)
    await shop.session.execute(update(CheckoutAttempt).values(ask_at=None))
    return order, payment["payment_id"]


async def compare(shop):
    shop.clock.advance(days=1, minutes=1)
    async with asyncio.timeout(30):
        await shop.run(compare_with_provider)


async def aside(shop):
    return [tuple(row) for row in await shop.session.execute(select(SetAside.job, SetAside.row_key))]


async def finished(shop):
    return await shop.session.scalar(text("select finished_at from comparisons"))


def ignoring_pages(shop, monkeypatch, listing):
    ask = getattr(shop.provider, listing)

    async def always_the_first(_since, _page):
        await asyncio.sleep(0)
        return await ask(shop.clock.at.replace(year=2020), 1)

    monkeypatch.setattr(shop.provider, listing, always_the_first)


@pytest.mark.parametrize("stage", ["payments", "refunds"])
async def test_a_comparison_ends_though_the_provider_ignores_the_page(shop, monkeypatch, stage):
    for _ in range(3):
        order, reference = await paid_out(shop)
        await shop.refund(order)
        shop.sandbox.create_refund(reference, 49500, order["order_id"], "")
    ignoring_pages(shop, monkeypatch, f"list_{stage}")
    await compare(shop)
    assert await finished(shop) is not None
    assert ("compare_with_provider", f"list of {stage}") in await aside(shop)


async def test_others_are_found_though_the_provider_ignores_the_page(shop, monkeypatch):
    for _ in range(3):
        await paid_out(shop)
    failure = {"operation": "create_session", "times": 1, "seconds": 0, "takes_effect": True}
    await shop.control.post("/control/failures", json=failure)
    lost = await shop.order(await shop.sell())
    assert (await shop.checkout(lost)).status_code == 503
    await shop.control.put("/control/callbacks", json={"mode": "drop"})
    order = await shop.order(await shop.sell())
    await shop.pay(await shop.open_session(order))
    ignoring_pages(shop, monkeypatch, "list_payments")
    shop.clock.advance(minutes=3)
    async with asyncio.timeout(30):
        await shop.run(find_payments)
    assert (await shop.read(order))["status"] == "paid"
    assert [job for job, _ in await aside(shop)] == ["find_payments"]


async def test_fewer_a_page_than_asked_for_is_not_the_end(shop, monkeypatch):
    for _ in range(3):
        await paid_out(shop)
    order, _ = await paid_unnoticed(shop)
    ask = shop.provider._ask

    async def capped(operation, method, path, **rest):
        if operation == "list_payments":
            rest["params"] = rest["params"] | {"per_page": 1}
        return await ask(operation, method, path, **rest)

    monkeypatch.setattr(shop.provider, "_ask", capped)
    await compare(shop)
    assert (await shop.read(order))["status"] == "paid"
    assert await aside(shop) == []


async def test_what_cannot_be_read_of_a_list_is_seen(shop):
    order, known = await paid_out(shop)
    _, reference = await paid_unnoticed(shop)
    shop.sandbox.payment(reference)["amount_to"] = "495.00"
    shop.sandbox.payment(known)["amount_to"] = "495.00"
    await compare(shop)
    unmatched = await shop.session.execute(text("select reference, order_id::text, reason from unmatched_payments"))
    assert {tuple(row) for row in unmatched} == {
        (reference, None, "not_understood"),
        (known, order["order_id"], "not_understood"),
    }
    assert set(await aside(shop)) == {("compare_with_provider", f"payment {one}") for one in (reference, known)}


async def test_what_names_nothing_is_seen_too(shop):
    ask = shop.provider.list_refunds
    _, reference = await paid_out(shop)
    refund = shop.sandbox.create_refund(reference, 100, "", "")
    refund["plan"] = []
    shop.sandbox.books.put("refund", refund["refund_id"], refund | {"refund_id": None})
    assert [len(one.reference) for one in (await ask(shop.clock.at.replace(year=2020), 1)).unreadable] == [64]
    await compare(shop)
    assert "not_understood" in await shop.unmatched()


def test_a_list_that_always_tells_something_new_is_broken_off(monkeypatch):
    monkeypatch.setattr("payments.jobs.paging.PAGES_AT_MOST", 3)
    walk = Walk()
    assert walk.goes_on(1, ["a"])
    assert walk.goes_on(2, ["b"])
    with pytest.raises(ListIncomplete):
        walk.goes_on(3, ["c"])
    assert walk.broken_off
