"""Nobody makes a result alone: learner, marker, moderator, panel and board are different persons."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from assessment.tables import Attempt, Board, MisconductCase
from shared.events.assessment import CreditAwarded
from shared.ids import new_id


@pytest.fixture
def both(driver, service):
    """One account that is marker and examiner: it marks, and would do all the rest."""
    driver.marker_id = driver.examiner_id
    driver.marker = driver.examiner = driver.chair = service.client("marker", "examiner", id=driver.examiner_id)
    return driver


async def sit(client, window_id):
    return await client.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/2"})


async def test_whoever_marked_does_not_moderate(both, service):
    _, _, submission_id = await both.frozen()
    assert (await both.mark(submission_id, 30)).status_code == 201
    both.refused(await both.mark(submission_id, 85, stage="moderation"), 403, "same_person")
    other = service.client("examiner")
    assert (await both.mark(submission_id, 52, other, stage="moderation")).status_code == 201


async def test_whoever_marked_does_not_ratify(both, service):
    _, window_id, submission_id = await both.frozen()
    await both.mark(submission_id, 60)
    await both.release(window_id)
    both.refused(await both.board(window_id), 403, "same_person")
    assert await both.announced(CreditAwarded) == []
    assert (await sit(service.client("examiner"), window_id)).json()["credits_awarded"] == 1


async def test_whoever_moderated_does_not_ratify(driver):
    _, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 48)
    await driver.mark(submission_id, 52, driver.chair, stage="moderation")
    await driver.release(window_id)
    driver.refused(await driver.board(window_id), 403, "same_person")
    assert (await sit(driver.examiner, window_id)).json()["credits_awarded"] == 1


async def test_a_board_member_ratifies_what_others_marked_and_leaves_the_rest(driver, service):
    window_id = await driver.window()
    receipts = [await driver.receipt(await driver.enrol()) for _ in range(2)]
    await driver.close(window_id)
    both = service.client("marker", "examiner")
    for receipt, marker in zip(receipts, (both, driver.marker), strict=True):
        await driver.mark(receipt["submission_id"], 60, marker)
    await driver.release(window_id)
    sat = (await sit(both, window_id)).json()
    assert (sat["ratified"], sat["held"]) == (1, 1)
    assert (await driver.board(window_id)).json()["ratified"] == 1


async def test_nobody_releases_ratifies_or_gives_back_their_own_result(driver, service):
    enrolment, window_id, submission_id = await driver.frozen()
    own = service.client("learner", "examiner", id=enrolment.learner_id)
    await driver.mark(submission_id, 60)
    driver.refused(await own.post(f"/v1/submissions/{submission_id}/release"), 403, "own_work")
    assert (await own.post(f"/v1/windows/{window_id}/release")).json()["released"] == 0
    await driver.release(window_id)
    driver.refused(await sit(own, window_id), 403, "same_person")
    await driver.board(window_id)
    [credit] = await driver.announced(CreditAwarded)
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    await driver.examiner.post(f"/v1/credits/{credit.credit_id}/revocation", json=body)
    path = f"/v1/credits/{credit.credit_id}/reinstatement"
    driver.refused(await own.post(path, json={**body, "reason_code": "appeal"}), 403, "own_work")


async def test_whoever_marked_takes_no_credit_away_and_gives_none_back(both, service):
    _, window_id, submission_id = await both.frozen()
    await both.mark(submission_id, 60)
    await both.release(window_id)
    other = service.client("examiner")
    await sit(other, window_id)
    [credit] = await both.announced(CreditAwarded)
    path = f"/v1/credits/{credit.credit_id}"
    body = {"reason_code": "misconduct", "minutes_reference": "EB/9"}
    both.refused(await both.examiner.post(f"{path}/revocation", json=body), 403, "same_person")
    assert (await other.post(f"{path}/revocation", json=body)).status_code == 200
    body["reason_code"] = "appeal"
    both.refused(await both.examiner.post(f"{path}/reinstatement", json=body), 403, "same_person")
    assert (await other.post(f"{path}/reinstatement", json=body)).status_code == 200


async def test_whoever_opened_a_case_or_marked_the_work_does_not_decide_the_case(both, service):
    _, _, submission_id = await both.frozen()
    await both.mark(submission_id, 60)
    opener = service.client("examiner")
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    case_id = (await opener.post("/v1/misconduct-cases", json=body)).json()["case_id"]
    decision = {"outcome": "no_case", "minutes_reference": "AP/3"}
    for one in (opener, both.marker):
        both.refused(await one.post(f"/v1/misconduct-cases/{case_id}/decision", json=decision), 403, "same_person")
    third = service.client("examiner")
    assert (await third.post(f"/v1/misconduct-cases/{case_id}/decision", json=decision)).status_code == 200


async def test_the_panel_of_a_case_does_not_ratify_what_it_cleared(driver, service, session):
    _, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    await driver.release(window_id)
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    case_id = (await driver.examiner.post("/v1/misconduct-cases", json=body)).json()["case_id"]
    decision = {"outcome": "no_case", "minutes_reference": "AP/3"}
    panel_id = new_id()
    panel = service.client("examiner", id=panel_id)
    assert (await panel.post(f"/v1/misconduct-cases/{case_id}/decision", json=decision)).status_code == 200
    driver.refused(await sit(panel, window_id), 403, "same_person")
    board = Board(
        board_id=new_id(),
        window_id=window_id,
        minutes_reference="EB/1",
        ratified=1,
        credits_awarded=1,
        deferred=0,
        decided_by=str(panel_id),
        decided_at=driver.clock(),
    )
    session.add(board)
    await session.flush()
    ratify = "update attempts set state = 'ratified', ratified_at = now(), board_id = :board"
    await refuses(session, ratify, board=board.board_id)
    assert (await sit(service.client("examiner"), window_id)).json()["credits_awarded"] == 1


# In the database, whatever the code does


async def refuses(session, statement, **values):
    with pytest.raises(IntegrityError, match=r"same_person|acts twice"):
        async with session.begin_nested():
            await session.execute(text(statement), values)


async def test_the_database_refuses_a_moderation_by_the_marker(driver, session):
    _, _, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    attempt_id = await session.scalar(select(Attempt.attempt_id))
    await refuses(
        session,
        """insert into marks (mark_id, attempt_id, submission_id, stage, mark, feedback, marked_by, marked_at)
        values (:id, :attempt, :submission, 'moderation', 85, '', :person, now())""",
        id=new_id(),
        attempt=attempt_id,
        submission=submission_id,
        person=str(driver.marker_id),
    )


async def test_the_database_refuses_a_board_of_the_marker(driver, session):
    _, window_id, submission_id = await driver.frozen()
    await driver.mark(submission_id, 60)
    await driver.release(window_id)
    board_id = new_id()
    session.add(
        Board(
            board_id=board_id,
            window_id=window_id,
            minutes_reference="EB/1",
            ratified=1,
            credits_awarded=1,
            deferred=0,
            decided_by=str(driver.marker_id),
            decided_at=driver.clock(),
        )
    )
    await session.flush()
    ratify = "update attempts set state = 'ratified', ratified_at = now(), board_id = :board"
    await refuses(session, ratify, board=board_id)
    await driver.board(window_id)
    take = "update credits set revoked_at = now(), revocation_reason = 'misconduct', revocation_board_id = :board"
    await refuses(session, take, board=board_id)


async def test_the_database_refuses_a_case_decided_by_who_opened_it(driver, session):
    _, _, submission_id = await driver.frozen()
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    assert (await driver.examiner.post("/v1/misconduct-cases", json=body)).status_code == 201
    assert await session.scalar(select(MisconductCase.opened_by)) == str(driver.examiner_id)
    decide = """update misconduct_cases set outcome = 'no_case', minutes_reference = 'AP/1', decided_at = now(),
        decided_by = opened_by"""
    await refuses(session, decide)
