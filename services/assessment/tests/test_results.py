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


async def test_work_is_marked_only_when_its_window_has_closed(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window(grace_seconds=60)
    receipt = await driver.receipt(enrolment)
    driver.refused(await driver.mark(receipt["submission_id"], 60), 409, "window_still_open")
    await driver.close(window_id)
    driver.refused(await driver.mark(receipt["submission_id"], 60), 409, "window_still_open")
    assert (await driver.marker.get("/v1/marking-queue")).json()["items"] == []
    driver.clock.advance(seconds=60)
    assert len((await driver.marker.get("/v1/marking-queue")).json()["items"]) == 1
    assert (await driver.mark(receipt["submission_id"], 60)).status_code == 201
    assert (await driver.marker.get("/v1/marking-queue")).json()["items"] == []


async def test_the_marking_queue_is_paged_and_by_window(driver):
    first = await driver.window()
    for _ in range(3):
        driver.clock.advance(minutes=1)
        await driver.receipt(await driver.enrol(), window_id=first)
    await driver.close(first)
    page = (await driver.marker.get("/v1/marking-queue", params={"limit": 2})).json()
    rest = (await driver.marker.get("/v1/marking-queue", params={"cursor": page["next_cursor"]})).json()
    assert [len(page["items"]), len(rest["items"])] == [2, 1]
    other = (await driver.marker.get("/v1/marking-queue", params={"window_id": str(new_id())})).json()
    assert other["items"] == []
    assert page["items"][0]["due_on"] == "2026-12-01"


async def test_the_marking_queue_goes_through_windows_at_once_by_when_the_work_came(driver):
    """Two windows side by side that have closed, and one that is open still."""
    windows = [await driver.window() for _ in range(3)]
    came = []
    for number in range(9):
        driver.clock.advance(minutes=1)
        receipt = await driver.receipt(await driver.enrol(), window_id=windows[number % 3])
        came += [receipt["submission_id"]] if number % 3 < 2 else []
    await driver.close(windows[0])
    await driver.close(windows[1])
    seen, query = [], {"limit": 4}
    while True:
        page = (await driver.marker.get("/v1/marking-queue", params=query)).json()
        seen += [one["submission_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == came
    page = (await driver.marker.get("/v1/marking-queue", params={"window_id": str(windows[1])})).json()
    assert [one["submission_id"] for one in page["items"]] == came[1::2]
    page = (await driver.marker.get("/v1/marking-queue", params={"window_id": str(windows[2])})).json()
    assert page == {"items": [], "next_cursor": None, "unreadable": 0}


async def test_what_waits_for_a_mark_is_what_the_queue_holds_whatever_becomes_of_it(driver, session):
    async def queued() -> list[str]:
        waiting = select(Submission.filename).where(Submission.awaits_mark).order_by(Submission.filename)
        return list(await session.scalars(waiting))

    replaced, marked, cancelled = [await driver.enrol() for _ in range(3)]
    window_id = await driver.window()
    await driver.receipt(replaced, filename="first.pdf")
    await driver.receipt(replaced, filename="second.pdf")
    receipt = await driver.receipt(marked, filename="marked.pdf")
    await driver.receipt(cancelled, filename="cancelled.pdf")
    assert await queued() == ["cancelled.pdf", "marked.pdf", "second.pdf"]
    await driver.close(window_id)
    driver.refused(
        await driver.submit(await driver.enrol(), filename="late.pdf", window_id=window_id), 409, "window_closed"
    )
    assert (await driver.mark(receipt["submission_id"], 60)).status_code == 201
    await driver.cancel(cancelled)
    assert await queued() == ["second.pdf"]


async def test_a_mark_outside_the_scale_is_refused(driver):
    _, _, submission_id = await driver.frozen()
    driver.refused(await driver.mark(submission_id, "100.5"), 422, "mark_out_of_range")
    driver.refused(await driver.mark(submission_id, "49.995"), 422, "mark_out_of_range")


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
async def test_a_mark_is_written_as_people_write_it(driver, mark):
    _, _, submission_id = await driver.frozen()
    driver.refused(await driver.mark(submission_id, mark), 422, "invalid_request")


@pytest.mark.parametrize("mark", [50, 50.5, True, None, ["50"]])
async def test_a_mark_is_a_string(driver, mark):
    _, _, submission_id = await driver.frozen()
    answer = await driver.marker.post(f"/v1/submissions/{submission_id}/marks", json={"mark": mark})
    driver.refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(("given", "shown"), [("50.00", "50"), ("064.5", "64.5"), ("100.0", "100")])
async def test_noughts_that_say_nothing_are_not_shown(driver, given, shown):
    enrolment, window_id, submission_id = await driver.frozen()
    assert (await driver.mark(submission_id, given)).json()["mark"] == shown
    await driver.release(window_id)
    result = (await driver.read(enrolment))["attempts"][0]["result"]
    assert (result["mark"], result["raw_mark"]) == (shown, shown)


async def test_work_is_marked_once_and_moderated_by_an_examiner(driver, session):
    _, window_id, submission_id = await driver.frozen()
    driver.refused(await driver.mark(submission_id, 55, driver.examiner, stage="moderation"), 409, "not_marked")
    driver.refused(await driver.mark(submission_id, 48, driver.examiner), 403, "stage_not_permitted")
    await driver.mark(submission_id, 48)
    driver.refused(await driver.mark(submission_id, 60), 409, "already_marked")
    driver.refused(await driver.mark(submission_id, 60, stage="moderation"), 403, "stage_not_permitted")
    assert (await driver.mark(submission_id, 52, driver.examiner, stage="moderation")).status_code == 201
    await driver.release(window_id)
    [passed] = await driver.announced(AssessmentPassed)
    assert passed.mark == 52
    driver.refused(await driver.mark(submission_id, 70, driver.examiner, stage="moderation"), 409, "already_released")
    given = (await session.scalars(select(Mark).order_by(Mark.mark_id))).all()
    assert [(one.stage, one.mark, one.marked_by) for one in given] == [
        ("first", 48, str(driver.marker_id)),
        ("moderation", 52, str(driver.examiner_id)),
    ]


async def test_each_moderation_tells_its_outcome_and_no_mark(driver):
    enrolment, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 48)
    assert await driver.announced(MarkModerated) == []
    for mark in (52, 49):
        assert (await driver.mark(submission_id, mark, driver.examiner, stage="moderation")).status_code == 201
    driver.refused(await driver.mark(submission_id, 101, driver.examiner, stage="moderation"), 422, "mark_out_of_range")
    await driver.release(window_id)
    announced = await driver.announced(MarkModerated)
    assert [(str(one.submission_id), one.attempt_no, one.outcome) for one in announced] == [
        (submission_id, 1, "passed"),
        (submission_id, 1, "failed"),
    ]
    assert {one.enrolment_id for one in announced} == {enrolment.enrolment_id}
    assert "mark" not in MarkModerated.model_fields


async def test_the_boards_word_on_a_fail_is_announced_once(driver):
    enrolment = await driver.enrol()
    window_id = await driver.attempt(enrolment, 41)
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    [ratified] = await driver.announced(FailRatified)
    assert (ratified.enrolment_id, ratified.attempt_no, ratified.mark) == (enrolment.enrolment_id, 1, 41)
    assert await driver.announced(CreditAwarded) == []


async def test_a_mark_is_seen_by_the_learner_only_when_it_is_released(driver):
    enrolment, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 64)
    seen = await driver.read(enrolment)
    assert (seen["attempts"][0]["state"], seen["attempts"][0]["result"]) == ("in_marking", None)
    await driver.release(window_id)
    attempt = (await driver.read(enrolment))["attempts"][0]
    assert (attempt["state"], attempt["result"]["mark"], attempt["result"]["provisional"]) == (
        "provisional",
        "64",
        True,
    )
    await driver.board(window_id)
    attempt = (await driver.read(enrolment))["attempts"][0]
    assert (attempt["state"], attempt["result"]["provisional"]) == ("ratified", False)


async def test_one_result_is_released_once(driver):
    _, window_id, submission_id = await driver.frozen()
    path = f"/v1/submissions/{submission_id}/release"
    driver.refused(await driver.examiner.post(path), 409, "not_marked")
    await driver.mark(submission_id, 40)
    released = await driver.examiner.post(path)
    assert (released.status_code, released.json()["state"]) == (200, "released")
    driver.refused(await driver.examiner.post(path), 409, "already_released")
    assert {"released": 0, "passed": 0, "failed": 0}.items() <= (await driver.release(window_id)).items()
    assert len(await driver.announced(AssessmentFailed)) == 1


async def test_a_window_is_released_as_far_as_it_is_marked(driver):
    window_id = await driver.window()
    receipts = [await driver.receipt(await driver.enrol()) for _ in range(4)]
    await driver.close(window_id)
    for receipt, mark in zip(receipts, (80, 50, "49.99"), strict=False):
        await driver.mark(receipt["submission_id"], mark)
    results = (await driver.examiner.get(f"/v1/windows/{window_id}/results", params={"state": "marked"})).json()
    assert {one["raw_mark"] for one in results["items"]} == {"80", "50", "49.99"}
    released = await driver.release(window_id)
    assert {"released": 3, "passed": 2, "failed": 1, "state": "finished"}.items() <= released.items()
    page = (await driver.examiner.get(f"/v1/windows/{window_id}/results", params={"limit": 3})).json()
    rest = await driver.examiner.get(f"/v1/windows/{window_id}/results", params={"cursor": page["next_cursor"]})
    states = [one["state"] for one in page["items"] + rest.json()["items"]]
    assert sorted(states) == ["released", "released", "released", "submitted"]
    driver.refused(await driver.examiner.get(f"/v1/windows/{new_id()}/results"), 404, "not_found")


# The board


async def test_the_board_turns_released_passes_into_credit(driver, session):
    course = driver.course(subject_name="Data Science")
    enrolment, window_id, submission_id = await driver.frozen(of=course)
    await driver.mark(submission_id, "64.5")
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    await driver.release(window_id)
    answer = await driver.board(window_id)
    assert answer.status_code == 201
    assert {name: answer.json()[name] for name in ("ratified", "credits_awarded", "held")} == {
        "ratified": 1,
        "credits_awarded": 1,
        "held": 0,
    }
    [credit] = await driver.announced(CreditAwarded)
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
    driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")
    decisions = (await session.scalars(select(Decision.kind).order_by(Decision.decision_id))).all()
    assert decisions[-4:] == ["window_closed_early", "released", "board_sat", "ratified"]


async def test_a_repeated_board_gets_the_first_reply_and_awards_nothing_twice(driver):
    _, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    await driver.release(window_id)
    body = {"window_id": str(window_id), "minutes_reference": "EB/1"}
    first, again = [
        await driver.examiner.post("/v1/boards", json=body, headers={"Idempotency-Key": "board-1"}) for _ in range(2)
    ]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await driver.announced(CreditAwarded)) == 1
    missing = await driver.examiner.post("/v1/boards", json=body, headers={"Idempotency-Key": ""})
    driver.refused(missing, 400, "idempotency_key_missing")


async def test_credit_is_awarded_once_per_learner_and_module_family(driver, session):
    """Two versions of one module, passed in two enrolments, in one window."""
    old = driver.course()
    new = driver.course(course_id=old.course_id, module_family=old.module_family, version=2)
    first = await driver.enrol(old)
    second = await driver.enrol(new, learner_id=first.learner_id)
    window_id = await driver.window()
    receipts = [await driver.receipt(one) for one in (first, second)]
    await driver.close(window_id)
    for receipt in receipts:
        await driver.mark(receipt["submission_id"], 60)
    await driver.release(window_id)
    answer = await driver.board(window_id)
    assert (answer.json()["ratified"], answer.json()["credits_awarded"]) == (2, 1)
    assert len(await driver.announced(CreditAwarded)) == 1
    kinds = (await session.scalars(select(Decision.kind))).all()
    assert kinds.count("no_second_credit") == 1


async def test_a_board_holds_the_results_of_suspended_enrolments(driver):
    enrolment, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    await driver.release(window_id)
    await driver.suspend(enrolment)
    assert driver.refused(await driver.board(window_id), 409, "nothing_to_ratify")["held"] == 1
    assert await driver.announced(CreditAwarded) == []


async def test_two_boards_at_once_award_each_credit_once(live, driver_class):
    driver = driver_class(live, None, live.clock)
    window_id = await driver.window(opens_at=live.clock() - timedelta(days=1))
    receipts = [await driver.receipt(await driver.enrol_live()) for _ in range(3)]
    await driver.close(window_id)
    for receipt in receipts:
        assert (await driver.mark(receipt["submission_id"], 60)).status_code == 201
    await driver.release(window_id)
    answers = await asyncio.gather(*(driver.board(window_id) for _ in range(4)))
    assert min(answer.status_code for answer in answers) == 201
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "results_busy",
        "nothing_to_ratify",
    }
    assert [answer.status_code for answer in answers].count(201) == 1
    async with live.process.database.transaction() as session:
        assert sum(isinstance(event, CreditAwarded) for event in await published(session)) == 3


async def test_while_results_are_ratified_nobody_else_touches_them(live, driver_class):
    driver = driver_class(live, None, live.clock)
    window_id = await driver.window()
    async with live.process.database.transaction() as session:
        await take_results(session, window_id)
        for answer in (await driver.board(window_id), await driver.examiner.post(f"/v1/windows/{window_id}/release")):
            driver.refused(answer, 409, "results_busy")
            assert answer.headers["retry-after"] == "5"


async def test_credit_is_revoked_once_for_a_reason_the_regulations_name(driver):
    _, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    await driver.release(window_id)
    await driver.board(window_id)
    [credit] = await driver.announced(CreditAwarded)
    path = f"/v1/credits/{credit.credit_id}/revocation"
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    driver.refused(await driver.examiner.post(path, json={**body, "reason_code": "dislike"}), 422, "unknown_reason")
    answer = await driver.examiner.post(path, json=body)
    assert (answer.status_code, answer.json()["revocation_reason"]) == (200, "misconduct")
    driver.refused(await driver.examiner.post(path, json=body), 409, "credit_already_revoked")
    driver.refused(await driver.examiner.post(f"/v1/credits/{new_id()}/revocation", json=body), 404, "not_found")
    [revoked] = await driver.announced(CreditRevoked)
    assert (revoked.credit_id, revoked.reason_code) == (credit.credit_id, "misconduct")
    assert revoked.board_id != credit.board_id


# What stays


@pytest.mark.parametrize(
    "statement", ["update decisions set actor = 'x'", "delete from decisions", "delete from marks"]
)
async def test_what_was_decided_cannot_be_changed_afterwards(driver, session, statement):
    _, _, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    with pytest.raises(DBAPIError, match="append-only"):
        async with session.begin_nested():
            await session.execute(text(statement))
