"""Every two commands on one learner at once."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from payments.jobs import expire_orders
from payments.tables import Base
from shared.events.enrolment import ActivationRefused, LearnerAnonymised
from shared.ids import new_id
from shared.testing.pairs import Pairs

from .disputes import close, delivered, dispute
from .orders import transfer

pytestmark = pytest.mark.slow


@dataclass
class Case:
    paid: dict[str, Any]
    disputed: dict[str, Any]
    dispute_id: str
    open: dict[str, Any]
    """An order that is being paid, of what the late one is of and of another course."""
    payment: dict[str, Any]
    """Of the open order; we do not know of it."""
    late: dict[str, Any]
    """Of an order that has expired."""
    course: UUID
    """In the basket."""


async def prepare(driver) -> Case:
    courses = [await driver.sell() for _ in range(5)]
    expired = await driver.order(courses[0])
    late = await transfer(driver, expired)
    await driver.later(days=3)
    await driver.status(late, "cancelled")
    await driver.run(expire_orders)
    driver.clock.advance(seconds=1)
    await driver.status(late, "processed")  # from where it can be guaranteed
    driver.clock.advance(seconds=1)
    paid, _ = await delivered(driver, courses[1])
    disputed, _ = await delivered(driver, courses[2])
    case = (await dispute(driver, disputed)).json()
    being_paid = await driver.order(courses[0], courses[3])
    session_id = await driver.open_session(being_paid)
    payment = driver.sandbox.pay(session_id, first_name="A", last_name="B", method="card")
    async with driver.learner() as own:
        await own.put(f"/v1/basket/items/{courses[4]}")
    late = driver.sandbox.payment(late)
    return Case(paid, disputed, case["dispute_id"], being_paid, payment, late, courses[4])


async def say(driver, record, status):
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": driver.clock().isoformat(), "event_resource": "payments"}
    return await driver.callback(json.dumps(event | {"data": data}).encode())


async def test_no_two_commands_on_one_learner_harm_each_other(live_driver, superuser):
    driver = live_driver
    own = driver.learner()

    def line(order):
        return f"/v1/orders/{order['order_id']}/lines/{order['lines'][0]['order_line_id']}"

    async def grant(one):
        async with driver.service.client("finance") as finance:
            return await finance.post(f"{line(one.paid)}/granted-refund", json={"reason_code": "goodwill"})

    def refuse(one):
        announced = one.paid["lines"][0]
        return driver.consume(
            ActivationRefused(
                order_id=UUID(one.paid["order_id"]),
                order_line_id=UUID(announced["order_line_id"]),
                learner_id=driver.learner_id,
                course_id=UUID(announced["course_id"]),
                reason_code="course_withdrawn",
                refused_at=driver.clock(),
            )
        )

    commands = {
        "put into the basket": lambda one: own.put(f"/v1/basket/items/{one.course}"),
        "take from the basket": lambda one: own.delete(f"/v1/basket/items/{one.course}"),
        "place order": lambda _: own.post("/v1/orders"),
        "cancel": lambda one: driver.cancel(one.open, key=str(new_id())),
        "checkout": lambda one: driver.checkout(one.open, payer={"email": "charles@example.org"}),
        "receive payment": lambda one: say(driver, one.payment, "guaranteed"),
        "receive late payment": lambda one: say(driver, one.late, "guaranteed"),
        "refund": lambda one: driver.refund(one.paid),
        "grant refund": grant,
        "open dispute": lambda one: dispute(driver, one.paid),
        "lose dispute": lambda one: close(driver, one.dispute_id, "lost"),
        "refuse activation": refuse,
        "erase": lambda _: driver.consume(
            LearnerAnonymised(learner_id=driver.learner_id, anonymised_at=driver.clock())
        ),
    }
    assert await Pairs(driver.service, Base, superuser, await prepare(driver), commands).faults() == []
