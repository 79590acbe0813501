"""Events in: activation line by line, refunds, lost money, results, whatever order they come in."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from enrolment import queries
from enrolment.domain import regulations
from enrolment.handlers import RECORDED, inbox
from enrolment.jobs import settle_waiting_lines
from enrolment.tables import Enrolment, EnrolmentState, OrderLine, StoredEvent
from shared.database import record_of
from shared.events.assessment import FailRatified
from shared.events.catalogue import CourseUpdated, CourseWithdrawn
from shared.events.enrolment import (
    AccessGranted,
    AccessRevoked,
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCompleted,
    EnrolmentFailed,
)
from shared.ids import new_id
from shared.messaging.message import envelope, read


async def test_a_paid_line_becomes_an_active_enrolment_under_the_regulations_of_the_payment(driver, clock):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)

    await driver.consume(paid)

    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.sequence, enrolment.regulations_version) == ("active", 1, "mc-regs-2026.2")
    [activated] = await driver.announced(EnrolmentActivated)
    assert activated.order_line_id == paid.lines[0].order_line_id
    assert activated.course_version_id == offered.course_version_id
    [granted] = await driver.announced(AccessGranted)
    assert "materials" in granted.entitlements
    await driver.assert_record_stands()


async def test_the_earlier_regulations_are_pinned_to_an_earlier_payment(driver):
    await driver.register()
    paid = driver.payment(await driver.offer(), at=driver.payment().confirmed_at.replace(month=8, day=31))
    await driver.consume(paid)
    assert (await driver.enrolment(paid.lines[0].order_line_id)).regulations_version == "mc-regs-2026.1"


async def test_the_same_payment_ten_times_is_one_enrolment(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    for _ in range(10):
        await driver.consume(paid)
    assert await driver.session.scalar(select(func.count()).select_from(Enrolment)) == 1
    assert len(await driver.announced(EnrolmentActivated)) == 1
    assert len(await driver.announced(AccessGranted)) == 1


async def test_one_line_refused_and_one_waiting_leave_their_sibling_alone(driver, work):
    await driver.register()
    good, withdrawn = await driver.offer(), await driver.offer()
    unknown = (await driver.offer()).model_copy(update={"course_version_id": new_id()})
    await driver.consume(
        CourseWithdrawn(course_id=withdrawn.course_id, withdrawn_at=driver.payment().confirmed_at - timedelta(days=1))
    )
    paid = driver.payment(withdrawn, unknown, good)

    await driver.consume(paid)

    await settle_waiting_lines(work)
    [refused] = await driver.announced(ActivationRefused)
    assert (refused.order_line_id, refused.reason_code) == (paid.lines[0].order_line_id, "course_withdrawn")
    assert (await driver.enrolment(paid.lines[2].order_line_id)).status == "active"
    waiting = await driver.session.get(OrderLine, paid.lines[1].order_line_id)
    assert waiting.outcome is None


async def test_a_course_withdrawn_after_the_payment_is_still_taught(driver):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(
        CourseWithdrawn(course_id=offered.course_id, withdrawn_at=paid.confirmed_at + timedelta(seconds=1)), paid
    )
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_two_withdrawals_count_from_the_earlier(driver, work):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    for days in (-1, 1):
        await driver.consume(
            CourseWithdrawn(course_id=offered.course_id, withdrawn_at=paid.confirmed_at + timedelta(days=days))
        )
    await driver.consume(paid)
    await settle_waiting_lines(work)
    [refused] = await driver.announced(ActivationRefused)
    assert refused.reason_code == "course_withdrawn"


async def test_a_payment_waits_for_its_learner_to_register(driver):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    assert await driver.announced() == []

    await driver.register()

    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_a_payment_waits_for_its_course(driver):
    await driver.register()
    offered = (await driver.offer()).model_copy(update={"course_id": new_id(), "course_version_id": new_id()})
    paid = driver.payment(offered)
    await driver.consume(paid)
    assert await driver.announced(EnrolmentActivated, ActivationRefused) == []

    await driver.consume(CourseUpdated(**offered.model_dump() | {"module_family": "other"}))

    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_a_course_version_is_copied_once(driver):
    await driver.register()
    offered = await driver.offer(title="As bought")
    await driver.consume(offered.model_copy(update={"title": "Other"}))
    [enrolment] = await driver.buy(offered)
    courses = await queries.courses_of(driver.session, [enrolment.course_version_id])
    assert courses[enrolment.course_version_id].title == "As bought"


async def test_a_course_under_way_is_not_enrolled_in_twice(driver, work, clock):
    await driver.register()
    offered = await driver.offer()
    same_family = await driver.offer(module_family=offered.module_family)
    await driver.buy(offered)

    await driver.consume(driver.payment(offered, same_family))

    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert [event.reason_code for event in await driver.announced(ActivationRefused)] == ["already_enrolled"] * 2


async def test_one_order_with_the_same_course_twice_gives_one_enrolment(driver, work, clock):
    await driver.register()
    offered = await driver.offer()
    await driver.consume(driver.payment(offered, offered))
    assert len(await driver.announced(EnrolmentActivated)) == 1
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert [event.reason_code for event in await driver.announced(ActivationRefused)] == ["already_enrolled"]


async def test_a_suspended_course_is_under_way(driver, work, clock):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(paid, driver.reversal(paid), driver.payment(offered))
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert [event.reason_code for event in await driver.announced(ActivationRefused)] == ["already_enrolled"]


async def test_a_passed_module_family_is_not_sold_again(driver, work, clock):
    await driver.register()
    offered = await driver.offer()
    [enrolment] = await driver.buy(offered)
    await driver.consume(driver.credit(enrolment), driver.payment(offered))
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert [event.reason_code for event in await driver.announced(ActivationRefused)] == ["already_passed"]


async def test_revoked_credit_makes_room_for_a_new_enrolment(driver):
    await driver.register()
    offered = await driver.offer()
    [enrolment] = await driver.buy(offered)
    credit = driver.credit(enrolment)
    await driver.consume(credit, driver.revocation(credit))
    [again] = await driver.buy(offered)
    assert again.status == "active"
    await driver.assert_record_stands()


async def test_a_ratified_fail_leaves_a_fact_and_the_enrolment_goes_on(driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer())
    submission = driver.submission(enrolment)
    ratified = driver.ratified_fail(enrolment, submission, "41")
    await driver.consume(submission, driver.result(enrolment, submission, "41"), ratified, ratified)
    [kept] = await driver.session.scalars(select(StoredEvent).where(StoredEvent.type == FailRatified.type))
    assert (kept.at, kept.data) == (ratified.ratified_at, ratified.model_dump(mode="json"))
    assert enrolment.status == "active"
    record = await queries.read_study_record(driver.session, driver.learner_id)
    assert [result.standing for one in record.enrolments for result in one.results] == ["ratified"]
    await driver.assert_record_stands()


async def test_after_the_last_failed_attempt_a_new_order_gives_a_new_enrolment(driver):
    """R3: attempts.exhausted; new enrolment allowed."""
    await driver.register()
    offered = await driver.offer()
    [enrolment] = await driver.buy(offered)
    await driver.consume(driver.exhausted(enrolment))
    assert (enrolment.status, enrolment.reason_code) == ("failed", "attempts_exhausted")
    assert len(await driver.announced(EnrolmentFailed)) == 1
    assert len(await driver.announced(AccessRevoked)) == 1

    [again] = await driver.buy(offered)
    assert again.status == "active"
    assert again.enrolment_id != enrolment.enrolment_id


async def test_the_database_itself_refuses_a_second_active_enrolment(driver):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(paid, driver.refund(paid))
    ended = await driver.enrolment(paid.lines[0].order_line_id)
    await driver.buy(offered)
    ended.status = "active"
    with pytest.raises(IntegrityError, match="uq_enrolments_active_course"):
        async with driver.session.begin_nested():
            await driver.session.flush()


async def test_credit_completes_and_the_materials_stay_open(driver):
    await driver.register()
    [enrolment] = await driver.buy(await driver.offer())
    await driver.consume(driver.credit(enrolment))
    assert (enrolment.status, enrolment.sequence) == ("completed", 2)
    assert len(await driver.announced(EnrolmentCompleted)) == 1
    [revoked] = await driver.announced(AccessRevoked)
    assert "materials" not in revoked.entitlements


async def test_states_are_counted_without_gaps(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.reversal(paid), driver.refund(paid))
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    states = await queries.states_of(driver.session, enrolment.enrolment_id)
    assert [(state.sequence, state.status) for state in states] == [(1, "active"), (2, "suspended"), (3, "cancelled")]


async def test_facts_about_strangers_are_kept_until_they_register(driver):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.reversal(paid))
    await driver.register()
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "suspended"


@pytest.mark.parametrize("table", [StoredEvent, EnrolmentState])
async def test_what_happened_is_never_changed(driver, table):
    await driver.register()
    await driver.buy(await driver.offer())
    row = (await driver.session.scalars(select(table))).first()
    if table is StoredEvent:
        row.data = {"other": 1}
    else:
        row.status = "failed"
    with pytest.raises(Exception, match="append-only"):
        async with driver.session.begin_nested():
            await driver.session.flush()


async def test_every_event_handled_names_enrolment_as_a_consumer(service):
    from shared.events import registry

    declared = {name for name, kind in registry().items() if "enrolment" in kind.consumers}
    assert service.service.inbox.types == declared


async def test_an_event_survives_its_envelope(driver):
    """What is kept of an event that travelled is what is kept of one handed over."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    body = envelope(
        paid, id=new_id(), time=paid.confirmed_at, traceparent=None, request_id=None, causation=None
    ).encode()
    await driver.consume(paid, read(body).event)
    count = select(func.count()).select_from(StoredEvent).where(StoredEvent.type == paid.type)
    assert await driver.session.scalar(count) == 1


GOLDEN = Path(__file__).parents[3] / "libs/shared/tests/golden"


async def test_what_is_only_recorded_is_the_same_row_by_the_statement_and_by_the_session(live):
    process = live.process

    async def kept():
        async with process.database.transaction() as session:
            [fact] = await session.scalars(select(StoredEvent))
            row = record_of(fact)
            await session.delete(fact)
        return row

    for kind in RECORDED:
        event = kind.model_validate_json((GOLDEN / f"{kind.type}.json").read_bytes())
        body = envelope(event, id=new_id(), time=live.clock(), traceparent=None, request_id=None, causation=None)
        await process.receiver.take([body.encode()])
        by_statement = await kept()
        async with process.database.transaction() as session:
            await inbox.receive(session, event)
        assert await kept() == by_statement
        assert (by_statement["type"], by_statement["kept_at"]) == (kind.type, live.clock())
