"""What payments makes of others' events, in any order and any number of times."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from payments.handlers import AnotherActivation, inbox
from payments.tables import OfferedCourse, OrderLine
from shared.events import registry
from shared.events.assessment import CreditReinstated, CreditRevoked
from shared.events.catalogue import CoursePublished, CourseUpdated, CourseWithdrawn, PriceChanged
from shared.events.enrolment import ActivationRefused, EnrolmentCancelled, EnrolmentFailed
from shared.events.payments import PaymentConfirmed, RefundRequested
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.testing.services import published

from .enrolments import AT, activated


def course(course_id: UUID, version: int, published_at: datetime = AT) -> CoursePublished:
    kind = CoursePublished if version == 1 else CourseUpdated
    return kind(
        course_id=course_id,
        course_version_id=new_id(),
        version=version,
        slug="inference",
        code="DS01",
        title=f"Inference {version}",
        description="",
        subject_id=new_id(),
        subject_name="Data Science",
        institution_id=new_id(),
        institution_name="Birkbeck",
        credits=15,
        level=7,
        module_family="DS01",
        weeks=10,
        criteria="",
        published_at=published_at,
    )


def test_the_inbox_consumes_what_the_contracts_say():
    assert inbox.types == {name for name, kind in registry().items() if "payments" in kind.consumers}


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_course_in_any_order_of_its_events_is_the_same(driver, order):
    course_id = new_id()
    events = [
        course(course_id, 1),
        course(course_id, 2),
        PriceChanged(course_id=course_id, price_id=new_id(), amount_minor=49500, currency="GBP", valid_from=AT),
        CourseWithdrawn(course_id=course_id, withdrawn_at=AT),
    ]
    for _ in range(2):
        await driver.consume(*(events[n] for n in order))
    offered = await driver.session.get(OfferedCourse, course_id, populate_existing=True)
    assert (offered.version, offered.title, offered.withdrawn_at) == (2, "Inference 2", AT)
    async with driver.learner() as client:
        assert (await client.put(f"/v1/basket/items/{course_id}")).json()["code"] == "course_not_on_sale"


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_what_a_catalogue_publishes_after_it_lost_history_is_sold_and_not_what_was_lost(driver, order):
    """Versions 2 and 3 were lost; then another version 2 was published."""
    course_id = new_id()
    anew = course(course_id, 2, AT + timedelta(days=3))
    lost = [course(course_id, version, AT + timedelta(days=version - 1)) for version in (2, 3)]
    events = [course(course_id, 1), *lost, anew]
    for _ in range(2):
        await driver.consume(*(events[n] for n in order))
    offered = await driver.session.get(OfferedCourse, course_id, populate_existing=True)
    assert (offered.course_version_id, offered.version) == (anew.course_version_id, 2)


async def test_a_version_stored_by_a_release_that_kept_no_date_gives_way_to_the_same_number(driver):
    course_id = new_id()
    await driver.consume(course(course_id, 2))
    await driver.session.execute(update(OfferedCourse).values(published_at=None))
    anew = course(course_id, 2, AT + timedelta(days=1))
    await driver.consume(course(course_id, 1), anew)
    offered = await driver.session.get(OfferedCourse, course_id, populate_existing=True)
    assert offered.course_version_id == anew.course_version_id


async def test_the_price_is_the_one_that_began_last(driver):
    course_id = await driver.sell(49500)
    await driver.price(course_id, 59500, driver.clock() + timedelta(days=1))
    await driver.price(course_id, 39500, driver.clock() - timedelta(days=30))
    for days, price in ((0, 39500), (1, 59500)):
        driver.clock.advance(days=days)
        async with driver.learner() as client:
            basket = (await client.put(f"/v1/basket/items/{course_id}")).json()
        assert basket["items"][0]["price"]["amount_minor"] == price


async def test_access_that_came_later_prolongs_the_cooling_off_period(driver):
    driver.clock.at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    order, _ = await driver.buy(await driver.sell())
    later = datetime(2026, 11, 4, 10, tzinfo=UTC)
    await driver.consume(activated(order, activated_at=later))
    line = (await driver.read(order))["lines"][0]
    assert (line["access_at"], line["refundable_until"]) == ("2026-11-04T10:00:00Z", "2026-11-19T00:00:00Z")


async def test_an_order_line_is_activated_once_and_another_enrolment_of_it_is_for_a_person(driver):
    order, _ = await driver.buy(await driver.sell())
    first = activated(order)
    await driver.consume(first, first)
    with pytest.raises(AnotherActivation, match=str(first.enrolment_id)):
        await driver.consume(activated(order))


async def test_events_about_orders_we_do_not_know_wait(driver):
    line = {name: str(new_id()) for name in ("course_id", "course_version_id", "order_line_id")}
    order = {"order_id": str(new_id()), "lines": [line]}
    with pytest.raises(RetryLater):
        await driver.consume(activated(order))
    with pytest.raises(RetryLater):
        await driver.consume(refused(order))


def refused(order, line=0) -> ActivationRefused:
    return ActivationRefused(
        order_id=UUID(order["order_id"]),
        order_line_id=UUID(order["lines"][line]["order_line_id"]),
        learner_id=new_id(),
        course_id=UUID(order["lines"][line]["course_id"]),
        reason_code="course_withdrawn",
        refused_at=AT,
    )


async def test_a_refused_activation_is_compensated_once_and_its_sibling_stays(driver):
    order, _ = await driver.buy(await driver.sell(49500), await driver.sell(59500))
    for _ in range(3):
        await driver.consume(refused(order, line=1))
    (refund,) = [event for event in await published(driver.session) if isinstance(event, RefundRequested)]
    assert (refund.amount_minor, refund.reason_code) == (59500, "activation_impossible")
    assert str(refund.order_line_id) == order["lines"][1]["order_line_id"]
    lines = (await driver.read(order))["lines"]
    assert [line["refund"] and line["refund"]["reason_code"] for line in lines] == [None, "activation_impossible"]


async def test_a_refusal_that_overtakes_its_payment_waits(driver):
    order = await driver.order(await driver.sell())
    with pytest.raises(RetryLater):
        await driver.consume(refused(order))


async def test_a_refusal_after_the_learner_cancelled_changes_nothing(driver):
    order, _ = await driver.buy(await driver.sell())
    await driver.refund(order)
    await driver.consume(refused(order))
    refunds = [event for event in await published(driver.session) if isinstance(event, RefundRequested)]
    assert [refund.reason_code for refund in refunds] == ["cooling_off"]


@pytest.mark.parametrize("kind", [EnrolmentCancelled, EnrolmentFailed])
@pytest.mark.parametrize("end_first", [False, True])
async def test_a_course_whose_enrolment_ended_can_be_bought_again(driver, kind, end_first):
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    began = activated(order)
    cancelled = {"cancelled_at": AT, "reason_code": "withdrawn", "sequence": 2}
    at: dict[str, Any] = cancelled if kind is EnrolmentCancelled else {"failed_at": AT}
    ended = kind(enrolment_id=began.enrolment_id, learner_id=driver.learner_id, course_id=course_id, **at)
    for event in (ended, began) if end_first else (began, ended):
        await driver.consume(event, event)
    again, _ = await driver.buy(course_id)
    assert again["status"] == "paid"
    assert len([event for event in await published(driver.session) if isinstance(event, PaymentConfirmed)]) == 2


@pytest.mark.parametrize("order_announced", [*permutations(range(3))])
async def test_who_lost_the_credit_of_a_course_buys_it_again_while_it_is_revoked(driver, order_announced):
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    began = activated(order)
    facts = {
        "credit_id": new_id(),
        "learner_id": driver.learner_id,
        "board_id": new_id(),
        "enrolment_id": began.enrolment_id,
        "reason_code": "error",
    }
    taken = [CreditRevoked(**facts, revoked_at=AT, revision=revision) for revision in (1, 3)]
    words = [taken[0], CreditReinstated(**facts, reinstated_at=AT, revision=2), taken[1]]
    await driver.consume(began, taken[0].model_copy(update={"revision": None}))
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        assert (await client.post("/v1/orders")).json()["code"] == "already_bought"
        given_back = [words[n] for n in order_announced if n < 2]
        await driver.consume(*given_back, *given_back)
        assert (await client.post("/v1/orders")).json()["code"] == "already_bought"
        await driver.consume(*(words[n] for n in order_announced))
    again, _ = await driver.buy(course_id)
    assert again["status"] == "paid"


async def test_a_course_whose_enrolment_goes_on_cannot_be_bought_again(driver):
    course_id = await driver.sell()
    order, _ = await driver.buy(course_id)
    await driver.consume(activated(order))
    async with driver.learner() as client:
        await client.put(f"/v1/basket/items/{course_id}")
        assert (await client.post("/v1/orders")).json()["code"] == "already_bought"
    line = await driver.session.scalar(select(OrderLine))
    assert line.enrolment_id is not None
