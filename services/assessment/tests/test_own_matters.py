"""Every operation of staff is tried by the person whose work it is, and by somebody who sits the course beside them."""

from uuid import UUID

import pytest
from sqlalchemy import select

from assessment.access import ACCESS
from assessment.domain.marks import SitsCourse
from assessment.tables import Attempt, Submission
from shared.access import Own
from shared.events.assessment import CreditAwarded
from shared.testing.access import own_matters

STAFF = ("learner", "marker", "examiner")


async def mark_submission(driver, person, submission_id):
    return await driver.mark(submission_id, 90, person)


async def release_submission(driver, person, submission_id):
    await driver.mark(submission_id, 60)
    return await person.post(f"/v1/submissions/{submission_id}/release")


async def open_misconduct_case(driver, person, submission_id):
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    return await person.post("/v1/misconduct-cases", json=body)


async def decide_misconduct_case(driver, person, submission_id):
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    case_id = (await driver.examiner.post("/v1/misconduct-cases", json=body)).json()["case_id"]
    decision = {"outcome": "no_case", "minutes_reference": "AP/3"}
    return await person.post(f"/v1/misconduct-cases/{case_id}/decision", json=decision)


async def credited(driver, submission_id):
    await driver.mark(submission_id, 60)
    window_id = UUID(
        (await driver.examiner.get("/v1/windows", params={"state": "closed"})).json()["items"][-1]["window_id"]
    )
    await driver.release(window_id)
    await driver.board(window_id)
    [credit] = await driver.announced(CreditAwarded)
    return f"/v1/credits/{credit.credit_id}"


async def revoke_credit(driver, person, submission_id):
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    return await person.post(f"{await credited(driver, submission_id)}/revocation", json=body)


async def reinstate_credit(driver, person, submission_id):
    path, body = await credited(driver, submission_id), {"reason_code": "error", "minutes_reference": "EB/9"}
    assert (await driver.chair.post(f"{path}/revocation", json=body)).status_code == 200
    return await person.post(f"{path}/reinstatement", json=body)


async def make_window(driver, person, submission_id):
    body = {"opens_at": driver.clock().isoformat(), "closes_at": driver.closes.isoformat()}
    return await person.post("/v1/windows", json=body)


async def close_window(driver, person, submission_id):
    return await person.post(f"/v1/windows/{await driver.window()}/closing")


BRIEF = {
    "title": "A catalogue of one's own",
    "task": "Design a small data product.",
    "deliverable": "A report",
    "word_limit": 3000,
    "criteria": [
        {"name": "Design", "description": "The whole.", "weight_percent": 100},
    ],
}


async def put_brief(driver, person, submission_id):
    version = await driver.session.scalar(
        select(Submission.course_version_id).where(Submission.submission_id == UUID(submission_id))
    )
    return await person.put(f"/v1/briefs/{version}", json=BRIEF)


async def list_marking_queue(driver, person, submission_id):
    answer = await person.get("/v1/marking-queue")
    return [one["submission_id"] for one in answer.json()["items"]]


async def cases(person):
    return [one["submission_id"] for one in (await person.get("/v1/misconduct-cases")).json()["items"]]


async def results(driver, person, window_id):
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
        make_window,
        close_window,
        put_brief,
    )
}
LEFT_OUT = {"list_marking_queue", "list_results", "release_window", "ratify_results", "list_misconduct_cases"}
NO_MATTER_WHO = {"read_release", "read_board"}
"""They count a whole window's results, and show none."""
OF_OWNERS = {"read_submission_file"}


@pytest.fixture
async def people(driver, service):
    """Work of somebody who is staff too, and of somebody else on the same course; both windows' worth is frozen."""
    of = driver.course()
    mine, theirs = await driver.enrol(of), await driver.enrol(of)
    window_id = await driver.window()
    receipts = [(await driver.receipt(one))["submission_id"] for one in (mine, theirs)]
    await driver.close(window_id)
    async with service.client(*STAFF, id=mine.learner_id) as person:
        yield person, window_id, *receipts, mine


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS)) == {name for name, rule in ACCESS.items() if judged(rule)}
    assert {operation for operation, rule in ACCESS.items() if rule.own is Own.LEFT_OUT} == LEFT_OUT


def judged(rule):
    return SitsCourse in rule.refusals


def test_no_operation_of_staff_is_for_whoever_sits_the_course():
    """But those that say why."""
    of_staff = {operation for operation, rule in ACCESS.items() if rule.staff}
    assert of_staff - set(WALKS) - LEFT_OUT == NO_MATTER_WHO | OF_OWNERS


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_their_own_work(driver, people, operation):
    person, _, own, _, _ = people
    driver.refused(await WALKS[operation](driver, person, own), 403, own_matters(ACCESS)[operation])


@pytest.mark.parametrize("operation", WALKS)
async def test_who_sits_a_course_decides_nothing_about_others_on_it(driver, people, operation):
    person, _, _, rivals, _ = people
    driver.refused(await WALKS[operation](driver, person, rivals), 403, "sits_course")


async def test_what_is_done_to_many_leaves_out_what_one_has_an_interest_in(driver, people, session):
    person, window_id, own, rivals, _ = people
    elsewhere, other_window, unrelated = await driver.frozen()
    assert await list_marking_queue(driver, person, None) == [unrelated]
    for submission_id in (own, rivals, unrelated):
        await open_misconduct_case(driver, driver.chair, submission_id)
    assert await cases(person) == [unrelated]
    assert await cases(driver.examiner) == [own, rivals, unrelated]
    for case in (await driver.chair.get("/v1/misconduct-cases")).json()["items"]:
        decision = {"outcome": "no_case", "minutes_reference": "AP/3"}
        await driver.examiner.post(f"/v1/misconduct-cases/{case['case_id']}/decision", json=decision)
    for submission_id in (own, rivals, unrelated):
        await driver.mark(submission_id, 60)
    assert await results(driver, person, window_id) == []
    assert await results(driver, person, other_window) == [unrelated]
    assert (await person.post(f"/v1/windows/{window_id}/release")).json()["released"] == 0
    assert (await person.post(f"/v1/windows/{other_window}/release")).json()["released"] == 1
    await driver.release(window_id)
    board = {"window_id": str(window_id), "minutes_reference": "EB/1"}
    driver.refused(await person.post("/v1/boards", json=board), 403, "same_person")
    sat = await person.post("/v1/boards", json={**board, "window_id": str(other_window)})
    assert sat.json()["ratified"] == 1
    states = dict(list(await session.execute(select(Attempt.enrolment_id, Attempt.state))))
    assert states.pop(elsewhere.enrolment_id) == "ratified"
    assert set(states.values()) == {"released"}


async def file(person, submission_id):
    return await person.get(f"/v1/submissions/{submission_id}/file")


async def test_who_sits_a_course_reads_no_file_of_others_on_it(driver, people):
    person, _, own, rivals, _ = people
    assert (await file(person, own)).status_code == 200
    driver.refused(await file(person, rivals), 403, "sits_course")
    assert (await file(driver.marker, rivals)).status_code == 200


@pytest.mark.parametrize("operation", ["put_brief", "make_window", "close_window"])
async def test_whoever_has_left_a_course_is_its_staff_again(driver, people, operation):
    person, _, _, rivals, mine = people
    await driver.cancel(mine)
    assert (await WALKS[operation](driver, person, rivals)).status_code in (200, 201)


async def test_a_case_about_oneself_is_not_listed_when_one_has_left_the_course(driver, people):
    person, _, own, rivals, mine = people
    for submission_id in (own, rivals):
        await open_misconduct_case(driver, driver.examiner, submission_id)
    await driver.cancel(mine)
    assert await cases(person) == [rivals]


async def test_who_sits_one_version_of_a_module_writes_no_brief_of_another(driver, people, service):
    person, _, _, _, mine = people
    old = driver.course()
    new = driver.course(module_family=old.module_family, version=2)
    await driver.consume(new, old, driver.activation(old, learner_id=mine.learner_id))
    driver.refused(await person.put(f"/v1/briefs/{new.course_version_id}", json=BRIEF), 403, "sits_course")
    assert (await driver.examiner.put(f"/v1/briefs/{new.course_version_id}", json=BRIEF)).status_code == 201


@pytest.mark.parametrize("how", ["passed", "cancelled"])
async def test_who_has_passed_or_left_a_course_marks_it_again(driver, people, how):
    person, window_id, own, rivals, mine = people
    if how == "passed":
        await driver.mark(own, 60)
        await driver.release(window_id)
        await driver.board(window_id)
    else:
        await driver.cancel(mine)
    assert (await driver.mark(rivals, 60, person)).status_code == 201
    assert (await file(person, rivals)).status_code == 200


async def test_staff_read_a_file_when_its_window_has_closed_and_no_draft(driver):
    enrolment = await driver.enrol()
    window_id = await driver.window(closes_at=driver.closes)
    replaced = (await driver.receipt(enrolment))["submission_id"]
    current = (await driver.receipt(enrolment))["submission_id"]
    for staff in (driver.marker, driver.examiner):
        driver.refused(await file(staff, current), 409, "window_still_open")
    late = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"))
    draft = driver.refused(late, 409, "window_closed")["draft"]["submission_id"]
    for submission_id in (replaced, draft):
        driver.refused(await file(driver.marker, submission_id), 404, "not_found")
        assert (await file(driver.learner(enrolment), submission_id)).status_code == 200
    assert (await file(driver.marker, current)).status_code == 200
    assert window_id


async def test_whoever_used_up_the_last_attempt_no_longer_sits_the_course(driver, service):
    course = driver.course()
    enrolment, other = await driver.enrol(course), await driver.enrol(course)
    person = service.client("learner", "marker", id=enrolment.learner_id)
    for mark in (38, 44):
        await driver.attempt(enrolment, mark)
    window_id = await driver.window()
    own, work = await driver.receipt(enrolment), await driver.receipt(other)
    await driver.close(window_id)
    driver.refused(await driver.mark(work["submission_id"], 60, person), 403, "sits_course")
    await driver.mark(own["submission_id"], 49)
    await driver.release(window_id)
    driver.refused(await driver.mark(work["submission_id"], 60, person), 403, "sits_course")
    await driver.board(window_id)
    assert (await driver.mark(work["submission_id"], 60, person)).status_code == 201
    await driver.consume(driver.activation(course, learner_id=enrolment.learner_id))  # bought anew
    examiner = service.client("learner", "examiner", id=enrolment.learner_id)
    answer = await driver.mark(work["submission_id"], 61, examiner, stage="moderation")
    driver.refused(answer, 403, "sits_course")
