import asyncio
import itertools
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from assessment.commands.enrolments import AnotherActivation
from assessment.handlers import inbox
from assessment.tables import Attempt, CourseVersion, Decision, Enrolment, EnrolmentState, Mark, Submission
from shared.events.assessment import AssessmentFailed, AssessmentPassed, CreditAwarded, SubmissionVoided
from shared.events.catalogue import CourseUpdated, SubjectRenamed
from shared.events.enrolment import EnrolmentCancelled, EnrolmentReinstated, EnrolmentSuspended
from shared.ids import new_id
from shared.messaging import RetryLater


async def test_course_versions_are_copied_once_each(driver, session):
    first = driver.course()
    second = CourseUpdated(**driver.course(course_id=first.course_id, version=2).model_dump())
    await driver.consume(second, first, first, second)
    rows = (await session.scalars(select(CourseVersion).where(CourseVersion.course_id == first.course_id))).all()
    assert sorted(row.version for row in rows) == [1, 2]


async def test_credit_says_the_name_its_subject_has_when_it_is_awarded(driver):
    """A later renaming does not touch it; those before it may arrive in any order."""
    names = [("Data", -2), ("Data & Decisions", -1), ("Decisions", 5)]
    for order in itertools.permutations(names):
        course = driver.course(subject_name="Data Science")
        enrolment, window_id, submission_id = await driver.frozen(of=course)
        for name, days in order:
            at = driver.clock() + timedelta(days=days)
            renamed = SubjectRenamed(subject_id=course.subject_id, award_name=name, effective_from=at)
            await driver.consume(renamed, renamed)
        await driver.mark(submission_id, 60)
        await driver.release(window_id)
        await driver.board(window_id)
        credit = (await driver.announced(CreditAwarded))[-1]
        assert (credit.enrolment_id, credit.subject_name) == (enrolment.enrolment_id, "Data & Decisions")


async def test_an_enrolment_waits_for_its_course_version(driver, session):
    course = driver.course()
    activated = driver.activation(course)
    with pytest.raises(RetryLater):
        await inbox.receive(session, activated)
    await driver.consume(course, activated, activated)
    assert await session.get(Enrolment, activated.enrolment_id) is not None


async def test_an_enrolment_waits_for_a_release_that_knows_its_regulations(driver, session):
    course = driver.course()
    await driver.consume(course)
    with pytest.raises(RetryLater):
        await inbox.receive(session, driver.activation(course, regulations_version="mc-regs-2099.1"))


async def test_states_handled_in_any_order_any_number_of_times_end_alike(driver, session):
    for order in itertools.permutations(range(4)):
        course = driver.course()
        enrolment = driver.activation(course)
        facts = {
            "enrolment_id": enrolment.enrolment_id,
            "learner_id": enrolment.learner_id,
        }
        events = [
            enrolment,
            EnrolmentSuspended(**facts, reason_code="payment_reversed", sequence=1, suspended_at=driver.clock()),
            EnrolmentReinstated(**facts, sequence=2, reinstated_at=driver.clock()),
            EnrolmentSuspended(**facts, reason_code="payment_reversed", sequence=3, suspended_at=driver.clock()),
        ]
        await driver.consume(course, *(events[index] for index in (*order, *order)))
        state = await session.get(EnrolmentState, enrolment.enrolment_id, populate_existing=True)
        assert (state.status, state.sequence) == ("suspended", 3)


async def test_a_cancelled_enrolment_stays_cancelled(driver):
    enrolment = await driver.enrol()
    await driver.window()
    await driver.cancel(enrolment, sequence=2)
    await driver.suspend(enrolment, sequence=3)
    driver.refused(await driver.submit(enrolment), 403, "enrolment_cancelled")


async def test_a_cancellation_handled_before_the_activation_holds(driver):
    course = driver.course()
    enrolment = driver.activation(course)
    await driver.consume(course)
    await driver.cancel(enrolment)
    await driver.consume(enrolment)
    await driver.window()
    driver.refused(await driver.submit(enrolment), 403, "enrolment_cancelled")


async def test_f5_a_refund_voids_what_was_submitted_and_no_mark_is_ever_released(driver, session):
    enrolment, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 70)
    await driver.cancel(enrolment, reason_code="refunded")
    [voided] = await driver.announced(SubmissionVoided)
    assert (str(voided.submission_id), voided.reason_code) == (submission_id, "refunded")
    assert (await driver.release(window_id))["released"] == 0
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    driver.refused(await driver.mark(submission_id, 70, driver.examiner, stage="moderation"), 409, "submission_void")
    driver.refused(await driver.examiner.post(f"/v1/submissions/{submission_id}/release"), 409, "submission_void")
    assert await driver.announced(AssessmentPassed, AssessmentFailed, CreditAwarded) == []
    seen = await driver.read(enrolment)
    assert [(one["state"], one["result"]) for one in seen["attempts"]] == [("voided", None)]
    assert seen["attempts_left"] == 3
    decision = (await session.scalars(select(Decision).where(Decision.kind == "voided"))).one()
    assert (decision.actor, decision.reason_code) == ("enrolment", "refunded")


async def test_voided_work_waits_for_no_marker(driver):
    enrolment, _, submission_id = await driver.frozen()
    await driver.cancel(enrolment)
    assert (await driver.marker.get("/v1/marking-queue")).json()["items"] == []
    driver.refused(await driver.mark(submission_id, 70), 409, "submission_void")
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    driver.refused(await driver.examiner.post("/v1/misconduct-cases", json=body), 409, "submission_void")


async def test_a_released_result_that_is_not_ratified_is_voided_too(driver):
    enrolment = await driver.enrol()
    window_id = await driver.attempt(enrolment, 70, ratified=False)
    await driver.cancel(enrolment)
    assert len(await driver.announced(SubmissionVoided)) == 1
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    assert (await driver.read(enrolment))["attempts"][0]["result"] is None


async def test_what_the_board_ratified_outlives_the_enrolment(driver):
    enrolment = await driver.enrol()
    await driver.attempt(enrolment, 70)
    await driver.cancel(enrolment)
    assert await driver.announced(SubmissionVoided) == []
    assert (await driver.read(enrolment))["attempts"][0]["state"] == "ratified"


async def test_a_cancellation_handled_twice_voids_once(driver):
    enrolment, *_ = await driver.frozen()
    await driver.cancel(enrolment)
    await driver.cancel(enrolment)
    assert len(await driver.announced(SubmissionVoided)) == 1


async def test_a_cancellation_and_a_mark_at_once_leave_one_consistent_order(live, driver_class):
    """Whichever comes first, the attempt ends voided, and if its mark was given it is kept but never released."""
    driver = driver_class(live, None, live.clock)
    window_id = await driver.window()
    enrolments = [await driver.enrol_live() for _ in range(5)]
    receipts = [await driver.receipt(one) for one in enrolments]
    await driver.close(window_id)

    async def cancel(enrolment):
        async with live.process.database.transaction() as session:
            await inbox.receive(
                session,
                EnrolmentCancelled(
                    enrolment_id=enrolment.enrolment_id,
                    learner_id=enrolment.learner_id,
                    course_id=enrolment.course_id,
                    reason_code="refunded",
                    sequence=1,
                    cancelled_at=live.clock(),
                ),
            )

    await asyncio.gather(
        *(driver.mark(receipt["submission_id"], 60) for receipt in receipts),
        *(cancel(enrolment) for enrolment in enrolments),
        driver.examiner.post(f"/v1/windows/{window_id}/release"),
    )
    async with live.process.database.transaction() as session:
        assert set(await session.scalars(select(Attempt.state))) == {"voided"}
        assert set(await session.scalars(select(Submission.state))) == {"voided"}
        assert (await session.scalar(select(func.count()).select_from(Mark))) <= len(receipts)


async def test_an_order_line_is_activated_once_and_another_enrolment_of_it_is_for_a_person(driver):
    activated = await driver.enrol()
    await driver.consume(activated)
    with pytest.raises(AnotherActivation, match=str(activated.enrolment_id)):
        await driver.consume(activated.model_copy(update={"enrolment_id": new_id()}))
