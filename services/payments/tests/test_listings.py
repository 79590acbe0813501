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


async def paid_out(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.deliver(reference)
    return order, reference


async def paid_unnoticed(driver):
    """An order paid at the provider, of which nothing was received and nothing is asked by itself."""
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    driver.clock.advance(seconds=1)
    payment = await driver.pay(session_id)
    await driver.session.execute(update(CheckoutAttempt).values(ask_at=None))
    return order, payment["payment_id"]


async def compare(driver):
    driver.clock.advance(days=1, minutes=1)
    async with asyncio.timeout(30):
        await driver.run(compare_with_provider)


async def aside(driver):
    return [tuple(row) for row in await driver.session.execute(select(SetAside.job, SetAside.row_key))]


async def finished(driver):
    return await driver.session.scalar(text("select finished_at from comparisons"))


def ignoring_pages(driver, monkeypatch, listing):
    ask = getattr(driver.provider, listing)

    async def always_the_first(_since, _page):
        await asyncio.sleep(0)
        return await ask(driver.clock.at.replace(year=2020), 1)

    monkeypatch.setattr(driver.provider, listing, always_the_first)


@pytest.mark.parametrize("stage", ["payments", "refunds"])
async def test_a_comparison_ends_though_the_provider_ignores_the_page(driver, monkeypatch, stage):
    for _ in range(3):
        order, reference = await paid_out(driver)
        await driver.refund(order)
        driver.sandbox.create_refund(reference, 49500, order["order_id"], "")
    ignoring_pages(driver, monkeypatch, f"list_{stage}")
    await compare(driver)
    assert await finished(driver) is not None
    assert ("compare_with_provider", f"list of {stage}") in await aside(driver)


async def test_others_are_found_though_the_provider_ignores_the_page(driver, monkeypatch):
    for _ in range(3):
        await paid_out(driver)
    failure = {"operation": "create_session", "times": 1, "seconds": 0, "takes_effect": True}
    await driver.control.post("/control/failures", json=failure)
    lost = await driver.order(await driver.sell())
    assert (await driver.checkout(lost)).status_code == 503
    await driver.control.put("/control/callbacks", json={"mode": "drop"})
    order = await driver.order(await driver.sell())
    await driver.pay(await driver.open_session(order))
    ignoring_pages(driver, monkeypatch, "list_payments")
    driver.clock.advance(minutes=3)
    async with asyncio.timeout(30):
        await driver.run(find_payments)
    assert (await driver.read(order))["status"] == "paid"
    assert [job for job, _ in await aside(driver)] == ["find_payments"]


async def test_fewer_a_page_than_asked_for_is_not_the_end(driver, monkeypatch):
    for _ in range(3):
        await paid_out(driver)
    order, _ = await paid_unnoticed(driver)
    ask = driver.provider._ask

    async def capped(operation, method, path, **rest):
        if operation == "list_payments":
            rest["params"] = rest["params"] | {"per_page": 1}
        return await ask(operation, method, path, **rest)

    monkeypatch.setattr(driver.provider, "_ask", capped)
    await compare(driver)
    assert (await driver.read(order))["status"] == "paid"
    assert await aside(driver) == []


async def test_what_cannot_be_read_of_a_list_is_seen(driver):
    order, known = await paid_out(driver)
    _, reference = await paid_unnoticed(driver)
    driver.sandbox.payment(reference)["amount_to"] = "495.00"
    driver.sandbox.payment(known)["amount_to"] = "495.00"
    await compare(driver)
    unmatched = await driver.session.execute(text("select reference, order_id::text, reason from unmatched_payments"))
    assert {tuple(row) for row in unmatched} == {
        (reference, None, "not_understood"),
        (known, order["order_id"], "not_understood"),
    }
    assert set(await aside(driver)) == {("compare_with_provider", f"payment {one}") for one in (reference, known)}


async def test_what_names_nothing_is_seen_too(driver):
    ask = driver.provider.list_refunds
    _, reference = await paid_out(driver)
    refund = driver.sandbox.create_refund(reference, 100, "", "")
    refund["plan"] = []
    driver.sandbox.books.put("refund", refund["refund_id"], refund | {"refund_id": None})
    assert [len(one.reference) for one in (await ask(driver.clock.at.replace(year=2020), 1)).unreadable] == [64]
    await compare(driver)
    assert "not_understood" in await driver.unmatched()


def test_a_list_that_always_tells_something_new_is_broken_off(monkeypatch):
    monkeypatch.setattr("payments.jobs.paging.PAGES_AT_MOST", 3)
    walk = Walk()
    assert walk.goes_on(1, ["a"])
    assert walk.goes_on(2, ["b"])
    with pytest.raises(ListIncomplete):
        walk.goes_on(3, ["c"])
    assert walk.broken_off
