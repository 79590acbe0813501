"""What is left of somebody who is anonymised: orders, refunds and the books, and nothing that says who it was."""

import asyncio

import pytest
from sqlalchemy import func, select, text

from payments.commands.erasure import erase_payer
from payments.jobs import close_checkouts, follow_refunds, forget_bodies, submit_refunds
from payments.tables import BasketItem, CheckoutAttempt, Entry, Learner, Notification, Order, Posting
from shared.events.enrolment import LearnerAnonymised
from shared.events.payments import (
    OrderExpired,
    PaymentConfirmed,
    RefundCompleted,
    RefundRequested,
)
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.messaging.tables import QueuedEmail


def anonymised(driver, learner_id=None):
    return LearnerAnonymised(learner_id=learner_id or driver.learner_id, anonymised_at=driver.clock())


async def count(driver, table):
    return await driver.session.scalar(select(func.count()).select_from(table))


async def bodies(driver):
    return (await driver.session.scalars(select(Notification.body))).all()


async def everything(driver) -> str:
    """All rows of the service's tables as text."""
    names = await driver.session.scalars(text("select tablename from pg_tables where schemaname = 'public'"))
    rows = [
        await driver.session.scalar(text(f"select string_agg(row_to_json(t)::text, '') from {name} t"))
        for name in names.all()
    ]
    return "".join(filter(None, rows))


async def test_addresses_basket_and_raw_callbacks_go_and_the_books_stay(driver):
    order, _ = await driver.buy(await driver.sell())
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{await driver.sell()}")
    books = await count(driver, Posting), await count(driver, Entry)
    assert "ada@example.org" in await everything(driver)
    assert any(await bodies(driver))

    await driver.session.execute(text("delete from idempotency_keys"))  # as they go after a day
    await driver.consume(anonymised(driver))
    assert "ada@example.org" not in await everything(driver)
    assert not any(await bodies(driver))
    assert await count(driver, BasketItem) == 0
    assert (await count(driver, Posting), await count(driver, Entry)) == books
    assert await driver.read(order) == order


async def test_nothing_of_others_is_touched(driver):
    stranger = new_id()
    await driver.register(stranger)
    await driver.buy(await driver.sell())
    await driver.consume(anonymised(driver, stranger))
    await driver.run(forget_bodies)
    assert all(await bodies(driver))
    assert await count(driver, QueuedEmail)
    assert (await driver.session.scalars(select(Order.payer_email))).all() == ["ada@example.org"]


async def test_an_order_nobody_will_pay_expires_once_and_its_checkout_is_closed(driver):
    order = await driver.order(await driver.sell())
    await driver.open_session(order)
    for _ in range(3):
        await driver.consume(anonymised(driver))
    assert [str(event.order_id) for event in await driver.announced(OrderExpired)] == [order["order_id"]]
    assert (await driver.read(order))["status"] == "expired"
    await driver.run(close_checkouts)
    assert (await driver.session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
    assert (await driver.checkout(order)).json()["code"] == "order_expired"


async def test_what_was_paid_too_little_goes_back_at_once(driver):
    order = await driver.order(await driver.sell(), await driver.sell())
    await driver.pay(await driver.open_session(order), amount=49500)
    await driver.consume(anonymised(driver))
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")
    assert (await driver.read(order))["status"] == "expired"


async def test_money_that_still_comes_goes_back_and_buys_nothing(driver):
    order = await driver.order(await driver.sell())
    session_id = await driver.open_session(order)
    await driver.consume(anonymised(driver))
    await driver.pay(session_id)
    assert await driver.announced(PaymentConfirmed) == []
    (refund,) = await driver.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "late_payment")


async def test_a_refund_under_way_is_paid_and_nobody_is_written_to(driver):
    order, _ = await driver.buy(await driver.sell())
    await driver.refund(order)
    assert await count(driver, QueuedEmail)
    await driver.consume(anonymised(driver))
    for _ in range(2):
        await driver.later(seconds=1)
    await driver.run(submit_refunds)
    for _ in range(2):
        await driver.later(seconds=1)
    await driver.run(follow_refunds)
    assert len(await driver.announced(RefundCompleted)) == 1
    assert await count(driver, QueuedEmail) == 0


async def test_callbacks_that_come_afterwards_are_applied_and_then_forgotten(driver):
    order, reference = await driver.buy(await driver.sell())
    await driver.consume(anonymised(driver))
    await driver.status(reference, "guaranteed")
    assert not any(await bodies(driver))
    assert (await driver.read(order))["status"] == "paid"


async def test_nothing_can_be_ordered_any_more(driver):
    course_id = await driver.sell()
    await driver.register()
    await driver.consume(anonymised(driver))
    await driver.register()  # handled a second time, it changes nothing
    async with driver.learner() as client:
        put = await client.put(f"/v1/basket/items/{course_id}")
        ordered = await client.post("/v1/orders")
    for answer in (put, ordered):
        assert (answer.status_code, answer.json()["code"]) == (409, "registration_needed")
    assert await count(driver, BasketItem) == 0


async def test_an_erasure_that_overtakes_the_registration_waits(driver):
    with pytest.raises(RetryLater):
        await erase_payer(driver.session, driver.learner_id, driver.clock())
    await driver.register()
    await driver.consume(anonymised(driver))
    assert (await driver.session.get_one(Learner, driver.learner_id)).anonymised_at == driver.clock()


async def test_an_order_placed_at_that_very_moment_is_not_left_open(live_driver):
    driver = live_driver
    await driver.register()
    course_ids = [await driver.sell() for _ in range(4)]
    async with driver.learner() as client:
        for course_id in course_ids:
            await client.put(f"/v1/basket/items/{course_id}")
        bodies = [{"course_ids": [str(course_id)]} for course_id in course_ids]
        placing = asyncio.gather(*(client.post("/v1/orders", json=body) for body in bodies))
        answers, _ = await asyncio.gather(placing, driver.consume(anonymised(driver)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    async with driver.service.process.database.transaction() as session:
        assert set(await session.scalars(select(Order.status))) <= {"expired"}
