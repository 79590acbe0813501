"""The fast path to an order against the ordinary one, which is its oracle: the same baskets, the same everything."""

import asyncio
import json
import random
import re
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, text, update

from payments.api.orders import place_order_fast, router
from payments.commands import fast_orders
from payments.tables import BasketItem, BegunEnrolment, EndedEnrolment, Learner, Order, OrderLine, Price, RatifiedResult
from shared.database import advisory_lock
from shared.idempotency import Asked, StoredReply
from shared.ids import new_id
from shared.messaging.fast_path import Fallback
from shared.web.routing import Operation

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{16}")


@pytest.fixture
def ways():
    """Sets which way is open, and counts the orders that took the fast path."""
    [route] = [route for route in router.routes if isinstance(route, Operation) and route.operation_id == "place_order"]
    placed = []

    async def counted(call):
        response = await place_order_fast(call)
        placed.append(response)
        return response

    def open_only(*, fast_path):
        route.fast_path = counted if fast_path else None
        return placed

    yield open_only
    route.fast_path = place_order_fast


def without_ids(document, *, keep=()):
    """Two of the same, distinguished by nothing but ids made for each."""
    kept = {str(one) for one in keep}
    names = {}
    return ID.sub(
        lambda found: found[0] if found[0] in kept else names.setdefault(found[0], f"#{len(names)}"), document
    )


async def state(driver, learner_id, courses):
    """Everything that an order leaves behind, of one learner."""
    statements = {
        "orders": "select to_jsonb(o) from orders o where learner_id = :id and status = 'placed' order by order_id",
        "lines": "select to_jsonb(l) from order_lines l join orders using (order_id) where learner_id = :id and status = 'placed' "
        "order by order_id, position",
        "basket": "select to_jsonb(b) from basket_items b where learner_id = :id order by course_id",
        "outbox": "select body::jsonb - 'time' - 'traceparent' from outbox "
        "where type = 'payments.order.placed.v1' and body::jsonb->'data'->>'learner_id' = :id::text order by position",
        "replies": "select status, headers, encode(request_digest, 'hex'), convert_from(body, 'utf8')::jsonb "
        "from idempotency_keys where caller = :id::text order by key",
    }
    found = {}
    for name, statement in statements.items():
        bound = text(statement.replace(":id::text", "cast(:id as text)"))
        rows = await driver.session.execute(
            bound, {"id": str(learner_id)} if ":id::text" in statement else {"id": learner_id}
        )
        found[name] = [list(row) for row in rows]
    return json.loads(without_ids(json.dumps(found, default=str, sort_keys=True), keep=courses))


async def already_bought(driver, course_id, *, given_back, ended, lost, passed):
    """`lost`: the money is gone again: not at all, so that it can be paid again, or too long ago for that."""
    order, reference = await driver.buy(course_id)
    if lost != "no" and not given_back:
        await driver.status(reference, "cancelled")
    if lost == "long ago":
        this = Order.order_id == UUID(order["order_id"])
        await driver.session.execute(update(Order).where(this).values(expires_at=driver.clock() - timedelta(days=1)))
    if given_back:
        assert (await driver.refund(order)).status_code == 201
    if passed:
        line = await driver.session.get_one(OrderLine, UUID(order["lines"][0]["order_line_id"]))
        line.enrolment_id = new_id()
        driver.session.add(RatifiedResult(enrolment_id=line.enrolment_id, passed=True))
        await driver.session.flush()
    if ended:
        line = await driver.session.get_one(OrderLine, UUID(order["lines"][0]["order_line_id"]))
        line.enrolment_id = line.enrolment_id or new_id()
        driver.session.add(
            EndedEnrolment(
                enrolment_id=line.enrolment_id,
                learner_id=driver.learner_id,
                course_id=course_id,
                ended_at=driver.clock(),
            )
        )
        await driver.session.flush()


async def begun_elsewhere(driver, course_id, *, ended, passed):
    """An enrolment for an order that a database which was put back has forgotten."""
    enrolment_id, ids = new_id(), {"learner_id": driver.learner_id, "course_id": course_id}
    begun = BegunEnrolment(
        enrolment_id=enrolment_id, order_id=new_id(), order_line_id=new_id(), begun_at=driver.clock(), **ids
    )
    driver.session.add(begun)
    if ended:
        driver.session.add(EndedEnrolment(enrolment_id=enrolment_id, **ids, ended_at=driver.clock()))
    if passed:
        driver.session.add(RatifiedResult(enrolment_id=enrolment_id, passed=True))
    await driver.session.flush()


async def furnish(driver, chance):
    """Courses in every state there is: on sale, dearer since or soon, free, without a price, in dollars, withdrawn,
    not known."""
    courses = []
    for kind in chance.sample(KINDS, chance.randint(1, 4)):
        course_id = new_id() if kind == "unknown" else await driver.sell(chance.randint(1, 99999), f"Course {kind}")
        if kind == "dearer":
            await driver.price(course_id, 100_000, driver.clock() - timedelta(days=1))
        if kind == "dearer soon":
            await driver.price(course_id, 100_000, driver.clock() + timedelta(days=1))
        if kind == "own":
            await driver.price(course_id, 100, driver.clock(), by=driver.learner_id)
        if kind == "free":
            await driver.price(course_id, 0, driver.clock())
        if kind == "unpriced":
            await driver.session.execute(delete(Price).where(Price.course_id == course_id))
        if kind == "dollars":
            await driver.session.execute(update(Price).where(Price.course_id == course_id).values(currency="USD"))
        courses.append((kind, course_id))
    return courses


LOST = ["no", "no", "lately", "long ago"]
KINDS = [
    *["plain"] * 12,
    "dearer",
    "dearer soon",
    "dearer",
    "own",
    "free",
    "unpriced",
    "dollars",
    "withdrawn",
    "unknown",
]


@pytest.mark.parametrize("seed", range(60))
async def test_both_ways_leave_and_answer_the_same(driver, ways, seed):
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    courses = await furnish(driver, chance)
    ids = [course_id for _, course_id in courses]
    position = chance.choices(["registered", "unregistered", "anonymised"], [14, 1, 1])[0]
    past = [
        {
            "course_id": course_id,
            "given_back": chance.random() < 0.5,
            "ended": chance.random() < 0.7,
            "lost": chance.choice(LOST),
            "passed": chance.random() < 0.2,
        }
        for kind, course_id in courses
        if kind in {"plain", "dearer"} and position == "registered" and chance.random() < 0.4
    ]
    also = random.Random(seed)  # noqa: S311 - as above
    elsewhere = [
        {"course_id": course_id, "ended": also.random() < 0.7, "passed": also.random() < 0.2}
        for course_id in ids
        if also.random() < 0.2
    ]
    basket = [course_id for course_id in ids if chance.random() < 0.9]
    body = chance.choice(
        [None, {}, {"course_ids": None}, {"course_ids": [str(one) for one in chance.choices(ids, k=2)]}]
    )

    answers, states, placed = [], [], ways(fast_path=True)
    learners = [new_id(), new_id()]
    for driver.learner_id in learners:
        for one in past:
            await already_bought(driver, **one)
        for one in elsewhere:
            await begun_elsewhere(driver, **one)
        if position != "unregistered":
            await driver.register()
        if position == "anonymised":
            await driver.session.execute(
                update(Learner).where(Learner.learner_id == driver.learner_id).values(anonymised_at=driver.clock())
            )
        await driver.session.execute(delete(BasketItem).where(BasketItem.learner_id == driver.learner_id))
        for place, course_id in enumerate(basket):
            driver.session.add(
                BasketItem(
                    learner_id=driver.learner_id,
                    course_id=course_id,
                    added_at=driver.clock() - timedelta(minutes=place // 2),
                )
            )
        await driver.session.flush()
    for kind, course_id in courses:
        if kind == "withdrawn":
            await driver.withdraw(course_id)

    placed.clear()
    for driver.learner_id, fast_path in zip(learners, (True, False), strict=True):
        ways(fast_path=fast_path)
        async with driver.learner() as client:
            answer = await client.post("/v1/orders", json=body, headers={"Idempotency-Key": "one"})
            repeat = await client.post("/v1/orders", json=body, headers={"Idempotency-Key": "one"})
        assert repeat.json() == answer.json() or "request_id" in answer.json()
        announced = {name: answer.headers.get(name) for name in ("content-type", "cache-control", "location")}
        answers.append(json.loads(without_ids(json.dumps([answer.status_code, answer.json(), announced]), keep=ids)))
        states.append(await state(driver, driver.learner_id, ids))
    assert answers[0] == answers[1]
    assert states[0] == states[1]
    assert len(placed) == (answers[0][0] == 201)  # whatever can be ordered takes the fast path, and nothing else


async def test_who_is_at_the_basket_goes_first(live_driver):
    """An order drawn up from a basket that another has emptied, or is at, is not placed."""
    driver = live_driver
    course_id = await driver.sell()
    await driver.register()
    database = driver.service.process.database
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")

        order, lines = await fast_orders.draw_up_order(database, driver.learner_id, None)
        async with database.transaction() as other:
            await advisory_lock(other, "basket", driver.learner_id)
            with pytest.raises(Fallback):
                await fast_orders.place_order(database, order, lines, reply("busy"))
        async with database.transaction() as other:
            await other.execute(delete(BasketItem).where(BasketItem.learner_id == driver.learner_id))
            await other.flush()
            placing = asyncio.create_task(fast_orders.place_order(database, order, lines, reply("emptied")))
            await asyncio.sleep(0.2)
            assert not placing.done()  # it waits for what becomes of the basket
        with pytest.raises(Fallback):
            await placing
        assert (await client.get("/v1/orders")).json()["items"] == []

        await client.put(f"/v1/basket/items/{course_id}")
        order, lines = await fast_orders.draw_up_order(database, driver.learner_id, None)
        await fast_orders.place_order(database, order, lines, reply("placed"))
        [placed] = (await client.get("/v1/orders")).json()["items"]
        assert placed["order_id"] == str(order.order_id)
        assert (await client.get("/v1/basket")).json()["items"] == []


def reply(key):
    return StoredReply(Asked("somebody", "place_order", key, b""), 201, {}, b"{}")
