"""What is left of somebody who is anonymised: orders, refunds and the books, and nothing that tells who it was."""

import asyncio

import pytest
from sqlalchemy import func, select, text

from payments.commands.erasure import forget_payer
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


def anonymised(shop, learner_id=None):
    return LearnerAnonymised(learner_id=learner_id or shop.learner_id, anonymised_at=shop.clock())


async def count(shop, table):
    return await shop.session.scalar(select(func.count()).select_from(table))


async def bodies(shop):
    return (await shop.session.scalars(select(Notification.body))).all()


async def everything(shop) -> str:
    """All rows of the service's tables as text."""
    names = await shop.session.scalars(text("select tablename from pg_tables where schemaname = 'public'"))
    rows = [
        await shop.session.scalar(text(f"select string_agg(row_to_json(t)::text, '') from {name} t"))
        for name in names.all()
    ]
    return "".join(filter(None, rows))


async def test_addresses_basket_and_raw_callbacks_go_and_the_books_stay(shop):
    order, _ = await shop.buy(await shop.sell())
    async with shop.learner() as client:
        await client.put(f"/v1/basket/items/{await shop.sell()}")
    books = await count(shop, Posting), await count(shop, Entry)
    assert "ada@example.org" in await everything(shop)
    assert any(await bodies(shop))

    await shop.session.execute(text("delete from idempotency_keys"))  # as they go after a day
    await shop.consume(anonymised(shop))
    assert "ada@example.org" not in await everything(shop)
    assert not any(await bodies(shop))
    assert await count(shop, BasketItem) == 0
    assert (await count(shop, Posting), await count(shop, Entry)) == books
    assert await shop.read(order) == order


async def test_nothing_of_others_is_touched(shop):
    stranger = new_id()
    await shop.register(stranger)
    await shop.buy(await shop.sell())
    await shop.consume(anonymised(shop, stranger))
    await shop.run(forget_bodies)
    assert all(await bodies(shop))
    assert await count(shop, QueuedEmail)
    assert (await shop.session.scalars(select(Order.payer_email))).all() == ["ada@example.org"]


async def test_an_order_nobody_will_pay_expires_once_and_its_checkout_is_closed(shop):
    order = await shop.order(await shop.sell())
    await shop.open_session(order)
    for _ in range(3):
        await shop.consume(anonymised(shop))
    assert [str(event.order_id) for event in await shop.announced(OrderExpired)] == [order["order_id"]]
    assert (await shop.read(order))["status"] == "expired"
    await shop.run(close_checkouts)
    assert (await shop.session.scalars(select(CheckoutAttempt.status))).all() == ["closed"]
    assert (await shop.checkout(order)).json()["code"] == "order_expired"


async def test_what_was_paid_too_little_goes_back_at_once(shop):
    order = await shop.order(await shop.sell(), await shop.sell())
    await shop.pay(await shop.open_session(order), amount=49500)
    await shop.consume(anonymised(shop))
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "underpaid")
    assert (await shop.read(order))["status"] == "expired"


async def test_money_that_still_comes_goes_back_and_buys_nothing(shop):
    order = await shop.order(await shop.sell())
    session_id = await shop.open_session(order)
    await shop.consume(anonymised(shop))
    await shop.pay(session_id)
    assert await shop.announced(PaymentConfirmed) == []
    (refund,) = await shop.announced(RefundRequested)
    assert (refund.amount_minor, refund.reason_code) == (49500, "late_payment")


async def test_a_refund_under_way_is_paid_and_nobody_is_written_to(shop):
    order, _ = await shop.buy(await shop.sell())
    await shop.refund(order)
    assert await count(shop, QueuedEmail)
    await shop.consume(anonymised(shop))
    for _ in range(2):
        await shop.later(seconds=1)
    await shop.run(submit_refunds)
    for _ in range(2):
        await shop.later(seconds=1)
    await shop.run(follow_refunds)
    assert len(await shop.announced(RefundCompleted)) == 1
    assert await count(shop, QueuedEmail) == 0


async def test_callbacks_that_come_afterwards_are_applied_and_then_forgotten(shop):
    order, reference = await shop.buy(await shop.sell())
    await shop.consume(anonymised(shop))
    await shop.status(reference, "guaranteed")
    assert not any(await bodies(shop))
    assert (await shop.read(order))["status"] == "paid"


async def test_nothing_can_be_ordered_any_more(shop):
    course_id = await shop.sell()
    await shop.register()
    await shop.consume(anonymised(shop))
    await shop.register()  # handled a second time, it changes nothing
    async with shop.learner() as client:
        put = await client.put(f"/v1/basket/items/{course_id}")
        ordered = await client.post("/v1/orders")
    for answer in (put, ordered):
        assert (answer.status_code, answer.json()["code"]) == (409, "registration_needed")
    assert await count(shop, BasketItem) == 0


async def test_an_erasure_that_overtakes_the_registration_waits(shop):
    with pytest.raises(RetryLater):
        await forget_payer(shop.session, shop.learner_id, shop.clock())
    await shop.register()
    await shop.consume(anonymised(shop))
    assert (await shop.session.get_one(Learner, shop.learner_id)).anonymised_at == shop.clock()


async def test_an_order_placed_at_that_very_moment_is_not_left_open(live_shop):
    shop = live_shop
    await shop.register()
    course_ids = [await shop.sell() for _ in range(4)]
    async with shop.learner() as client:
        for course_id in course_ids:
            await client.put(f"/v1/basket/items/{course_id}")
        bodies = [{"course_ids": [str(course_id)]} for course_id in course_ids]
        placing = asyncio.gather(*(client.post("/v1/orders", json=body) for body in bodies))
        answers, _ = await asyncio.gather(placing, shop.consume(anonymised(shop)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    async with shop.service.process.database.transaction() as session:
        assert set(await session.scalars(select(Order.status))) <= {"expired"}
