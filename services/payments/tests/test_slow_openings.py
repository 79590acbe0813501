"""Of two pay pages that were being opened for one order at once, one stays open, however long the provider takes and
however far the replicas' clocks are apart."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from payments.adapters.provider import Payer
from payments.commands.checkout import CheckoutDetails, start_checkout
from payments.domain.orders import CheckoutRunning
from payments.jobs import close_checkouts
from payments.tables import CheckoutAttempt
from shared.clock import DatabaseClock, system_clock
from shared.database import Database
from shared.messaging.outbox import OutboxNotifier

BODY = CheckoutDetails(Payer("ada@example.org", "Ada", "Lovelace", "GB"), "https://learn.example/", None)


async def attempts_of(driver):
    """The state of each, the first first."""
    async with driver.service.process.database.transaction() as session:
        return (await session.scalars(select(CheckoutAttempt.status).order_by(CheckoutAttempt.attempt_no))).all()


async def test_an_opening_that_another_did_not_wait_for_is_closed(live_driver, monkeypatch):
    driver, order = live_driver, await live_driver.order(await live_driver.sell())
    create = driver.provider.create_checkout

    async def slowly(described, at):
        made = await create(described, at)
        monkeypatch.setattr(driver.provider, "create_checkout", create)
        driver.clock.advance(seconds=31)
        answers.append(await driver.checkout(order))
        return made

    answers = []
    monkeypatch.setattr(driver.provider, "create_checkout", slowly)
    answers.append(await driver.checkout(order))
    assert [one.status_code for one in answers] == [201, 409]
    assert (answers[1].json()["code"], answers[1].headers["Retry-After"]) == ("checkout_running", "2")
    await driver.run(close_checkouts)
    assert await attempts_of(driver) == ["closed", "open"]
    again = await driver.checkout(order)
    assert again.json()["pay_url"] == answers[0].json()["pay_url"]


@pytest.fixture
async def replicas(live_driver):
    """Two, of which the clock of the second machine stands 40 seconds ahead of the first one's."""
    live_driver.clock.at = system_clock()
    made = []
    for ahead in (timedelta(), timedelta(seconds=40)):
        clock = DatabaseClock(lambda ahead=ahead: system_clock() + ahead)
        made.append(
            Database(live_driver.service.process.database.url, "payments", notifier=OutboxNotifier(), clock=clock)
        )
        await made[-1].set_clock()
    yield made
    for one in made:
        await one.dispose()


async def test_two_replicas_whose_clocks_are_apart_open_one_pay_page(live_driver, replicas, monkeypatch):
    driver, order = live_driver, await live_driver.order(await live_driver.sell())
    create, asked, announced = driver.provider.create_checkout, asyncio.Event(), asyncio.Event()

    async def slowly(described, at):
        asked.set()
        await announced.wait()
        return await create(described, at)

    async def press(replica):
        async with replica.transaction() as session:
            return await start_checkout(session, driver.provider, UUID(order["order_id"]), BODY)

    monkeypatch.setattr(driver.provider, "create_checkout", slowly)
    first = asyncio.create_task(press(replicas[0]))
    await asked.wait()
    try:
        with pytest.raises(CheckoutRunning):
            await asyncio.wait_for(press(replicas[1]), 10)
    finally:
        announced.set()
    assert (await first).status == "open"
    assert await attempts_of(driver) == ["open"]
