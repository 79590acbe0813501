"""Money that goes back, is lost, is disputed or comes back, and what becomes of the enrolment."""

import itertools
from datetime import timedelta

import pytest

from enrolment import queries
from enrolment.commands.enrolments import withdraw_enrolment
from enrolment.jobs import settle_waiting_lines
from shared.events.enrolment import (
    AccessGranted,
    AccessRevoked,
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentCompleted,
    EnrolmentReinstated,
    EnrolmentSuspended,
)


def kinds(events):
    return [type(event) for event in events]


async def test_money_of_a_failed_enrolment_is_lost_after_the_course_was_bought_again(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.consume(paid)
    failed = await story.enrolment(paid.lines[0].order_line_id)
    await story.consume(story.exhausted(failed))
    [again] = await story.buy(offered)
    lost = story.reversal(paid)

    await story.consume(lost)
    assert (failed.status, again.status) == ("suspended", "active")

    await story.consume(story.settlement(paid, lost.reversed_at + timedelta(days=1)))
    assert (failed.status, again.status) == ("failed", "active")
    await story.assert_record_stands()


async def test_money_that_comes_back_reinstates_in_whatever_order_it_arrives(story):
    await story.register()
    for order in itertools.permutations(range(3)):
        paid = story.payment(await story.offer())
        lost = story.reversal(paid)
        events = [paid, lost, story.restoration(paid, lost.reversed_at + timedelta(hours=1))]
        await story.consume(*(events[index] for index in order), events[order[0]])
        assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"
    await story.assert_record_stands()


@pytest.mark.parametrize(("outcome", "status"), [("won", "active"), ("withdrawn", "active"), ("lost", "suspended")])
async def test_a_dispute_suspends_until_it_is_won(story, outcome, status):
    """F6, the enrolment's side of it."""
    await story.register()
    paid = story.payment(await story.offer())
    dispute = story.dispute(paid)
    await story.consume(paid, dispute)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "payment_disputed")
    [suspended] = await story.announced(EnrolmentSuspended)
    assert suspended.reason_code == "payment_disputed"
    await story.consume(story.verdict(dispute, outcome, dispute.opened_at + timedelta(days=40)))
    assert enrolment.status == status
    assert len(await story.announced(EnrolmentReinstated)) == (status == "active")
    await story.assert_record_stands()


async def test_a_refund_cancels_that_line_at_once_and_no_other(story):
    """F3: access ends for the lines refunded; the third line is untouched."""
    await story.register()
    paid = story.payment(await story.offer(), await story.offer(), await story.offer())
    await story.consume(paid, story.refund(paid, 0), story.refund(paid, 1))
    statuses = [(await story.enrolment(line.order_line_id)).status for line in paid.lines]
    assert statuses == ["cancelled", "cancelled", "active"]
    assert [event.reason_code for event in await story.announced(EnrolmentCancelled)] == ["refunded"] * 2
    assert len(await story.announced(AccessRevoked)) == 2


async def test_who_granted_the_refund_is_announced_with_the_end_of_an_enrolment_that_was_completed(story):
    await story.register()
    paid = story.payment(await story.offer(), await story.offer())
    own, granted = story.refund(paid, 0), story.refund(paid, 1).model_copy(update={"decided_by": "somebody"})
    await story.consume(paid)
    enrolment = await story.enrolment(paid.lines[1].order_line_id)
    await story.consume(story.credit(enrolment), own, granted)
    assert {(event.order_id, event.decided_by) for event in await story.announced(EnrolmentCancelled)} == {
        (paid.order_id, None),
        (paid.order_id, "somebody"),
    }
    assert enrolment.status == "cancelled"


async def test_a_refund_handled_before_its_payment_is_remembered(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.consume(story.refund(paid), paid)
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
    await story.consume(paid, overpaid)
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_after_a_refund_the_course_can_be_bought_again(story):
    await story.register()
    offered = await story.offer()
    paid = story.payment(offered)
    await story.consume(paid, story.refund(paid))
    [again] = await story.buy(offered)
    assert again.status == "active"


@pytest.mark.parametrize("refund_first", [True, False])
async def test_what_made_room_for_a_purchase_may_arrive_after_it(story, work, refund_first):
    await story.register()
    offered, passed = await story.offer(), await story.offer()
    paid, [earned] = story.payment(offered), await story.buy(passed)
    credit, again = story.credit(earned), story.payment(offered, passed)
    await story.consume(paid, credit)
    made_room = [story.refund(paid), story.revocation(credit)]
    for event in (*made_room, again) if refund_first else (again, *made_room):
        await story.consume(event)
        await settle_waiting_lines(work)
    assert await story.announced(ActivationRefused) == []
    assert [(await story.enrolment(line.order_line_id)).status for line in again.lines] == ["active"] * 2


async def test_what_is_opened_and_closed_is_announced_in_an_order_of_its_own(story):
    """In whatever order its announcements arrive, the highest sequence of each entitlement is how it stands."""
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    back = lost.reversed_at + timedelta(days=1)
    await story.consume(paid, lost, story.settlement(paid, back), story.refund(paid))
    announced = await story.announced(AccessGranted, AccessRevoked)
    for in_order in itertools.permutations(announced):
        last = {}
        for event in in_order:
            for name in event.entitlements:
                last[name] = max(last.get(name, event), event, key=lambda one: one.sequence)
        assert last
        assert {type(event) for event in last.values()} == {AccessRevoked}
    assert [one.sequence for one in announced] == [1, 2, 3, 4]


async def test_lost_money_suspends_and_repaid_money_reinstates(story):
    """M6: processed, access given, later cancelled."""
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.consume(paid, lost)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "verification_failed")
    [suspended] = await story.announced(EnrolmentSuspended)
    assert suspended.sequence == 2
    assert len(await story.announced(AccessRevoked)) == 1

    await story.consume(story.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert (enrolment.status, enrolment.sequence) == ("active", 3)
    [reinstated] = await story.announced(EnrolmentReinstated)
    assert reinstated.sequence == 3
    assert len(await story.announced(AccessGranted)) == 2
    await story.assert_record_stands()


async def test_money_paid_out_before_it_was_lost_reinstates_nothing(story):
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.consume(paid, lost, story.settlement(paid, lost.reversed_at - timedelta(minutes=1)))
    assert (await story.enrolment(paid.lines[0].order_line_id)).status == "suspended"


async def test_a_reversal_handled_before_its_payment_suspends_from_the_start(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.consume(story.reversal(paid), paid)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.sequence) == ("suspended", 2)
    assert await story.announced(AccessGranted) == []


async def test_credit_that_comes_while_suspended_completes_on_reinstatement(story):
    await story.register()
    paid = story.payment(await story.offer())
    lost = story.reversal(paid)
    await story.consume(paid, lost)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    await story.consume(story.credit(enrolment))
    assert enrolment.status == "suspended"
    await story.consume(story.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert enrolment.status == "completed"
    assert kinds(await story.announced(EnrolmentReinstated, EnrolmentCompleted)) == [
        EnrolmentReinstated,
        EnrolmentCompleted,
    ]


async def test_a_cancellation_is_final(story):
    await story.register()
    paid = story.payment(await story.offer())
    await story.consume(paid)
    enrolment = await story.enrolment(paid.lines[0].order_line_id)
    await withdraw_enrolment(story.session, enrolment.enrolment_id)
    await story.consume(story.credit(enrolment), story.exhausted(enrolment), story.reversal(paid))
    assert (enrolment.status, enrolment.reason_code, enrolment.sequence) == ("cancelled", "withdrawn", 2)
    record = await queries.read_study_record(story.session, story.learner_id)
    assert record.credits_total == 15
    await story.assert_record_stands()
