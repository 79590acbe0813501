"""What an enrolment leaves behind that ended early: cases go on, and what was released counts when the course is bought
again.
"""

import asyncio

import pytest
from sqlalchemy import select

from assessment.domain import attempts
from assessment.domain.attempts import AttemptState
from assessment.handlers import inbox
from assessment.tables import Attempt, Decision
from shared.events.assessment import (
    AssessmentFailed,
    AttemptsExhausted,
    CreditAwarded,
    FailRatified,
    MisconductDecided,
    SubmissionVoided,
)
from shared.events.enrolment import EnrolmentCancelled
from shared.ids import new_id


class Buying:
    def __init__(self, driver):
        self.driver, self.course, self.learner_id = driver, driver.course(), new_id()

    async def __call__(self):
        self.driver.clock.advance(seconds=1)
        return await self.driver.enrol(self.course, learner_id=self.learner_id, activated_at=self.driver.clock())


@pytest.fixture
def buying(driver):
    """One course, and a learner who buys it as often as they like."""
    return Buying(driver)


async def accuse(driver, submission_id) -> str:
    body = {"submission_id": str(submission_id), "reason_code": "plagiarism"}
    answer = await driver.examiner.post("/v1/misconduct-cases", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["case_id"]


async def decide(driver, case_id, outcome):
    body = {"outcome": outcome, "minutes_reference": "AP/3"}
    return await driver.chair.post(f"/v1/misconduct-cases/{case_id}/decision", json=body)


async def accused(driver, enrolment, *, mark=None, released=False):
    """Work of that enrolment with a case open about it: window, submission, case."""
    window_id = await driver.window()
    submission_id = (await driver.receipt(enrolment, window_id=window_id))["submission_id"]
    await driver.close(window_id)
    if mark is not None:
        await driver.mark(submission_id, mark)
    if released:
        await driver.release(window_id)
    return window_id, submission_id, await accuse(driver, submission_id)


async def fresh_attempt(driver, enrolment, mark):
    """The number of the next attempt, and its result."""
    await driver.attempt(enrolment, mark, ratified=False)
    seen = (await driver.read(enrolment))["attempts"][-1]
    return seen["attempt_no"], seen["result"]["mark"]


@pytest.mark.parametrize(("mark", "released"), [(None, False), (70, False), (70, True), (40, True)])
@pytest.mark.parametrize("reason_code", ["refunded", "withdrawn"])
@pytest.mark.parametrize("outcome", ["no_case", "mark_zero", "resubmit"])
async def test_who_is_accused_does_not_end_the_case_by_leaving(driver, buying, mark, released, reason_code, outcome):
    enrolment = await buying()
    window_id, _, case_id = await accused(driver, enrolment, mark=mark, released=released)
    await driver.cancel(enrolment, reason_code=reason_code)
    assert (await driver.read(enrolment))["attempts"][0]["state"] == "frozen"
    assert await driver.announced(SubmissionVoided) == []

    driver.clock.advance(seconds=1)
    answer = await decide(driver, case_id, outcome)
    assert answer.status_code == 200, answer.text
    [decided] = await driver.announced(MisconductDecided)
    assert decided.outcome == outcome
    state = (await driver.read(enrolment))["attempts"][0]["state"]
    voided = [event.reason_code for event in await driver.announced(SubmissionVoided)]
    released_fail = released and mark == 40
    if outcome == "mark_zero" or (outcome == "no_case" and released_fail):
        assert (state, voided) == ("provisional", [])
        board = {"window_id": str(window_id), "minutes_reference": "EB/1"}
        assert (await driver.examiner.post("/v1/boards", json=board)).json()["ratified"] == 1
        assert len(await driver.announced(FailRatified)) == 1
    else:
        assert (state, voided) == ("voided", [reason_code if outcome == "no_case" else "misconduct"])
    assert await driver.announced(CreditAwarded) == []

    counted = outcome == "mark_zero" or (outcome == "no_case" and released)
    assert await fresh_attempt(driver, await buying(), 80) == ((2, "50") if counted else (1, "80"))


async def test_who_buys_again_waits_for_the_case(driver, buying):
    first = await buying()
    _, _, case_id = await accused(driver, first, mark=70)
    await driver.cancel(first)
    second = await buying()
    await driver.window()
    driver.refused(await driver.submit(second), 409, "pending_result")
    assert (await driver.read(second))["submission"]["code"] == "pending_result"
    await decide(driver, case_id, "mark_zero")
    assert (await driver.receipt(second))["attempt_no"] == 2


async def test_an_attempt_is_not_given_back_once_a_later_enrolment_went_on_from_it(driver, buying):
    first = await buying()
    await driver.attempt(first, 40, ratified=False)
    [failed] = await driver.announced(AssessmentFailed)
    await driver.cancel(first)
    await fresh_attempt(driver, await buying(), 80)
    case_id = await accuse(driver, failed.submission_id)
    error = driver.refused(await decide(driver, case_id, "resubmit"), 409, "outcome_not_possible")
    assert error["outcomes"] == ["mark_zero", "no_case"]


@pytest.mark.parametrize("ratified", [True, False])
@pytest.mark.parametrize("reason_code", ["refunded", "withdrawn", "payment_lost"])
async def test_a_fail_and_the_cap_are_not_washed_off_by_buying_again(driver, buying, ratified, reason_code):
    first = await buying()
    window_id = await driver.attempt(first, 30, ratified=ratified)
    await driver.cancel(first, reason_code=reason_code)
    seen = await driver.read(first)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"]["mark"]) == (
        "ratified" if ratified else "provisional",
        "30",
    )
    if not ratified:
        assert (await driver.board(window_id)).json()["ratified"] == 1
    second = await buying()
    assert (await driver.read(second))["attempts_left"] == 2
    assert await fresh_attempt(driver, second, 80) == (2, "50")


async def test_a_pass_that_went_back_with_its_money_was_an_attempt(driver, buying):
    first = await buying()
    window_id = await driver.attempt(first, 51, ratified=False)
    await driver.cancel(first)
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    assert await fresh_attempt(driver, await buying(), 80) == (2, "50")


async def test_what_was_never_released_counts_for_nothing(driver, buying):
    first = await buying()
    _, _, case_id = await accused(driver, first, mark=30)
    await decide(driver, case_id, "no_case")
    await driver.cancel(first)
    assert await fresh_attempt(driver, await buying(), 80) == (1, "80")


async def test_attempts_are_counted_through_several_purchases_until_they_are_used_up(driver, buying):
    for number in (1, 2, 3):
        enrolment = await buying()
        assert (await driver.read(enrolment))["attempts_left"] == 4 - number
        await driver.attempt(enrolment, 40)
        if number < 3:
            await driver.cancel(enrolment)
    [exhausted] = await driver.announced(AttemptsExhausted)
    assert (exhausted.enrolment_id, exhausted.attempts_used) == (enrolment.enrolment_id, 3)
    anew = await buying()
    assert (await driver.read(anew))["attempts_left"] == 3
    assert await fresh_attempt(driver, anew, 80) == (1, "80")


async def test_what_others_did_or_in_other_modules_counts_for_nothing(driver, buying):
    first = await buying()
    await driver.attempt(first, 30)
    await driver.cancel(first)
    elsewhere = await driver.enrol(learner_id=first.learner_id, activated_at=driver.clock())
    assert (await driver.read(elsewhere))["attempts_left"] == 3
    another = await driver.enrol(buying.course, activated_at=driver.clock())
    assert (await driver.read(another))["attempts_left"] == 3


async def test_the_next_version_of_a_course_is_the_same_module(driver):
    of = driver.course()
    first = await driver.enrol(of, activated_at=driver.clock())
    await driver.attempt(first, 30)
    await driver.cancel(first)
    following = driver.course(course_id=of.course_id, version=2, module_family=of.module_family)
    second = await driver.enrol(following, learner_id=first.learner_id, activated_at=driver.clock())
    assert (await driver.read(second))["attempts_left"] == 2


async def test_a_cancellation_and_the_panel_at_once_leave_one_consistent_order(live, driver_class):
    """Whichever comes first, work that was cleared goes with its enrolment, and what was proven stays."""
    driver = driver_class(live, None, live.clock)
    window_id = await driver.window()
    enrolments = [await driver.enrol_live() for _ in range(8)]
    receipts = [await driver.receipt(one) for one in enrolments]
    await driver.close(window_id)
    cases = [await accuse(driver, receipt["submission_id"]) for receipt in receipts]
    outcomes = ["no_case", "mark_zero"] * 4

    async def cancel(enrolment):
        event = EnrolmentCancelled(
            enrolment_id=enrolment.enrolment_id,
            learner_id=enrolment.learner_id,
            course_id=enrolment.course_id,
            reason_code="refunded",
            sequence=1,
            cancelled_at=live.clock(),
        )
        async with live.process.database.transaction() as session:
            await inbox.receive(session, event)

    at_once = zip(enrolments, cases, outcomes, strict=True)
    await asyncio.gather(*(one for e, c, o in at_once for one in (cancel(e), decide(driver, c, o))))
    async with live.process.database.transaction() as session:
        rows = await session.execute(select(Attempt.enrolment_id, Attempt.state))
        states = {row.enrolment_id: row.state for row in rows}
        assert [states[one.enrolment_id] for one in enrolments] == ["voided", "released"] * 4
        voided = select(Decision.reason_code).where(Decision.kind == "voided")
        assert set(await session.scalars(voided)) == {"refunded"}


# The rule


def earlier(no: int, state: AttemptState, *, passed: bool | None = None, frozen: bool = False) -> attempts.Attempt:
    return attempts.Attempt(new_id(), no, state, passed, new_id(), frozen=frozen, earlier=True)


FAILED, PASSED, SAT = (
    {"state": AttemptState.RATIFIED, "passed": False},
    {"state": AttemptState.RATIFIED, "passed": True},
    {"state": AttemptState.SUBMITTED},
)


@pytest.mark.parametrize(
    ("numbers", "last", "next_no"),
    [
        ([], None, 1),
        ([1], FAILED, 2),
        ([1, 2], FAILED, 3),
        ([1, 2, 3], FAILED, 1),
        ([1, 2, 3, 1], FAILED, 2),
        ([1], PASSED, 1),
        ([1, 2], {"state": AttemptState.VOIDED, "passed": True}, 3),
        ([1], {"state": AttemptState.RELEASED, "passed": False}, 2),
        ([1, 2], {**SAT, "frozen": True}, 3),
    ],
)
def test_attempts_count_on_unless_they_are_used_up_or_brought_credit(numbers, last, next_no):
    before = [earlier(no, **FAILED) for no in numbers[:-1]] + [earlier(no, **last) for no in numbers[-1:]]
    history = attempts.carried_over(before, 3)
    assert attempts.next_attempt_no(history) == next_no
    assert attempts.attempts_left(history, 3) == 4 - next_no
    assert attempts.replaceable(history) is None
