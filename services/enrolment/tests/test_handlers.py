"""Events in: activation line by line, refunds, lost money, results, whatever order they come in."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from enrolment import queries
from enrolment.commands.enrolments import withdraw_enrolment
from enrolment.handlers import RECORDED, inbox
from enrolment.tables import Enrolment, EnrolmentState, KeptFact, OrderLine
from shared.database import record_of
from shared.events.assessment import FailRatified
from shared.events.catalogue import CourseUpdated, CourseWithdrawn
from shared.events.enrolment import (
    AccessGranted,
    AccessRevoked,
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentCompleted,
    EnrolmentFailed,
    EnrolmentReinstated,
    EnrolmentSuspended,
)
from shared.ids import new_id
from shared.messaging.message import envelope, read


def kinds(events):
    return [type(event) for event in events]


async def test_a_paid_line_becomes_an_active_enrolment_under_the_regulations_of_the_payment(story, clock):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)

    await story.hear(paid)

    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.sequence, enrolment.regulations_version) == ("active", 1, "mc-regs-2026.2")
    [activated] = await story.announced(EnrolmentActivated)
    assert activated.order_line_id == paid.lines[0].order_line_id
    assert activated.course_version_id == offered.course_version_id
    [granted] = await story.announced(AccessGranted)
    assert "materials" in granted.entitlements
    await story.assert_record_stands()


async def test_the_earlier_regulations_are_pinned_to_an_earlier_payment(story):
    await story.register()
    paid = story.payment(await story.offer(), at=story.payment().confirmed_at.replace(month=8, day=31))
    await story.hear(paid)
    assert (await story.enrolment(paid.lines[0].order_line_id)).regulations_version == "mc-regs-2026.1"


async def test_the_same_payment_ten_times_is_one_enrolment(story):
    await story.register()
    paid = story.payment(await story.offer())
    for _ in range(10):
        await story.hear(paid)
    assert await story.session.scalar(select(func.count()).select_from(Enrolment)) == 1
    assert len(await story.announced(EnrolmentActivated)) == 1
    assert len(await story.announced(AccessGranted)) == 1


async def test_one_line_refused_and_one_waiting_leave_their_sibling_alone(story):
    await story.register()
    good, withdrawn = await story.offer(), await story.offer()
    unknown = (await story.offer()).model_copy(update={"course_version_id": new_id()})
    await story.hear(
        CourseWithdrawn(course_id=withdrawn.course_id, withdrawn_at=story.payment().confirmed_at - timedelta(days=1))
    )
    paid = story.payment(withdrawn, unknown, good)

    await story.hear(paid)

    [refused] = await story.announced(ActivationRefused)
    assert (refused.order_line_id, refused.reason_code) == (paid.lines[0].order_line_id, "course_withdrawn")
    assert (await story.enrolment(paid.lines[2].order_line_id)).status == "active"
    waiting = await story.session.get(OrderLine, paid.lines[1].order_line_id)
    assert waiting.outcome is None


async def test_a_course_withdrawn_after_the_payment_is_still_taught(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.hear(
        CourseWithdrawn(course_id=offered.course_id, withdrawn_at=paid.confirmed_at + timedelta(seconds=1)), paid
    )
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_two_withdrawals_count_from_the_earlier(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    for days in (-1, 1):
        await story.hear(
            CourseWithdrawn(course_id=offered.course_id, withdrawn_at=paid.confirmed_at + timedelta(days=days))
        )
    await story.hear(paid)
    [refused] = await story.announced(ActivationRefused)
    assert refused.reason_code == "course_withdrawn"


async def test_a_payment_waits_for_its_learner_to_register(story):
    paid = story.payment(await story.offer())
    await story.hear(paid)
    assert await story.announced() == []

    await story.register()

    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_a_payment_waits_for_its_course(story):
    await story.register()
    offered = (await story.offer()).model_copy(update={"course_id": new_id(), "course_version_id": new_id()})
    paid = story.payment(offered)
    await story.hear(paid)
    assert await story.announced(EnrolmentActivated, ActivationRefused) == []

    await story.hear(CourseUpdated(**offered.model_dump() | {"module_family": "other"}))

    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_a_course_version_is_copied_once(story):
    await story.register()
    offered = await story.offer(title="As bought")
    await story.hear(offered.model_copy(update={"title": "Other"}))
    [enrolment] = await story.buy(offered)
    courses = await queries.courses_of(story.session, [enrolment.course_version_id])
    assert courses[enrolment.course_version_id].title == "As bought"


async def test_a_course_under_way_is_not_enrolled_in_twice(story):
    await story.register()
    offered = await story.offer()
    same_family = await story.offer(module_family=offered.module_family)
    await story.buy(offered)

    await story.hear(story.payment(offered, same_family))

    assert [event.reason_code for event in await story.announced(ActivationRefused)] == ["already_enrolled"] * 2


async def test_one_order_with_the_same_course_twice_gives_one_enrolment(story):
    await story.register()
    offered = await story.offer()
    await story.hear(story.payment(offered, offered))
    assert len(await story.announced(EnrolmentActivated)) == 1
    assert [event.reason_code for event in await story.announced(ActivationRefused)] == ["already_enrolled"]


async def test_a_suspended_course_is_under_way(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.hear(paid, story.reversal(paid), story.payment(offered))
    assert [event.reason_code for event in await story.announced(ActivationRefused)] == ["already_enrolled"]


async def test_a_passed_module_family_is_not_sold_again(story):
    await story.register()
    offered = await story.offer()
    [enrolment] = await story.buy(offered)
    await story.hear(story.credit(enrolment), story.payment(offered))
    assert [event.reason_code for event in await story.announced(ActivationRefused)] == ["already_passed"]


async def test_revoked_credit_makes_room_for_a_new_enrolment(story):
    await story.register()
    offered = await story.offer()
    [enrolment] = await story.buy(offered)
    credit = story.credit(enrolment)
    await story.hear(credit, story.revocation(credit))
    [again] = await story.buy(offered)
    assert again.status == "active"
    await story.assert_record_stands()


async def test_a_ratified_fail_leaves_a_fact_and_the_enrolment_goes_on(story):
    await story.register()
    [enrolment] = await story.buy(await story.offer())
    submission = story.submission(enrolment)
    ratified = story.ratified_fail(enrolment, submission, "41")
    await story.hear(submission, story.result(enrolment, submission, "41"), ratified, ratified)
    [kept] = await story.session.scalars(select(KeptFact).where(KeptFact.type == FailRatified.type))
    assert (kept.at, kept.data) == (ratified.ratified_at, ratified.model_dump(mode="json"))
    assert enrolment.status == "active"
    record = await queries.read_study_record(story.session, story.learner_id)
    assert [result.standing for one in record.enrolments for result in one.results] == ["ratified"]
    await story.assert_record_stands()


async def test_after_the_last_failed_attempt_a_new_order_gives_a_new_enrolment(story):
    """R3: attempts.exhausted; new enrolment allowed."""
    await story.register()
    offered = await story.offer()
    [enrolment] = await story.buy(offered)
    await story.hear(story.exhausted(enrolment))
    assert (enrolment.status, enrolment.reason_code) == ("failed", "attempts_exhausted")
    assert len(await story.announced(EnrolmentFailed)) == 1
    assert len(await story.announced(AccessRevoked)) == 1

    [again] = await story.buy(offered)
    assert again.status == "active"
    assert again.enrolment_id != enrolment.enrolment_id


async def test_money_of_a_failed_enrolment_is_lost_after_the_course_was_bought_again(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.hear(paid)
    failed = await story.enrolment(paid.lines[0].order_line_id)
    await story.hear(story.exhausted(failed))
    [again] = await story.buy(offered)
    lost = story.reversal(paid)

    await story.hear(lost)
    assert (failed.status, again.status) == ("suspended", "active")

    await story.hear(story.settlement(paid, lost.reversed_at + timedelta(days=1)))
    assert (failed.status, again.status) == ("failed", "active")
    await story.assert_record_stands()


async def test_money_that_comes_back_reinstates_in_whatever_order_it_is_heard(story):
    await story.register()
    for order in itertools.permutations(range(3)):
        paid = story.payment(await story.offer())
        lost = story.reversal(paid)
        told = [paid, lost, story.restoration(paid, lost.reversed_at + timedelta(hours=1))]
        await story.hear(*(told[index] for index in order), told[order[0]])
        assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"
    await story.assert_record_stands()


@pytest.mark.parametrize(("outcome", "status"), [("won", "active"), ("withdrawn", "active"), ("lost", "suspended")])
async def test_a_dispute_suspends_until_it_is_won(story, outcome, status):
    """F6, the enrolment's side of it."""
    await story.register()
    paid = story.payment(await story.offer())
    dispute = story.dispute(paid)
    await story.hear(paid, dispute)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "payment_disputed")
    [suspended] = await story.announced(EnrolmentSuspended)
    assert suspended.reason_code == "payment_disputed"
    await story.hear(story.verdict(dispute, outcome, dispute.opened_at + timedelta(days=40)))
    assert enrolment.status == status
    assert len(await story.announced(EnrolmentReinstated)) == (status == "active")
    await story.assert_record_stands()


async def test_the_database_itself_refuses_a_second_active_enrolment(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.hear(paid, story.refund(paid))
    ended = await story.enrolment(paid.lines[0].order_line_id)
    await story.buy(offered)
    ended.status = "active"
    with pytest.raises(IntegrityError, match="uq_enrolments_active_course"):
        async with story.session.begin_nested():
            await story.session.flush()


async def test_credit_completes_and_the_materials_stay_open(story):
    await story.register()
    [enrolment] = await story.buy(await story.offer())
    await story.hear(story.credit(enrolment))
    assert (enrolment.status, enrolment.sequence) == ("completed", 2)
    assert len(await story.announced(EnrolmentCompleted)) == 1
    [revoked] = await story.announced(AccessRevoked)
    assert "materials" not in revoked.entitlements


async def test_a_refund_cancels_that_line_at_once_and_no_other(story):
    """F3: access ends for the lines refunded; the third line is untouched."""
    await story.register()
    paid = story.payment(await story.offer(), await story.offer(), await story.offer())
    await story.hear(paid, story.refund(paid, 0), story.refund(paid, 1))
    statuses = [(await story.enrolment(line.order_line_id)).status for line in paid.lines]
    assert statuses == ["cancelled", "cancelled", "active"]
    assert [event.reason_code for event in await story.announced(EnrolmentCancelled)] == ["refunded"] * 2
    assert len(await story.announced(AccessRevoked)) == 2


async def test_a_refund_heard_before_its_payment_is_remembered(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.hear(story.refund(paid), paid)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("cancelled", "refunded")
    assert kinds(await story.announced(EnrolmentActivated, EnrolmentCancelled)) == [
        EnrolmentActivated,
        EnrolmentCancelled,
    ]
    assert await story.announced(AccessGranted, AccessRevoked) == []


async def test_a_refund_without_a_line_touches_no_enrolment(story):
    await story.register()
    paid = story.payment(await story.offer())
    overpaid = story.refund(paid).model_copy(update={"order_line_id": None, "course_id": None})
    await story.hear(paid, overpaid)
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_after_a_refund_the_course_can_be_bought_again(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.hear(paid, story.refund(paid))
    [again] = await story.buy(offered)
    assert again.status == "active"


async def test_lost_money_suspends_and_repaid_money_reinstates(story):
    """M6: processed, access given, later cancelled."""
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.hear(paid, lost)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "verification_failed")
    [suspended] = await story.announced(EnrolmentSuspended)
    assert suspended.sequence == 2
    assert len(await story.announced(AccessRevoked)) == 1

    await story.hear(story.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert (enrolment.status, enrolment.sequence) == ("active", 3)
    [reinstated] = await story.announced(EnrolmentReinstated)
    assert reinstated.sequence == 3
    assert len(await story.announced(AccessGranted)) == 2
    await story.assert_record_stands()


async def test_money_paid_out_before_it_was_lost_reinstates_nothing(story):
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.hear(paid, lost, story.settlement(paid, lost.reversed_at - timedelta(minutes=1)))
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "suspended"


async def test_a_reversal_heard_before_its_payment_suspends_from_the_start(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.hear(story.reversal(paid), paid)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.sequence) == ("suspended", 2)
    assert await story.announced(AccessGranted) == []


async def test_credit_that_comes_while_suspended_completes_on_reinstatement(story):
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.hear(paid, lost)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    await story.hear(story.credit(enrolment))
    assert enrolment.status == "suspended"
    await story.hear(story.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert enrolment.status == "completed"
    assert kinds(await story.announced(EnrolmentReinstated, EnrolmentCompleted)) == [
        EnrolmentReinstated,
        EnrolmentCompleted,
    ]


async def test_a_cancellation_is_final(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.hear(paid)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    await withdraw_enrolment(story.session, enrolment.enrolment_id)
    await story.hear(story.credit(enrolment), story.exhausted(enrolment), story.reversal(paid))
    assert (enrolment.status, enrolment.reason_code, enrolment.sequence) == ("cancelled", "withdrawn", 2)
    record = await queries.read_study_record(story.session, story.learner_id)
    assert record.credits_total == 15
    await story.assert_record_stands()


async def test_states_are_counted_without_gaps(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.hear(paid, story.reversal(paid), story.refund(paid))
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    states = await queries.states_of(story.session, enrolment.enrolment_id)
    assert [(state.sequence, state.status) for state in states] == [(1, "active"), (2, "suspended"), (3, "cancelled")]


async def test_facts_about_strangers_are_kept_until_they_register(story):
    paid = story.payment(await story.offer())
    await story.hear(paid, story.reversal(paid))
    await story.register()
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "suspended"


@pytest.mark.parametrize("table", [KeptFact, EnrolmentState])
async def test_what_happened_is_never_changed(story, table):
    await story.register()
    await story.buy(await story.offer())
    row = (await story.session.scalars(select(table))).first()
    if table is KeptFact:
        row.data = {"other": 1}
    else:
        row.status = "failed"
    with pytest.raises(Exception, match="append-only"):
        async with story.session.begin_nested():
            await story.session.flush()


async def test_every_event_heard_is_declared_as_heard_by_enrolment(service):
    from shared.events import registry

    declared = {name for name, kind in registry().items() if "enrolment" in kind.heard_by}
    assert service.service.inbox.types == declared


async def test_an_event_survives_its_envelope(story):
    """What is kept of an event that travelled is what is kept of one handed over."""
    await story.register()
    paid = story.payment(await story.offer())
    body = envelope(
        paid, id=new_id(), time=paid.confirmed_at, traceparent=None, request_id=None, causation=None
    ).encode()
    await story.hear(paid, read(body).event)
    count = select(func.count()).select_from(KeptFact).where(KeptFact.type == paid.type)
    assert await story.session.scalar(count) == 1


GOLDEN = Path(__file__).parents[3] / "libs/shared/tests/golden"


async def test_what_is_only_recorded_is_the_same_row_by_the_statement_and_by_the_session(live):
    process = live.process

    async def kept():
        async with process.database.transaction() as session:
            [fact] = await session.scalars(select(KeptFact))
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
