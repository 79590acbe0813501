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
    def __init__(self, story):
        self.story, self.course, self.learner_id = story, story.course(), new_id()

    async def __call__(self):
        self.story.clock.advance(seconds=1)
        return await self.story.enrol(self.course, learner_id=self.learner_id, activated_at=self.story.clock())


@pytest.fixture
def buying(story):
    """One course, and a learner who buys it as often as they like."""
    return Buying(story)


async def accuse(story, submission_id) -> str:
    body = {"submission_id": str(submission_id), "reason_code": "plagiarism"}
    answer = await story.examiner.post("/v1/misconduct-cases", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["case_id"]


async def decide(story, case_id, outcome):
    body = {"outcome": outcome, "minutes_reference": "AP/3"}
    return await story.chair.post(f"/v1/misconduct-cases/{case_id}/decision", json=body)


async def accused(story, enrolment, *, mark=None, released=False):
    """Work of that enrolment with a case open about it: window, submission, case."""
    window_id = await story.window()
    submission_id = (await story.receipt(enrolment, window_id=window_id))["submission_id"]
    await story.close(window_id)
    if mark is not None:
        await story.mark(submission_id, mark)
    if released:
        await story.release(window_id)
    return window_id, submission_id, await accuse(story, submission_id)


async def fresh_attempt(story, enrolment, mark):
    """The number of the next attempt, and its result."""
    await story.attempt(enrolment, mark, ratified=False)
    seen = (await story.read(enrolment))["attempts"][-1]
    return seen["attempt_no"], seen["result"]["mark"]


@pytest.mark.parametrize(("mark", "released"), [(None, False), (70, False), (70, True), (40, True)])
@pytest.mark.parametrize("reason_code", ["refunded", "withdrawn"])
@pytest.mark.parametrize("outcome", ["no_case", "mark_zero", "resubmit"])
async def test_who_is_accused_does_not_end_the_case_by_leaving(story, buying, mark, released, reason_code, outcome):
    enrolment = await buying()
    window_id, _, case_id = await accused(story, enrolment, mark=mark, released=released)
    await story.cancel(enrolment, reason_code=reason_code)
    assert (await story.read(enrolment))["attempts"][0]["state"] == "frozen"
    assert await story.announced(SubmissionVoided) == []

    story.clock.advance(seconds=1)
    answer = await decide(story, case_id, outcome)
    assert answer.status_code == 200, answer.text
    [decided] = await story.announced(MisconductDecided)
    assert decided.outcome == outcome
    state = (await story.read(enrolment))["attempts"][0]["state"]
    voided = [event.reason_code for event in await story.announced(SubmissionVoided)]
    released_fail = released and mark == 40
    if outcome == "mark_zero" or (outcome == "no_case" and released_fail):
        assert (state, voided) == ("provisional", [])
        board = {"window_id": str(window_id), "minutes_reference": "EB/1"}
        assert (await story.examiner.post("/v1/boards", json=board)).json()["ratified"] == 1
        assert len(await story.announced(FailRatified)) == 1
    else:
        assert (state, voided) == ("voided", [reason_code if outcome == "no_case" else "misconduct"])
    assert await story.announced(CreditAwarded) == []

    counted = outcome == "mark_zero" or (outcome == "no_case" and released)
    assert await fresh_attempt(story, await buying(), 80) == ((2, "50") if counted else (1, "80"))


async def test_who_buys_again_waits_for_the_case(story, buying):
    first = await buying()
    _, _, case_id = await accused(story, first, mark=70)
    await story.cancel(first)
    second = await buying()
    await story.window()
    story.refused(await story.submit(second), 409, "pending_result")
    assert (await story.read(second))["submission"]["code"] == "pending_result"
    await decide(story, case_id, "mark_zero")
    assert (await story.receipt(second))["attempt_no"] == 2


async def test_an_attempt_is_not_given_back_once_a_later_enrolment_went_on_from_it(story, buying):
    first = await buying()
    await story.attempt(first, 40, ratified=False)
    [failed] = await story.announced(AssessmentFailed)
    await story.cancel(first)
    await fresh_attempt(story, await buying(), 80)
    case_id = await accuse(story, failed.submission_id)
    error = story.refused(await decide(story, case_id, "resubmit"), 409, "outcome_not_possible")
    assert error["outcomes"] == ["mark_zero", "no_case"]


@pytest.mark.parametrize("ratified", [True, False])
@pytest.mark.parametrize("reason_code", ["refunded", "withdrawn", "payment_lost"])
async def test_a_fail_and_the_cap_are_not_washed_off_by_buying_again(story, buying, ratified, reason_code):
    first = await buying()
    window_id = await story.attempt(first, 30, ratified=ratified)
    await story.cancel(first, reason_code=reason_code)
    seen = await story.read(first)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"]["mark"]) == (
        "ratified" if ratified else "provisional",
        "30",
    )
    if not ratified:
        assert (await story.board(window_id)).json()["ratified"] == 1
    second = await buying()
    assert (await story.read(second))["attempts_left"] == 2
    assert await fresh_attempt(story, second, 80) == (2, "50")


async def test_a_pass_that_went_back_with_its_money_was_an_attempt(story, buying):
    first = await buying()
    window_id = await story.attempt(first, 51, ratified=False)
    await story.cancel(first)
    story.refused(await story.board(window_id), 409, "nothing_to_ratify")
    assert await fresh_attempt(story, await buying(), 80) == (2, "50")


async def test_what_was_never_released_counts_for_nothing(story, buying):
    first = await buying()
    _, _, case_id = await accused(story, first, mark=30)
    await decide(story, case_id, "no_case")
    await story.cancel(first)
    assert await fresh_attempt(story, await buying(), 80) == (1, "80")


async def test_attempts_are_counted_through_several_purchases_until_they_are_used_up(story, buying):
    for number in (1, 2, 3):
        enrolment = await buying()
        assert (await story.read(enrolment))["attempts_left"] == 4 - number
        await story.attempt(enrolment, 40)
        if number < 3:
            await story.cancel(enrolment)
    [exhausted] = await story.announced(AttemptsExhausted)
    assert (exhausted.enrolment_id, exhausted.attempts_used) == (enrolment.enrolment_id, 3)
    anew = await buying()
    assert (await story.read(anew))["attempts_left"] == 3
    assert await fresh_attempt(story, anew, 80) == (1, "80")


async def test_what_others_did_or_in_other_modules_counts_for_nothing(story, buying):
    first = await buying()
    await story.attempt(first, 30)
    await story.cancel(first)
    elsewhere = await story.enrol(learner_id=first.learner_id, activated_at=story.clock())
    assert (await story.read(elsewhere))["attempts_left"] == 3
    another = await story.enrol(buying.course, activated_at=story.clock())
    assert (await story.read(another))["attempts_left"] == 3


async def test_the_next_version_of_a_course_is_the_same_module(story):
    of = story.course()
    first = await story.enrol(of, activated_at=story.clock())
    await story.attempt(first, 30)
    await story.cancel(first)
    following = story.course(course_id=of.course_id, version=2, module_family=of.module_family)
    second = await story.enrol(following, learner_id=first.learner_id, activated_at=story.clock())
    assert (await story.read(second))["attempts_left"] == 2


async def test_a_cancellation_and_the_panel_at_once_leave_one_consistent_order(live, story_class):
    """Whichever comes first, work that was cleared goes with its enrolment, and what was proven stays."""
    story = story_class(live, None, live.clock)
    window_id = await story.window()
    enrolments = [await story.enrol_live() for _ in range(8)]
    receipts = [await story.receipt(one) for one in enrolments]
    await story.close(window_id)
    cases = [await accuse(story, receipt["submission_id"]) for receipt in receipts]
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
    await asyncio.gather(*(one for e, c, o in at_once for one in (cancel(e), decide(story, c, o))))
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
