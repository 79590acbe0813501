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


async def prepare(shop) -> Case:
    courses = [await shop.sell() for _ in range(5)]
    expired = await shop.order(courses[0])
    late = await transfer(shop, expired)
    await shop.later(days=3)
    await shop.status(late, "cancelled")
    await shop.run(expire_orders)
    shop.clock.advance(seconds=1)
    await shop.status(late, "processed")  # from where it can be guaranteed
    shop.clock.advance(seconds=1)
    paid, _ = await delivered(shop, courses[1])
    disputed, _ = await delivered(shop, courses[2])
    case = (await dispute(shop, disputed)).json()
    being_paid = await shop.order(courses[0], courses[3])
    session_id = await shop.open_session(being_paid)
    payment = shop.sandbox.pay(session_id, first_name="A", last_name="B", method="card")
    async with shop.learner() as own:
        await own.put(f"/v1/basket/items/{courses[4]}")
    late = shop.sandbox.payment(late)
    return Case(paid, disputed, case["dispute_id"], being_paid, payment, late, courses[4])


async def say(shop, record, status):
    data = {name: value for name, value in record.items() if name not in {"plan", "history"}} | {"status": status}
    event = {"event_type": status, "event_date": shop.clock().isoformat(), "event_resource": "payments"}
    return await shop.callback(json.dumps(event | {"data": data}).encode())


async def test_no_two_commands_on_one_learner_harm_each_other(live_shop, superuser):
    shop = live_shop
    own = shop.learner()

    def line(order):
        return f"/v1/orders/{order['order_id']}/lines/{order['lines'][0]['order_line_id']}"

    async def grant(one):
        async with shop.service.client("finance") as finance:
            return await finance.post(f"{line(one.paid)}/granted-refund", json={"reason_code": "goodwill"})

    def refuse(one):
        announced = one.paid["lines"][0]
        return shop.consume(
            ActivationRefused(
                order_id=UUID(one.paid["order_id"]),
                order_line_id=UUID(announced["order_line_id"]),
                learner_id=shop.learner_id,
                course_id=UUID(announced["course_id"]),
                reason_code="course_withdrawn",
                refused_at=shop.clock(),
            )
        )

    commands = {
        "put into the basket": lambda one: own.put(f"/v1/basket/items/{one.course}"),
        "take from the basket": lambda one: own.delete(f"/v1/basket/items/{one.course}"),
        "place order": lambda _: own.post("/v1/orders"),
        "cancel": lambda one: shop.cancel(one.open, key=str(new_id())),
        "checkout": lambda one: shop.checkout(one.open, payer={"email": "charles@example.org"}),
        "receive payment": lambda one: say(shop, one.payment, "guaranteed"),
        "receive late payment": lambda one: say(shop, one.late, "guaranteed"),
        "refund": lambda one: shop.refund(one.paid),
        "grant refund": grant,
        "open dispute": lambda one: dispute(shop, one.paid),
        "lose dispute": lambda one: close(shop, one.dispute_id, "lost"),
        "refuse activation": refuse,
        "erase": lambda _: shop.consume(LearnerAnonymised(learner_id=shop.learner_id, anonymised_at=shop.clock())),
    }
    assert await Pairs(shop.service, Base, superuser, await prepare(shop), commands).faults() == []
