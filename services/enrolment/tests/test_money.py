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


async def test_money_of_a_failed_enrolment_is_lost_after_the_course_was_bought_again(driver):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(paid)
    failed = await driver.enrolment(paid.lines[0].order_line_id)
    await driver.consume(driver.exhausted(failed))
    [again] = await driver.buy(offered)
    lost = driver.reversal(paid)

    await driver.consume(lost)
    assert (failed.status, again.status) == ("suspended", "active")

    await driver.consume(driver.settlement(paid, lost.reversed_at + timedelta(days=1)))
    assert (failed.status, again.status) == ("failed", "active")
    await driver.assert_record_stands()


async def test_money_that_comes_back_reinstates_in_whatever_order_it_arrives(driver):
    await driver.register()
    for order in itertools.permutations(range(3)):
        paid = driver.payment(await driver.offer())
        lost = driver.reversal(paid)
        events = [paid, lost, driver.restoration(paid, lost.reversed_at + timedelta(hours=1))]
        await driver.consume(*(events[index] for index in order), events[order[0]])
        assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"
    await driver.assert_record_stands()


@pytest.mark.parametrize(("outcome", "status"), [("won", "active"), ("withdrawn", "active"), ("lost", "suspended")])
async def test_a_dispute_suspends_until_it_is_won(driver, outcome, status):
    """F6, the enrolment's side of it."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    dispute = driver.dispute(paid)
    await driver.consume(paid, dispute)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "payment_disputed")
    [suspended] = await driver.announced(EnrolmentSuspended)
    assert suspended.reason_code == "payment_disputed"
    await driver.consume(driver.verdict(dispute, outcome, dispute.opened_at + timedelta(days=40)))
    assert enrolment.status == status
    assert len(await driver.announced(EnrolmentReinstated)) == (status == "active")
    await driver.assert_record_stands()


async def test_a_refund_cancels_that_line_at_once_and_no_other(driver):
    """F3: access ends for the lines refunded; the third line is untouched."""
    await driver.register()
    paid = driver.payment(await driver.offer(), await driver.offer(), await driver.offer())
    await driver.consume(paid, driver.refund(paid, 0), driver.refund(paid, 1))
    statuses = [(await driver.enrolment(line.order_line_id)).status for line in paid.lines]
    assert statuses == ["cancelled", "cancelled", "active"]
    assert [event.reason_code for event in await driver.announced(EnrolmentCancelled)] == ["refunded"] * 2
    assert len(await driver.announced(AccessRevoked)) == 2


async def test_who_granted_the_refund_is_announced_with_the_end_of_an_enrolment_that_was_completed(driver):
    await driver.register()
    paid = driver.payment(await driver.offer(), await driver.offer())
    own, granted = driver.refund(paid, 0), driver.refund(paid, 1).model_copy(update={"decided_by": "somebody"})
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[1].order_line_id)
    await driver.consume(driver.credit(enrolment), own, granted)
    assert {(event.order_id, event.decided_by) for event in await driver.announced(EnrolmentCancelled)} == {
        (paid.order_id, None),
        (paid.order_id, "somebody"),
    }
    assert enrolment.status == "cancelled"


async def test_a_refund_handled_before_its_payment_is_remembered(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(driver.refund(paid), paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("cancelled", "refunded")
    assert kinds(await driver.announced(EnrolmentActivated, EnrolmentCancelled)) == [
        EnrolmentActivated,
        EnrolmentCancelled,
    ]
    assert await driver.announced(AccessGranted, AccessRevoked) == []


async def test_a_refund_without_a_line_touches_no_enrolment(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    overpaid = driver.refund(paid).model_copy(update={"order_line_id": None, "course_id": None})
    await driver.consume(paid, overpaid)
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_after_a_refund_the_course_can_be_bought_again(driver):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(paid, driver.refund(paid))
    [again] = await driver.buy(offered)
    assert again.status == "active"


@pytest.mark.parametrize("refund_first", [True, False])
async def test_what_made_room_for_a_purchase_may_arrive_after_it(driver, work, refund_first):
    await driver.register()
    offered, passed = await driver.offer(), await driver.offer()
    paid, [earned] = driver.payment(offered), await driver.buy(passed)
    credit, again = driver.credit(earned), driver.payment(offered, passed)
    await driver.consume(paid, credit)
    made_room = [driver.refund(paid), driver.revocation(credit)]
    for event in (*made_room, again) if refund_first else (again, *made_room):
        await driver.consume(event)
        await settle_waiting_lines(work)
    assert await driver.announced(ActivationRefused) == []
    assert [(await driver.enrolment(line.order_line_id)).status for line in again.lines] == ["active"] * 2


async def test_what_is_opened_and_closed_is_announced_in_an_order_of_its_own(driver):
    """In whatever order its announcements arrive, the highest sequence of each entitlement is how it stands."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    back = lost.reversed_at + timedelta(days=1)
    await driver.consume(paid, lost, driver.settlement(paid, back), driver.refund(paid))
    announced = await driver.announced(AccessGranted, AccessRevoked)
    for in_order in itertools.permutations(announced):
        last = {}
        for event in in_order:
            for name in event.entitlements:
                last[name] = max(last.get(name, event), event, key=lambda one: one.sequence)
        assert last
        assert {type(event) for event in last.values()} == {AccessRevoked}
    assert [one.sequence for one in announced] == [1, 2, 3, 4]


async def test_lost_money_suspends_and_repaid_money_reinstates(driver):
    """M6: processed, access given, later cancelled."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    await driver.consume(paid, lost)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.reason_code) == ("suspended", "verification_failed")
    [suspended] = await driver.announced(EnrolmentSuspended)
    assert suspended.sequence == 2
    assert len(await driver.announced(AccessRevoked)) == 1

    await driver.consume(driver.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert (enrolment.status, enrolment.sequence) == ("active", 3)
    [reinstated] = await driver.announced(EnrolmentReinstated)
    assert reinstated.sequence == 3
    assert len(await driver.announced(AccessGranted)) == 2
    await driver.assert_record_stands()


async def test_money_paid_out_before_it_was_lost_reinstates_nothing(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    await driver.consume(paid, lost, driver.settlement(paid, lost.reversed_at - timedelta(minutes=1)))
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "suspended"


async def test_a_reversal_handled_before_its_payment_suspends_from_the_start(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(driver.reversal(paid), paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    assert (enrolment.status, enrolment.sequence) == ("suspended", 2)
    assert await driver.announced(AccessGranted) == []


async def test_credit_that_comes_while_suspended_completes_on_reinstatement(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    await driver.consume(paid, lost)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    await driver.consume(driver.credit(enrolment))
    assert enrolment.status == "suspended"
    await driver.consume(driver.settlement(paid, lost.reversed_at + timedelta(days=2)))
    assert enrolment.status == "completed"
    assert kinds(await driver.announced(EnrolmentReinstated, EnrolmentCompleted)) == [
        EnrolmentReinstated,
        EnrolmentCompleted,
    ]


async def test_a_cancellation_is_final(driver):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    await withdraw_enrolment(driver.session, enrolment.enrolment_id)
    await driver.consume(driver.credit(enrolment), driver.exhausted(enrolment), driver.reversal(paid))
    assert (enrolment.status, enrolment.reason_code, enrolment.sequence) == ("cancelled", "withdrawn", 2)
    record = await queries.read_study_record(driver.session, driver.learner_id)
    assert record.credits_total == 15
    await driver.assert_record_stands()
