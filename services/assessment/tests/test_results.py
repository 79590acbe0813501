"""From the mark to the credit."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from assessment.commands.releases import take_results
from assessment.tables import Decision, Mark, Submission
from shared.events.assessment import (
    AssessmentFailed,
    AssessmentPassed,
    CreditAwarded,
    CreditRevoked,
    FailRatified,
    MarkModerated,
)
from shared.ids import new_id
from shared.testing.services import published


async def test_work_is_marked_only_when_its_window_has_closed(story):
    enrolment = await story.enrol()
    window_id = await story.window(grace_seconds=60)
    receipt = await story.receipt(enrolment)
    story.refused(await story.mark(receipt["submission_id"], 60), 409, "window_still_open")
    await story.close(window_id)
    story.refused(await story.mark(receipt["submission_id"], 60), 409, "window_still_open")
    assert (await story.marker.get("/v1/marking-queue")).json()["items"] == []
    story.clock.advance(seconds=60)
    assert len((await story.marker.get("/v1/marking-queue")).json()["items"]) == 1
    assert (await story.mark(receipt["submission_id"], 60)).status_code == 201
    assert (await story.marker.get("/v1/marking-queue")).json()["items"] == []


async def test_the_marking_queue_is_paged_and_by_window(story):
    first = await story.window()
    for _ in range(3):
        story.clock.advance(minutes=1)
        await story.receipt(await story.enrol(), window_id=first)
    await story.close(first)
    page = (await story.marker.get("/v1/marking-queue", params={"limit": 2})).json()
    rest = (await story.marker.get("/v1/marking-queue", params={"cursor": page["next_cursor"]})).json()
    assert [len(page["items"]), len(rest["items"])] == [2, 1]
    other = (await story.marker.get("/v1/marking-queue", params={"window_id": str(new_id())})).json()
    assert other["items"] == []
    assert page["items"][0]["due_on"] == "2026-12-01"


async def test_the_marking_queue_goes_through_windows_at_once_by_when_the_work_came(story):
    """Two windows side by side that have closed, and one that is open still."""
    windows = [await story.window() for _ in range(3)]
    came = []
    for number in range(9):
        story.clock.advance(minutes=1)
        receipt = await story.receipt(await story.enrol(), window_id=windows[number % 3])
        came += [receipt["submission_id"]] if number % 3 < 2 else []
    await story.close(windows[0])
    await story.close(windows[1])
    seen, query = [], {"limit": 4}
    while True:
        page = (await story.marker.get("/v1/marking-queue", params=query)).json()
        seen += [one["submission_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == came
    page = (await story.marker.get("/v1/marking-queue", params={"window_id": str(windows[1])})).json()
    assert [one["submission_id"] for one in page["items"]] == came[1::2]
    page = (await story.marker.get("/v1/marking-queue", params={"window_id": str(windows[2])})).json()
    assert page == {"items": [], "next_cursor": None}


async def test_what_waits_for_a_mark_is_what_the_queue_holds_whatever_becomes_of_it(story, session):
    async def queued() -> list[str]:
        waiting = select(Submission.filename).where(Submission.awaits_mark).order_by(Submission.filename)
        return list(await session.scalars(waiting))

    replaced, marked, cancelled = [await story.enrol() for _ in range(3)]
    window_id = await story.window()
    await story.receipt(replaced, filename="first.pdf")
    await story.receipt(replaced, filename="second.pdf")
    receipt = await story.receipt(marked, filename="marked.pdf")
    await story.receipt(cancelled, filename="cancelled.pdf")
    assert await queued() == ["cancelled.pdf", "marked.pdf", "second.pdf"]
    await story.close(window_id)
    story.refused(
        await story.submit(await story.enrol(), filename="late.pdf", window_id=window_id), 409, "window_closed"
    )
    assert (await story.mark(receipt["submission_id"], 60)).status_code == 201
    await story.cancel(cancelled)
    assert await queued() == ["second.pdf"]


async def test_a_mark_outside_the_scale_is_refused(story):
    _, _, submission_id = await story.frozen()
    story.refused(await story.mark(submission_id, "100.5"), 422, "mark_out_of_range")
    story.refused(await story.mark(submission_id, "49.995"), 422, "mark_out_of_range")


@pytest.mark.parametrize(
    "mark",
    [
        "NaN",
        "0E+999999",
        "0E-999999",
        "1E1",
        "\uff15",
        "5_0",
        "50." + "0" * 20_000,
        "+50",
        "-1",
        "-0",
        " 50x",
        ".5",
        "5.",
        "",
        "50\n50",
    ],
)
async def test_a_mark_is_written_as_people_write_it(story, mark):
    _, _, submission_id = await story.frozen()
    story.refused(await story.mark(submission_id, mark), 422, "invalid_request")


@pytest.mark.parametrize("mark", [50, 50.5, True, None, ["50"]])
async def test_a_mark_is_a_string(story, mark):
    _, _, submission_id = await story.frozen()
    answer = await story.marker.post(f"/v1/submissions/{submission_id}/marks", json={"mark": mark})
    story.refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(("given", "shown"), [("50.00", "50"), ("064.5", "64.5"), ("100.0", "100")])
async def test_noughts_that_say_nothing_are_not_shown(story, given, shown):
    enrolment, window_id, submission_id = await story.frozen()
    assert (await story.mark(submission_id, given)).json()["mark"] == shown
    await story.release(window_id)
    result = (await story.read(enrolment))["attempts"][0]["result"]
    assert (result["mark"], result["raw_mark"]) == (shown, shown)


async def test_work_is_marked_once_and_moderated_by_an_examiner(story, session):
    _, window_id, submission_id = await story.frozen()
    story.refused(await story.mark(submission_id, 55, story.examiner, stage="moderation"), 409, "not_marked")
    story.refused(await story.mark(submission_id, 48, story.examiner), 403, "stage_not_permitted")
    await story.mark(submission_id, 48)
    story.refused(await story.mark(submission_id, 60), 409, "already_marked")
    story.refused(await story.mark(submission_id, 60, stage="moderation"), 403, "stage_not_permitted")
    assert (await story.mark(submission_id, 52, story.examiner, stage="moderation")).status_code == 201
    await story.release(window_id)
    [passed] = await story.announced(AssessmentPassed)
    assert passed.mark == 52
    story.refused(await story.mark(submission_id, 70, story.examiner, stage="moderation"), 409, "already_released")
    given = (await session.scalars(select(Mark).order_by(Mark.mark_id))).all()
    assert [(one.stage, one.mark, one.marked_by) for one in given] == [
        ("first", 48, str(story.marker_id)),
        ("moderation", 52, str(story.examiner_id)),
    ]


async def test_each_moderation_tells_its_outcome_and_no_mark(story):
    enrolment, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, 48)
    assert await story.announced(MarkModerated) == []
    for mark in (52, 49):
        assert (await story.mark(submission_id, mark, story.examiner, stage="moderation")).status_code == 201
    story.refused(await story.mark(submission_id, 101, story.examiner, stage="moderation"), 422, "mark_out_of_range")
    await story.release(window_id)
    announced = await story.announced(MarkModerated)
    assert [(str(one.submission_id), one.attempt_no, one.outcome) for one in announced] == [
        (submission_id, 1, "passed"),
        (submission_id, 1, "failed"),
    ]
    assert {one.enrolment_id for one in announced} == {enrolment.enrolment_id}
    assert "mark" not in MarkModerated.model_fields


async def test_the_boards_word_on_a_fail_is_announced_once(story):
    enrolment = await story.enrol()
    window_id = await story.attempt(enrolment, 41)
    story.refused(await story.board(window_id), 409, "nothing_to_ratify")
    [ratified] = await story.announced(FailRatified)
    assert (ratified.enrolment_id, ratified.attempt_no, ratified.mark) == (enrolment.enrolment_id, 1, 41)
    assert await story.announced(CreditAwarded) == []


async def test_a_mark_is_seen_by_the_learner_only_when_it_is_released(story):
    enrolment, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, 64)
    seen = await story.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"]) == ("in_marking", None)
    await story.release(window_id)
    attempt = (await story.read(enrolment))["attempts"][0]
    assert (attempt["state"], attempt["result"]["mark"], attempt["result"]["provisional"]) == (
        "provisional",
        "64",
        True,
    )
    await story.board(window_id)
    attempt = (await story.read(enrolment))["attempts"][0]
    assert (attempt["state"], attempt["result"]["provisional"]) == ("ratified", False)


async def test_one_result_is_released_once(story):
    _, window_id, submission_id = await story.frozen()
    path = f"/v1/submissions/{submission_id}/release"
    story.refused(await story.examiner.post(path), 409, "not_marked")
    await story.mark(submission_id, 40)
    released = await story.examiner.post(path)
    assert (released.status_code, released.json()["state"]) == (200, "released")
    story.refused(await story.examiner.post(path), 409, "already_released")
    assert {"released": 0, "passed": 0, "failed": 0}.items() <= (await story.release(window_id)).items()
    assert len(await story.announced(AssessmentFailed)) == 1


async def test_a_window_is_released_as_far_as_it_is_marked(story):
    window_id = await story.window()
    receipts = [await story.receipt(await story.enrol()) for _ in range(4)]
    await story.close(window_id)
    for receipt, mark in zip(receipts, (80, 50, "49.99"), strict=False):
        await story.mark(receipt["submission_id"], mark)
    results = (await story.examiner.get(f"/v1/windows/{window_id}/results", params={"state": "marked"})).json()
    assert {one["raw_mark"] for one in results["items"]} == {"80", "50", "49.99"}
    released = await story.release(window_id)
    assert {"released": 3, "passed": 2, "failed": 1, "state": "finished"}.items() <= released.items()
    page = (await story.examiner.get(f"/v1/windows/{window_id}/results", params={"limit": 3})).json()
    rest = await story.examiner.get(f"/v1/windows/{window_id}/results", params={"cursor": page["next_cursor"]})
    states = [one["state"] for one in page["items"] + rest.json()["items"]]
    assert sorted(states) == ["released", "released", "released", "submitted"]
    story.refused(await story.examiner.get(f"/v1/windows/{new_id()}/results"), 404, "not_found")


# The board


async def test_the_board_turns_released_passes_into_credit(story, session):
    course = story.course(subject_name="Data Science")
    enrolment, window_id, submission_id = await story.frozen(of=course)
    await story.mark(submission_id, "64.5")
    story.refused(await story.board(window_id), 409, "nothing_to_ratify")
    await story.release(window_id)
    answer = await story.board(window_id)
    assert answer.status_code == 201
    assert {name: answer.json()[name] for name in ("ratified", "credits_awarded", "held")} == {
        "ratified": 1,
        "credits_awarded": 1,
        "held": 0,
    }
    [credit] = await story.announced(CreditAwarded)
    assert credit.model_dump(exclude={"credit_id", "ratified_at"}, mode="json") == {
        "learner_id": str(enrolment.learner_id),
        "enrolment_id": str(enrolment.enrolment_id),
        "submission_id": submission_id,
        "course_id": str(course.course_id),
        "course_version_id": str(course.course_version_id),
        "course_code": "7DS501",
        "course_title": "Data Engineering",
        "module_family": course.module_family,
        "subject_id": str(course.subject_id),
        "subject_name": "Data Science",
        "credits": 15,
        "level": 7,
        "mark": "64.5",
        "attempt_no": 1,
        "board_id": answer.json()["board_id"],
        "regulations_version": "mc-regs-2026.2",
    }
    story.refused(await story.board(window_id), 409, "nothing_to_ratify")
    decisions = (await session.scalars(select(Decision.kind).order_by(Decision.decision_id))).all()
    assert decisions[-4:] == ["window_closed_early", "released", "board_sat", "ratified"]


async def test_a_repeated_board_gets_the_first_reply_and_awards_nothing_twice(story):
    _, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, 60)
    await story.release(window_id)
    body = {"window_id": str(window_id), "minutes_reference": "EB/1"}
    first, again = [
        await story.examiner.post("/v1/boards", json=body, headers={"Idempotency-Key": "board-1"}) for _ in range(2)
    ]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await story.announced(CreditAwarded)) == 1
    missing = await story.examiner.post("/v1/boards", json=body, headers={"Idempotency-Key": ""})
    story.refused(missing, 400, "idempotency_key_missing")


async def test_credit_is_awarded_once_per_learner_and_module_family(story, session):
    """Two versions of one module, passed in two enrolments, in one window."""
    old = story.course()
    new = story.course(course_id=old.course_id, module_family=old.module_family, version=2)
    first = await story.enrol(old)
    second = await story.enrol(new, learner_id=first.learner_id)
    window_id = await story.window()
    receipts = [await story.receipt(one) for one in (first, second)]
    await story.close(window_id)
    for receipt in receipts:
        await story.mark(receipt["submission_id"], 60)
    await story.release(window_id)
    answer = await story.board(window_id)
    assert (answer.json()["ratified"], answer.json()["credits_awarded"]) == (2, 1)
    assert len(await story.announced(CreditAwarded)) == 1
    kinds = (await session.scalars(select(Decision.kind))).all()
    assert kinds.count("no_second_credit") == 1


async def test_a_board_holds_the_results_of_suspended_enrolments(story):
    enrolment, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, 60)
    await story.release(window_id)
    await story.suspend(enrolment)
    assert story.refused(await story.board(window_id), 409, "nothing_to_ratify")["held"] == 1
    assert await story.announced(CreditAwarded) == []


async def test_two_boards_at_once_award_each_credit_once(live, story_class):
    story = story_class(live, None, live.clock)
    window_id = await story.window(opens_at=live.clock() - timedelta(days=1))
    receipts = [await story.receipt(await story.enrol_live()) for _ in range(3)]
    await story.close(window_id)
    for receipt in receipts:
        assert (await story.mark(receipt["submission_id"], 60)).status_code == 201
    await story.release(window_id)
    answers = await asyncio.gather(*(story.board(window_id) for _ in range(4)))
    assert min(answer.status_code for answer in answers) == 201
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "results_busy",
        "nothing_to_ratify",
    }
    assert [answer.status_code for answer in answers].count(201) == 1
    async with live.process.database.transaction() as session:
        assert sum(isinstance(event, CreditAwarded) for event in await published(session)) == 3


async def test_while_results_are_ratified_nobody_else_touches_them(live, story_class):
    story = story_class(live, None, live.clock)
    window_id = await story.window()
    async with live.process.database.transaction() as session:
        await take_results(session, window_id)
        for answer in (await story.board(window_id), await story.examiner.post(f"/v1/windows/{window_id}/release")):
            story.refused(answer, 409, "results_busy")
            assert answer.headers["retry-after"] == "5"


async def test_credit_is_revoked_once_for_a_reason_the_regulations_name(story):
    _, window_id, submission_id = await story.frozen()
    await story.mark(submission_id, 60)
    await story.release(window_id)
    await story.board(window_id)
    [credit] = await story.announced(CreditAwarded)
    path = f"/v1/credits/{credit.credit_id}/revocation"
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    story.refused(await story.examiner.post(path, json={**body, "reason_code": "dislike"}), 422, "unknown_reason")
    answer = await story.examiner.post(path, json=body)
    assert (answer.status_code, answer.json()["revocation_reason"]) == (200, "misconduct")
    story.refused(await story.examiner.post(path, json=body), 409, "credit_already_revoked")
    story.refused(await story.examiner.post(f"/v1/credits/{new_id()}/revocation", json=body), 404, "not_found")
    [revoked] = await story.announced(CreditRevoked)
    assert (revoked.credit_id, revoked.reason_code) == (credit.credit_id, "misconduct")
    assert revoked.board_id != credit.board_id


# What stays


@pytest.mark.parametrize(
    "statement", ["update decisions set actor = 'x'", "delete from decisions", "delete from marks"]
)
async def test_what_was_decided_cannot_be_changed_afterwards(story, session, statement):
    _, _, submission_id = await story.frozen()
    await story.mark(submission_id, 60)
    with pytest.raises(DBAPIError, match="append-only"):
        async with session.begin_nested():
            await session.execute(text(statement))
