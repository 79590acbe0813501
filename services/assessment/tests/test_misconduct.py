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


async def accuse(driver, submission_id, reason_code="plagiarism"):
    return await driver.examiner.post(
        "/v1/misconduct-cases", json={"submission_id": str(submission_id), "reason_code": reason_code}
    )


async def case_about(driver, submission_id) -> str:
    answer = await accuse(driver, submission_id)
    assert answer.status_code == 201, answer.text
    return answer.json()["case_id"]


async def decide(driver, case_id, outcome):
    return await driver.chair.post(
        f"/v1/misconduct-cases/{case_id}/decision", json={"outcome": outcome, "minutes_reference": "AP/3"}
    )


async def ratify(driver, window_id):
    """By somebody who did not sit on the panel."""
    return await driver.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})


async def marked(driver, mark=64):
    enrolment, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, mark)
    return enrolment, window_id, submission_id


async def credited(driver):
    """Ratified credit; enrolment, submission, the credit's event."""
    enrolment, window_id, submission_id = await marked(driver)
    await driver.release(window_id)
    await ratify(driver, window_id)
    [credit] = await driver.announced(CreditAwarded)
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


async def test_while_a_case_is_open_the_result_stands_still(driver):
    enrolment, window_id, submission_id = await marked(driver)
    other = await driver.enrol()
    case_id = await case_about(driver, submission_id)
    [opened] = await driver.announced(MisconductOpened)
    assert (str(opened.case_id), opened.learner_id, opened.attempt_no) == (case_id, enrolment.learner_id, 1)
    driver.refused(await accuse(driver, submission_id), 409, "case_open")
    driver.refused(await driver.mark(submission_id, 70, driver.examiner, stage="moderation"), 409, "case_open")
    driver.refused(await driver.examiner.post(f"/v1/submissions/{submission_id}/release"), 409, "case_open")
    assert (await driver.release(window_id))["released"] == 0
    seen = await driver.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["submission"]["code"]) == ("frozen", "pending_result")
    assert (await driver.read(other))["submission"]["code"] != "pending_result"
    [waiting] = (await driver.examiner.get("/v1/misconduct-cases", params={"open": True})).json()["items"]
    assert (waiting["case_id"], waiting["outcome"]) == (case_id, None)


async def test_without_a_case_all_goes_on_as_before(driver):
    _, window_id, submission_id = await marked(driver)
    case_id = await case_about(driver, submission_id)
    assert (await decide(driver, case_id, "no_case")).json()["outcome"] == "no_case"
    driver.refused(await decide(driver, case_id, "mark_zero"), 409, "case_decided")
    assert (await driver.release(window_id))["passed"] == 1
    assert (await ratify(driver, window_id)).json()["credits_awarded"] == 1
    [decided] = await driver.announced(MisconductDecided)
    assert decided.outcome == "no_case"
    assert (await driver.examiner.get("/v1/misconduct-cases", params={"open": True})).json()["items"] == []
    assert len((await driver.examiner.get("/v1/misconduct-cases", params={"open": False})).json()["items"]) == 1


async def test_a_released_result_under_a_case_is_held_by_the_board(driver):
    _, window_id, submission_id = await marked(driver)
    await driver.release(window_id)
    case_id = await case_about(driver, submission_id)
    assert driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")["held"] == 1
    await decide(driver, case_id, "no_case")
    driver.refused(await driver.board(window_id), 403, "same_person")  # they sat on the panel
    assert (await ratify(driver, window_id)).json()["ratified"] == 1


async def test_no_file_takes_the_place_of_one_that_is_looked_into(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window()
    receipt = await driver.receipt(enrolment)
    await case_about(driver, receipt["submission_id"])
    driver.refused(await driver.submit(enrolment, window_id=window_id), 409, "pending_result")
    driver.refused(await driver.submit(enrolment), 409, "pending_result")


async def test_resubmission_gives_the_attempt_back(driver):
    enrolment, window_id, submission_id = await marked(driver)
    await driver.release(window_id)
    case_id = await case_about(driver, submission_id)
    assert (await decide(driver, case_id, "resubmit")).status_code == 200
    [voided] = await driver.announced(SubmissionVoided)
    assert (str(voided.submission_id), voided.reason_code) == (submission_id, "misconduct")
    seen = await driver.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"], seen["attempts_left"]) == ("voided", None, 3)
    driver.clock.advance(minutes=1)
    again = await driver.window()
    assert (await driver.receipt(enrolment, window_id=again))["attempt_no"] == 1


@pytest.mark.parametrize("stage", ["submitted", "marked", "released"])
async def test_a_mark_taken_away_uses_the_attempt_up(driver, stage):
    enrolment, window_id, submission_id = await driver.frozen()
    if stage != "submitted":
        await driver.mark(submission_id, 64)
    if stage == "released":
        await driver.release(window_id)
        driver.clock.advance(seconds=1)
    case_id = await case_about(driver, submission_id)
    assert (await decide(driver, case_id, "mark_zero")).status_code == 200
    [failed] = await driver.announced(AssessmentFailed)
    assert (str(failed.submission_id), failed.mark) == (submission_id, 0)
    assert all(failed.released_at > passed.released_at for passed in await driver.announced(AssessmentPassed))
    result = (await driver.read(enrolment))["attempts"][0]["result"]
    assert (result["mark"], result["raw_mark"], result["passed"]) == ("0", "0" if stage == "submitted" else "64", False)
    driver.refused(await driver.board(window_id), 403, "same_person")  # the panel gave this mark
    sat = await driver.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})
    assert sat.json()["credits_awarded"] == 0
    [ratified] = await driver.announced(FailRatified)
    assert (str(ratified.submission_id), ratified.mark, ratified.attempt_no) == (submission_id, 0, 1)
    assert (await driver.read(enrolment))["attempts_left"] == 2


async def test_a_mark_taken_away_is_announced_as_later_whatever_the_clock_of_the_panels_replica(driver):
    _, window_id, submission_id = await marked(driver)
    await driver.release(window_id)
    case_id = await case_about(driver, submission_id)
    driver.clock.advance(seconds=-3)
    await decide(driver, case_id, "mark_zero")
    [passed], [failed] = await driver.announced(AssessmentPassed), await driver.announced(AssessmentFailed)
    assert failed.released_at > passed.released_at


async def test_the_last_attempt_taken_away_exhausts_them(driver):
    enrolment = await driver.enrol()
    for mark in (38, 44):
        await driver.attempt(enrolment, mark)
    window_id = await driver.attempt(enrolment, 70, ratified=False)
    [passed] = await driver.announced(AssessmentPassed)
    driver.clock.advance(seconds=1)
    await decide(driver, await case_about(driver, passed.submission_id), "mark_zero")
    await driver.examiner.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})
    [exhausted] = await driver.announced(AttemptsExhausted)
    assert exhausted.attempts_used == 3
    assert await driver.announced(CreditAwarded) == []


async def test_an_earlier_attempt_cannot_be_made_again(driver):
    enrolment = await driver.enrol()
    await driver.attempt(enrolment, 40, ratified=False)
    [failed] = await driver.announced(AssessmentFailed)
    await driver.attempt(enrolment, 60, ratified=False)
    case_id = await case_about(driver, failed.submission_id)
    error = driver.refused(await decide(driver, case_id, "resubmit"), 409, "outcome_not_possible")
    assert error["outcomes"] == ["mark_zero", "no_case"]


async def test_after_the_board_the_credit_is_taken(driver, session):
    _, submission_id, credit = await credited(driver)
    case_id = await case_about(driver, submission_id)
    for outcome in ("resubmit", "mark_zero"):
        driver.refused(await decide(driver, case_id, outcome), 409, "outcome_not_possible")
    assert (await decide(driver, case_id, "credit_revoked")).status_code == 200
    [revoked] = await driver.announced(CreditRevoked)
    assert (revoked.credit_id, revoked.reason_code) == (credit.credit_id, "misconduct")
    kinds = await session.scalars(select(Decision.kind).where(Decision.kind.in_(["case_decided", "credit_revoked"])))
    assert sorted(kinds) == ["case_decided", "credit_revoked"]


async def test_credit_that_a_board_took_meanwhile_is_not_taken_twice(driver):
    _, submission_id, credit = await credited(driver)
    case_id = await case_about(driver, submission_id)
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    await driver.examiner.post(f"/v1/credits/{credit.credit_id}/revocation", json=body)
    assert (await decide(driver, case_id, "credit_revoked")).status_code == 200
    assert len(await driver.announced(CreditRevoked)) == 1


async def test_nobody_judges_their_own_work_and_only_known_reasons_count(driver):
    enrolment, _, submission_id = await marked(driver)
    reasons = driver.refused(await accuse(driver, submission_id, "dullness"), 422, "unknown_reason")["reason_codes"]
    assert "plagiarism" in reasons
    async with driver.service.client("learner", "examiner", id=enrolment.learner_id) as own:
        answer = await own.post(
            "/v1/misconduct-cases", json={"submission_id": submission_id, "reason_code": "plagiarism"}
        )
        driver.refused(answer, 403, "own_work")
        case_id = await case_about(driver, submission_id)
        body = {"outcome": "no_case", "minutes_reference": "AP/3"}
        driver.refused(await own.post(f"/v1/misconduct-cases/{case_id}/decision", json=body), 403, "own_work")
    driver.refused(await accuse(driver, new_id()), 404, "not_found")
    driver.refused(await decide(driver, new_id(), "no_case"), 404, "not_found")


# Appeals


async def reinstate(driver, credit_id, reason_code="appeal"):
    return await driver.examiner.post(
        f"/v1/credits/{credit_id}/reinstatement", json={"reason_code": reason_code, "minutes_reference": "EB/10"}
    )


async def test_an_appeal_gives_the_credit_back_as_often_as_it_was_taken(driver):
    _, _, credit = await credited(driver)
    driver.refused(await reinstate(driver, credit.credit_id), 409, "credit_not_revoked")
    taking = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    for round_ in (1, 2):
        driver.clock.advance(days=1)
        await driver.examiner.post(f"/v1/credits/{credit.credit_id}/revocation", json=taking)
        driver.refused(await reinstate(driver, credit.credit_id, "pity"), 422, "unknown_reason")
        driver.clock.advance(days=1)
        answer = await reinstate(driver, credit.credit_id)
        assert (answer.status_code, answer.json()["revoked_at"]) == (200, None)
        reinstated = await driver.announced(CreditReinstated)
        revoked = await driver.announced(CreditRevoked)
        assert len(reinstated) == len(revoked) == round_
        assert reinstated[-1].reinstated_at - revoked[-1].revoked_at == timedelta(days=1)
    driver.refused(await reinstate(driver, new_id()), 404, "not_found")


async def test_a_case_and_the_board_at_once_leave_one_of_them_waiting(live, driver_class):
    """Either the board ratified first, or the result is frozen: never a ratified result that a case froze before."""
    async with live.process.database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        driver.clock.at = driver.opens + timedelta(days=2)
        for _ in range(5):
            enrolment = await driver.enrol_live()
            driver.clock.advance(minutes=1)
            window_id = await driver.window()
            receipt = await driver.receipt(enrolment, window_id=window_id)
            await driver.close(window_id)
            await driver.mark(receipt["submission_id"], 60)
            await driver.release(window_id)
            accused, sat = await asyncio.gather(accuse(driver, receipt["submission_id"]), driver.board(window_id))
            assert accused.status_code == 201
            state = (await driver.read(enrolment))["attempts"][0]["result"]["provisional"]
            assert state == (sat.status_code == 409)
