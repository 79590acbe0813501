"""An enrolment bars a second sale of its course also where this database has forgotten what was paid for it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text, update

from payments.handlers import inbox
from payments.tables import BasketItem, Confirmation, ContestedCredit, EndedEnrolment, Order, OrderLine, RatifiedResult
from shared.events.enrolment import EnrolmentActivated, EnrolmentCancelled, EnrolmentFailed
from shared.ids import new_id
from shared.messaging.message import envelope
from shared.messaging.receiver import Receiver
from shared.messaging.retrying import RetryPolicy
from shared.messaging.tables import Retry

from .enrolments import activated


def opened(driver, course_id, **changes) -> EnrolmentActivated:
    """An activation for an order that is not in this database."""
    values: dict[str, Any] = {
        "enrolment_id": new_id(),
        "learner_id": driver.learner_id,
        "course_id": course_id,
        "course_version_id": new_id(),
        "order_id": new_id(),
        "order_line_id": new_id(),
        "regulations_version": "mc-regs-2026.2",
        "activated_at": driver.clock(),
    }
    return EnrolmentActivated(**(values | changes))


def cancelled(begun) -> EnrolmentCancelled:
    return EnrolmentCancelled(
        enrolment_id=begun.enrolment_id,
        learner_id=begun.learner_id,
        course_id=begun.course_id,
        reason_code="withdrawn",
        sequence=2,
        cancelled_at=begun.activated_at,
    )


async def ordering(driver, course_id):
    """The code with which an order is refused, or its status."""
    await driver.register()
    async with driver.learner() as client:
        (await client.put(f"/v1/basket/items/{course_id}")).raise_for_status()
        answer = (await client.post("/v1/orders", json={"course_ids": [str(course_id)]})).json()
    return answer.get("code", answer["status"])


async def know(driver, begun) -> None:
    await inbox.store_facts(driver.session, begun)
    await driver.session.flush()


async def test_an_activation_that_waits_for_its_order_line_bars_the_sale_at_once(live_driver):
    driver = live_driver
    database = driver.service.process.database
    receiver = Receiver(inbox, database, RetryPolicy(waiting_seconds=0.01))
    course_id = await driver.sell()
    begun = opened(driver, course_id)

    async def arrives(event):
        told: dict[str, Any] = {
            "id": new_id(),
            "time": driver.clock(),
            "traceparent": None,
            "request_id": None,
            "causation": None,
        }
        await receiver.take([envelope(event, **told).encode()])

    await arrives(begun)
    await asyncio.sleep(0.1)
    assert await receiver.retry_one()
    async with database.transaction() as session:
        [waits] = (await session.scalars(select(Retry))).all()
        assert (waits.waiting, "is not known" in waits.last_error) == (True, True), "it still waits, for people to see"
    assert await ordering(driver, course_id) == "already_bought"
    async with database.transaction() as session:
        await session.execute(update(Retry).values(due_at=text("now() + interval '1 day'")))
    await arrives(cancelled(begun))
    assert await ordering(driver, course_id) == "placed"


async def test_it_bars_until_it_has_ended_or_failed_and_for_good_once_it_was_passed(driver):
    course_id = await driver.sell()
    begun = opened(driver, course_id)
    await know(driver, begun)
    await know(driver, opened(driver, course_id, learner_id=new_id()))
    assert await ordering(driver, course_id) == "already_bought"
    assert await ordering(driver, await driver.sell()) == "placed", "another course is sold"

    failed: dict[str, Any] = {"learner_id": begun.learner_id, "course_id": course_id, "failed_at": driver.clock()}
    await driver.consume(EnrolmentFailed(enrolment_id=begun.enrolment_id, **failed))
    driver.session.add(RatifiedResult(enrolment_id=begun.enrolment_id, passed=True))
    await driver.session.flush()
    assert await ordering(driver, course_id) == "already_bought"
    credit: dict[str, Any] = {"credit_id": new_id(), "enrolment_id": begun.enrolment_id, "revision": 1}
    driver.session.add(ContestedCredit(revoked=True, **credit))
    await driver.session.flush()
    assert await ordering(driver, course_id) == "placed"


async def test_no_checkout_opens_and_a_payment_that_comes_all_the_same_goes_back(driver):
    course_id = await driver.sell()
    order = await driver.order(course_id)
    session_id = await driver.open_session(order)
    await know(driver, opened(driver, course_id))
    answer = await driver.checkout(order, payer={"email": "grace@example.org"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_bought")
    await driver.pay(session_id)
    [returned] = (await driver.read(order))["returned"]
    assert returned["reason_code"] == "already_bought"


@pytest.mark.parametrize("late", [False, True])
async def test_an_order_whose_payment_alone_is_forgotten_is_not_paid_twice_and_takes_its_own_payment(driver, late):
    """Its copy was made between order and payment: enrolment has opened it, and the provider's list has the payment."""
    course_id = await driver.sell()
    order = await driver.order(course_id)
    session_id = await driver.open_session(order)
    await driver.consume(activated(order, learner_id=driver.learner_id))
    answer = await driver.checkout(order, payer={"email": "grace@example.org"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_bought")
    if late:
        this = Order.order_id == UUID(order["order_id"])
        values = {"status": "expired", "expires_at": driver.clock() - timedelta(days=1)}
        await driver.session.execute(update(Order).where(this).values(values))
        assert await ordering(driver, course_id) == "already_bought"
        await driver.session.execute(delete(BasketItem))
    await driver.pay(session_id)
    assert (await driver.read(order))["status"] == "paid"


async def test_of_what_was_paid_here_the_lines_decide(driver):
    """A line that is being given back is sold again before enrolment has ended it."""
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    await driver.consume(activated(order, learner_id=driver.learner_id))
    assert await ordering(driver, course_id) == "already_bought"
    assert (await driver.refund(order)).status_code == 201
    assert await ordering(driver, course_id) == "placed"


async def test_an_enrolment_that_took_anothers_place_in_a_line_bars_too(driver):
    """Enrolment had lost the first one with its history; the line was paid here, and that one has ended."""
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    first = activated(order, learner_id=driver.learner_id)
    await driver.consume(first, cancelled(first))
    assert (await driver.session.scalars(select(EndedEnrolment.enrolment_id))).all() == [first.enrolment_id]
    line = await driver.session.get_one(OrderLine, first.order_line_id)
    assert await driver.session.get(Confirmation, line.order_id)
    await know(driver, activated(order, learner_id=driver.learner_id))
    assert await ordering(driver, course_id) == "already_bought"
