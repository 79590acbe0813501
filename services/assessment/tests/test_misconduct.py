"""Cases of misconduct: what stands still while one is open, and what each outcome does."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from assessment.domain import misconduct
from assessment.domain.attempts import AttemptState
from assessment.domain.misconduct import MisconductOutcome
from assessment.tables import Decision
from shared.events.assessment import (
    AssessmentFailed,
    AssessmentPassed,
    AttemptsExhausted,
    CreditAwarded,
    CreditReinstated,
    CreditRevoked,
    FailRatified,
    MisconductDecided,
    MisconductOpened,
    SubmissionVoided,
)
from shared.ids import new_id


async def accuse(story, submission_id, reason_code="plagiarism"):
    return await story.examiner.post(
        "/v1/misconduct-cases", json={"submission_id": str(submission_id), "reason_code": reason_code}
    )


async def case_about(story, submission_id) -> str:
    answer = await accuse(story, submission_id)
    assert answer.status_code == 201, answer.text
    return answer.json()["case_id"]


async def decide(story, case_id, outcome):
    return await story.chair.post(
        f"/v1/misconduct-cases/{case_id}/decision", json={"outcome": outcome, "minutes_reference": "AP/3"}
    )


async def ratify(story, window_id):
    """By somebody who did not sit on the panel."""
    return await story.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})


async def marked(story, mark=64):
    enrolment, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, mark)
    return enrolment, window_id, submission_id


async def credited(story):
    """Ratified credit; enrolment, submission, the credit's event."""
    enrolment, window_id, submission_id = await marked(story)
    await story.release(window_id)
    await story.board(window_id)
    [credit] = await story.announced(CreditAwarded)
    return enrolment, submission_id, credit


@pytest.mark.parametrize("state", AttemptState)
@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize("has_credit", [True, False])
def test_a_case_can_always_be_dropped_and_what_is_ratified_loses_its_credit_at_most(state, latest, has_credit):
    allowed = misconduct.possible(state, latest=latest, has_credit=has_credit)
    assert MisconductOutcome.NO_CASE in allowed
    ratified = state in {AttemptState.RATIFIED, AttemptState.VOIDED}
    assert (MisconductOutcome.MARK_ZERO in allowed) == (not ratified)
    assert (MisconductOutcome.RESUBMIT in allowed) == (not ratified and latest)
    assert (MisconductOutcome.CREDIT_REVOKED in allowed) == (ratified and has_credit)


async def test_while_a_case_is_open_the_result_stands_still(story):
    enrolment, window_id, submission_id = await marked(story)
    other = await story.enrol()
    case_id = await case_about(story, submission_id)
    [opened] = await story.announced(MisconductOpened)
    assert (str(opened.case_id), opened.learner_id, opened.attempt_no) == (case_id, enrolment.learner_id, 1)
    story.refused(await accuse(story, submission_id), 409, "case_open")
    story.refused(await story.mark(submission_id, 70, story.examiner, stage="moderation"), 409, "case_open")
    story.refused(await story.examiner.post(f"/v1/submissions/{submission_id}/release"), 409, "case_open")
    assert (await story.release(window_id))["released"] == 0
    seen = await story.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["submission"]["code"]) == ("frozen", "pending_result")
    assert (await story.read(other))["submission"]["code"] != "pending_result"
    [waiting] = (await story.examiner.get("/v1/misconduct-cases", params={"open": True})).json()["items"]
    assert (waiting["case_id"], waiting["outcome"]) == (case_id, None)


async def test_without_a_case_all_goes_on_as_before(story):
    _, window_id, submission_id = await marked(story)
    case_id = await case_about(story, submission_id)
    assert (await decide(story, case_id, "no_case")).json()["outcome"] == "no_case"
    story.refused(await decide(story, case_id, "mark_zero"), 409, "case_decided")
    assert (await story.release(window_id))["passed"] == 1
    assert (await ratify(story, window_id)).json()["credits_awarded"] == 1
    [decided] = await story.announced(MisconductDecided)
    assert decided.outcome == "no_case"
    assert (await story.examiner.get("/v1/misconduct-cases", params={"open": True})).json()["items"] == []
    assert len((await story.examiner.get("/v1/misconduct-cases", params={"open": False})).json()["items"]) == 1


async def test_a_released_result_under_a_case_is_held_by_the_board(story):
    _, window_id, submission_id = await marked(story)
    await story.release(window_id)
    case_id = await case_about(story, submission_id)
    assert story.refused(await story.board(window_id), 409, "nothing_to_ratify")["held"] == 1
    await decide(story, case_id, "no_case")
    story.refused(await story.board(window_id), 403, "same_person")  # they sat on the panel
    assert (await ratify(story, window_id)).json()["ratified"] == 1


async def test_no_file_takes_the_place_of_one_that_is_looked_into(story):
    enrolment = await story.enrol()
    window_id = await story.window()
    receipt = await story.receipt(enrolment)
    await case_about(story, receipt["submission_id"])
    story.refused(await story.submit(enrolment, window_id=window_id), 409, "pending_result")
    story.refused(await story.submit(enrolment), 409, "pending_result")


async def test_resubmission_gives_the_attempt_back(story):
    enrolment, window_id, submission_id = await marked(story)
    await story.release(window_id)
    case_id = await case_about(story, submission_id)
    assert (await decide(story, case_id, "resubmit")).status_code == 200
    [voided] = await story.announced(SubmissionVoided)
    assert (str(voided.submission_id), voided.reason_code) == (submission_id, "misconduct")
    seen = await story.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"], seen["attempts_left"]) == ("voided", None, 3)
    story.clock.advance(minutes=1)
    again = await story.window()
    assert (await story.receipt(enrolment, window_id=again))["attempt_no"] == 1


@pytest.mark.parametrize("stage", ["submitted", "marked", "released"])
async def test_a_mark_taken_away_uses_the_attempt_up(story, stage):
    enrolment, window_id, submission_id = await story.frozen()
    if stage != "submitted":
        await story.mark(submission_id, 64)
    if stage == "released":
        await story.release(window_id)
        story.clock.advance(seconds=1)
    case_id = await case_about(story, submission_id)
    assert (await decide(story, case_id, "mark_zero")).status_code == 200
    [failed] = await story.announced(AssessmentFailed)
    assert (str(failed.submission_id), failed.mark) == (submission_id, 0)
    assert all(failed.released_at > passed.released_at for passed in await story.announced(AssessmentPassed))
    result = (await story.read(enrolment))["attempts"][0]["result"]
    assert (result["mark"], result["raw_mark"], result["passed"]) == ("0", "0" if stage == "submitted" else "64", False)
    story.refused(await story.board(window_id), 403, "same_person")  # the panel gave this mark
    sat = await story.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})
    assert sat.json()["credits_awarded"] == 0
    [ratified] = await story.announced(FailRatified)
    assert (str(ratified.submission_id), ratified.mark, ratified.attempt_no) == (submission_id, 0, 1)
    assert (await story.read(enrolment))["attempts_left"] == 2


async def test_a_mark_taken_away_is_announced_as_later_whatever_the_clock_of_the_panels_replica(story):
    _, window_id, submission_id = await marked(story)
    await story.release(window_id)
    case_id = await case_about(story, submission_id)
    story.clock.advance(seconds=-3)
    await decide(story, case_id, "mark_zero")
    [passed], [failed] = await story.announced(AssessmentPassed), await story.announced(AssessmentFailed)
    assert failed.released_at > passed.released_at


async def test_the_last_attempt_taken_away_exhausts_them(story):
    enrolment = await story.enrol()
    for mark in (38, 44):
        await story.attempt(enrolment, mark)
    window_id = await story.attempt(enrolment, 70, ratified=False)
    [passed] = await story.announced(AssessmentPassed)
    story.clock.advance(seconds=1)
    await decide(story, await case_about(story, passed.submission_id), "mark_zero")
    await story.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})
    [exhausted] = await story.announced(AttemptsExhausted)
    assert exhausted.attempts_used == 3
    assert await story.announced(CreditAwarded) == []


async def test_an_earlier_attempt_cannot_be_made_again(story):
    enrolment = await story.enrol()
    await story.attempt(enrolment, 40, ratified=False)
    [failed] = await story.announced(AssessmentFailed)
    await story.attempt(enrolment, 60, ratified=False)
    case_id = await case_about(story, failed.submission_id)
    error = story.refused(await decide(story, case_id, "resubmit"), 409, "outcome_not_possible")
    assert error["outcomes"] == ["mark_zero", "no_case"]


async def test_after_the_board_the_credit_is_taken(story, session):
    _, submission_id, credit = await credited(story)
    case_id = await case_about(story, submission_id)
    for outcome in ("resubmit", "mark_zero"):
        story.refused(await decide(story, case_id, outcome), 409, "outcome_not_possible")
    assert (await decide(story, case_id, "credit_revoked")).status_code == 200
    [revoked] = await story.announced(CreditRevoked)
    assert (revoked.credit_id, revoked.reason_code) == (credit.credit_id, "misconduct")
    kinds = await session.scalars(select(Decision.kind).where(Decision.kind.in_(["case_decided", "credit_revoked"])))
    assert sorted(kinds) == ["case_decided", "credit_revoked"]


async def test_credit_that_a_board_took_meanwhile_is_not_taken_twice(story):
    _, submission_id, credit = await credited(story)
    case_id = await case_about(story, submission_id)
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    await story.examiner.post(f"/v1/credits/{credit.credit_id}/revocation", json=body)
    assert (await decide(story, case_id, "credit_revoked")).status_code == 200
    assert len(await story.announced(CreditRevoked)) == 1


async def test_nobody_judges_their_own_work_and_only_known_reasons_count(story):
    enrolment, _, submission_id = await marked(story)
    reasons = story.refused(await accuse(story, submission_id, "dullness"), 422, "unknown_reason")["reason_codes"]
    assert "plagiarism" in reasons
    async with story.service.client("learner", "examiner", id=enrolment.learner_id) as own:
        answer = await own.post(
            "/v1/misconduct-cases", json={"submission_id": submission_id, "reason_code": "plagiarism"}
        )
        story.refused(answer, 403, "own_work")
        case_id = await case_about(story, submission_id)
        body = {"outcome": "no_case", "minutes_reference": "AP/3"}
        story.refused(await own.post(f"/v1/misconduct-cases/{case_id}/decision", json=body), 403, "own_work")
    story.refused(await accuse(story, new_id()), 404, "not_found")
    story.refused(await decide(story, new_id(), "no_case"), 404, "not_found")


# Appeals


async def reinstate(story, credit_id, reason_code="appeal"):
    return await story.examiner.post(
        f"/v1/credits/{credit_id}/reinstatement", json={"reason_code": reason_code, "minutes_reference": "EB/10"}
    )


async def test_an_appeal_gives_the_credit_back_as_often_as_it_was_taken(story):
    _, _, credit = await credited(story)
    story.refused(await reinstate(story, credit.credit_id), 409, "credit_not_revoked")
    taking = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    for round_ in (1, 2):
        story.clock.advance(days=1)
        await story.examiner.post(f"/v1/credits/{credit.credit_id}/revocation", json=taking)
        story.refused(await reinstate(story, credit.credit_id, "pity"), 422, "unknown_reason")
        story.clock.advance(days=1)
        answer = await reinstate(story, credit.credit_id)
        assert (answer.status_code, answer.json()["revoked_at"]) == (200, None)
        reinstated = await story.announced(CreditReinstated)
        revoked = await story.announced(CreditRevoked)
        assert len(reinstated) == len(revoked) == round_
        assert reinstated[-1].reinstated_at - revoked[-1].revoked_at == timedelta(days=1)
    story.refused(await reinstate(story, new_id()), 404, "not_found")


async def test_a_case_and_the_board_at_once_leave_one_of_them_waiting(live, story_class):
    """Either the board ratified first, or the result is frozen: never a ratified result that a case froze before."""
    async with live.process.database.transaction() as session:
        story = story_class(live, session, live.clock)
        story.clock.at = story.opens + timedelta(days=2)
        for _ in range(5):
            enrolment = await story.enrol_live()
            story.clock.advance(minutes=1)
            window_id = await story.window()
            receipt = await story.receipt(enrolment, window_id=window_id)
            await story.close(window_id)
            await story.mark(receipt["submission_id"], 60)
            await story.release(window_id)
            accused, sat = await asyncio.gather(accuse(story, receipt["submission_id"]), story.board(window_id))
            assert accused.status_code == 201
            state = (await story.read(enrolment))["attempts"][0]["result"]["provisional"]
            assert state == (sat.status_code == 409)
