"""Every operation of staff is tried by the person whose work it is, and by somebody who sits the course beside them."""

from uuid import UUID

import pytest
from sqlalchemy import select

from assessment.access import ACCESS
from assessment.tables import Attempt
from shared.access import Own
from shared.events.assessment import CreditAwarded
from shared.testing.access import own_matters

STAFF = ("learner", "marker", "examiner")


async def mark_submission(story, person, submission_id):
    return await story.mark(submission_id, 90, person)


async def release_submission(story, person, submission_id):
    await story.mark(submission_id, 60)
    return await person.post(f"/v1/submissions/{submission_id}/release")


async def open_misconduct_case(story, person, submission_id):
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    return await person.post("/v1/misconduct-cases", json=body)


async def decide_misconduct_case(story, person, submission_id):
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    case_id = (await story.examiner.post("/v1/misconduct-cases", json=body)).json()["case_id"]
    decision = {"outcome": "no_case", "minutes_reference": "AP/3"}
    return await person.post(f"/v1/misconduct-cases/{case_id}/decision", json=decision)


async def credited(story, submission_id):
    await story.mark(submission_id, 60)
    window_id = UUID(
        (await story.examiner.get("/v1/windows", params={"state": "closed"})).json()["items"][-1]["window_id"]
    )
    await story.release(window_id)
    await story.board(window_id)
    [credit] = await story.announced(CreditAwarded)
    return f"/v1/credits/{credit.credit_id}"


async def revoke_credit(story, person, submission_id):
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    return await person.post(f"{await credited(story, submission_id)}/revocation", json=body)


async def reinstate_credit(story, person, submission_id):
    path, body = await credited(story, submission_id), {"reason_code": "error", "minutes_reference": "EB/9"}
    assert (await story.chair.post(f"{path}/revocation", json=body)).status_code == 200
    return await person.post(f"{path}/reinstatement", json=body)


async def list_marking_queue(story, person, submission_id):
    answer = await person.get("/v1/marking-queue")
    return [one["submission_id"] for one in answer.json()["items"]]


async def results(story, person, window_id):
    return [one["submission_id"] for one in (await person.get(f"/v1/windows/{window_id}/results")).json()["items"]]


WALKS = {
    walk.__name__: walk
    for walk in (
        mark_submission,
        release_submission,
        open_misconduct_case,
        decide_misconduct_case,
        revoke_credit,
        reinstate_credit,
    )
}


@pytest.fixture
async def people(story, service):
    """Work of somebody who is staff too, and of somebody else on the same course; both windows' worth is frozen."""
    of = story.course()
    mine, theirs = await story.enrol(of), await story.enrol(of)
    window_id = await story.window()
    receipts = [(await story.receipt(one))["submission_id"] for one in (mine, theirs)]
    await story.close(window_id)
    async with service.client(*STAFF, id=mine.learner_id) as person:
        yield person, window_id, *receipts, mine


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS))
    left_out = {"list_marking_queue", "list_results", "release_window", "ratify_results"}
    assert {operation for operation, rule in ACCESS.items() if rule.own is Own.LEFT_OUT} == left_out


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_their_own_work(story, people, operation):
    person, _, own, _, _ = people
    story.refused(await WALKS[operation](story, person, own), 403, own_matters(ACCESS)[operation])


@pytest.mark.parametrize("operation", WALKS)
async def test_who_sits_a_course_decides_nothing_about_others_on_it(story, people, operation):
    person, _, _, rivals, _ = people
    story.refused(await WALKS[operation](story, person, rivals), 403, "sits_course")


async def test_what_is_done_to_many_leaves_out_what_one_has_an_interest_in(story, people, session):
    person, window_id, own, rivals, _ = people
    elsewhere, other_window, unrelated = await story.frozen()
    assert await list_marking_queue(story, person, None) == [unrelated]
    for submission_id in (own, rivals, unrelated):
        await story.mark(submission_id, 60)
    assert await results(story, person, window_id) == []
    assert await results(story, person, other_window) == [unrelated]
    assert (await person.post(f"/v1/windows/{window_id}/release")).json()["released"] == 0
    assert (await person.post(f"/v1/windows/{other_window}/release")).json()["released"] == 1
    await story.release(window_id)
    board = {"window_id": str(window_id), "minutes_reference": "EB/1"}
    story.refused(await person.post("/v1/boards", json=board), 403, "same_person")
    sat = await person.post("/v1/boards", json={**board, "window_id": str(other_window)})
    assert sat.json()["ratified"] == 1
    states = dict(list(await session.execute(select(Attempt.enrolment_id, Attempt.state))))
    assert states.pop(elsewhere.enrolment_id) == "ratified"
    assert set(states.values()) == {"released"}


async def file(person, submission_id):
    return await person.get(f"/v1/submissions/{submission_id}/file")


async def test_who_sits_a_course_reads_no_file_of_others_on_it(story, people):
    person, _, own, rivals, _ = people
    assert (await file(person, own)).status_code == 200
    story.refused(await file(person, rivals), 403, "sits_course")
    assert (await file(story.marker, rivals)).status_code == 200


@pytest.mark.parametrize("how", ["passed", "cancelled"])
async def test_who_has_passed_or_left_a_course_marks_it_again(story, people, how):
    person, window_id, own, rivals, mine = people
    if how == "passed":
        await story.mark(own, 60)
        await story.release(window_id)
        await story.board(window_id)
    else:
        await story.cancel(mine)
    assert (await story.mark(rivals, 60, person)).status_code == 201
    assert (await file(person, rivals)).status_code == 200


async def test_staff_read_a_file_when_its_window_has_closed_and_no_draft(story):
    enrolment = await story.enrol()
    window_id = await story.window(closes_at=story.closes)
    replaced = (await story.receipt(enrolment))["submission_id"]
    current = (await story.receipt(enrolment))["submission_id"]
    for staff in (story.marker, story.examiner):
        story.refused(await file(staff, current), 409, "window_still_open")
    late = await story.submit(enrolment, story.uploading(story.pdf(), story.closes, b"late"))
    draft = story.refused(late, 409, "window_closed")["draft"]["submission_id"]
    for submission_id in (replaced, draft):
        story.refused(await file(story.marker, submission_id), 404, "not_found")
        assert (await file(story.learner(enrolment), submission_id)).status_code == 200
    assert (await file(story.marker, current)).status_code == 200
    assert window_id


async def test_whoever_used_up_the_last_attempt_no_longer_sits_the_course(story, service):
    course = story.course()
    enrolment, other = await story.enrol(course), await story.enrol(course)
    person = service.client("learner", "marker", id=enrolment.learner_id)
    for mark in (38, 44):
        await story.attempt(enrolment, mark)
    window_id = await story.window()
    own, work = await story.receipt(enrolment), await story.receipt(other)
    await story.close(window_id)
    story.refused(await story.mark(work["submission_id"], 60, person), 403, "sits_course")
    await story.mark(own["submission_id"], 49)
    await story.release(window_id)
    story.refused(await story.mark(work["submission_id"], 60, person), 403, "sits_course")
    await story.board(window_id)
    assert (await story.mark(work["submission_id"], 60, person)).status_code == 201
    await story.consume(story.activation(course, learner_id=enrolment.learner_id))  # bought anew
    examiner = service.client("learner", "examiner", id=enrolment.learner_id)
    answer = await story.mark(work["submission_id"], 61, examiner, stage="moderation")
    story.refused(answer, 403, "sits_course")
