"""Nobody makes a result alone: learner, marker, moderator, panel and board are different persons."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from assessment.domain.marks import Part
from assessment.tables import Attempt, Board, Credit, MisconductCase, Submission
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


# Every two parts in one result, in either order


def minutes(**more):
    return {"minutes_reference": f"M/{new_id().hex[-6:]}", **more}


class Parts:
    """One result, in which a person acts, and strangers do what has to be done before."""

    def __init__(self, driver, service, enrolment, window_id, submission_id):
        self.driver, self.service = driver, service
        self.window_id, self.submission_id = window_id, submission_id
        self.learner_id, self.person_id = enrolment.learner_id, new_id()
        self.done, self.revoked, self.case_id = set(), False, None

    def stranger(self):
        return self.service.client("marker", "examiner")

    def person(self):
        return self.service.client("learner", "marker", "examiner", id=self.person_id)

    async def act(self, name):
        """Let the person act, once strangers have prepared it; the answer."""
        await getattr(self, f"before_{name}", self.nothing)()
        self.driver.clock.advance(seconds=1)
        return await getattr(self, name)(self.person())

    async def nothing(self):
        pass

    async def by_a_stranger(self, name):
        if name in self.done:
            return
        self.driver.clock.advance(seconds=1)
        await getattr(self, f"before_{name}", self.nothing)()
        answer = await getattr(self, name)(self.stranger())
        assert answer.is_success, answer.text

    def did(self, name, answer, **changes):
        if answer.is_success:
            self.done.add(name)
            vars(self).update(changes)
        return answer

    async def hand_in(self, person):
        self.person_id = self.learner_id
        return await person.get("/v1/windows")  # it is handed in

    async def mark(self, person):
        return self.did("mark", await self.driver.mark(self.submission_id, 60, person))

    async def before_moderate(self):
        await self.by_a_stranger("mark")

    async def moderate(self, person):
        return await self.driver.mark(self.submission_id, 62, person, stage="moderation")

    async def accuse(self):
        body = {"submission_id": self.submission_id, "reason_code": "plagiarism"}
        self.case_id = (await self.stranger().post("/v1/misconduct-cases", json=body)).json()["case_id"]

    before_drop_case = accuse

    async def decide(self, person, outcome):
        path = f"/v1/misconduct-cases/{self.case_id}/decision"
        return await person.post(path, json=minutes(outcome=outcome))

    async def drop_case(self, person):
        return await self.decide(person, "no_case")

    async def before_take_by_case(self):
        await self.before_revoke()
        await self.accuse()

    async def take_by_case(self, person):
        return self.did("take_by_case", await self.decide(person, "credit_revoked"), revoked=True)

    async def before_ratify(self):
        await self.by_a_stranger("mark")
        await self.stranger().post(f"/v1/windows/{self.window_id}/release")

    async def ratify(self, person):
        return self.did("ratify", await sit(person, self.window_id))

    async def before_revoke(self):
        await self.by_a_stranger("ratify")
        if self.revoked:
            assert (await self.reinstate(self.stranger())).is_success

    async def credit(self, person, act, reason_code):
        credit_id = await self.driver.session.scalar(select(Credit.credit_id))
        return await person.post(f"/v1/credits/{credit_id}/{act}", json=minutes(reason_code=reason_code))

    async def revoke(self, person):
        return self.did("revoke", await self.credit(person, "revocation", "misconduct"), revoked=True)

    async def before_reinstate(self):
        if not self.revoked:
            await self.by_a_stranger("ratify")
            assert (await self.revoke(self.stranger())).is_success

    async def reinstate(self, person):
        return self.did("reinstate", await self.credit(person, "reinstatement", "appeal"), revoked=False)


ACTS = {
    "hand_in": Part.LEARNER,
    "mark": Part.MARKER,
    "moderate": Part.MODERATOR,
    "drop_case": Part.PANEL,
    "take_by_case": Part.PANEL,
    "ratify": Part.BOARD,
    "revoke": Part.BOARD,
    "reinstate": Part.BOARD,
}
ON_RATIFIED = {"take_by_case", "ratify", "revoke", "reinstate"}
PAIRS = [(one, then) for one, part in ACTS.items() for then, other in ACTS.items() if part is not other]


@pytest.fixture
async def parts(driver, service):
    return Parts(driver, service, *await driver.frozen())


def test_every_part_is_acted():
    assert set(ACTS.values()) == set(Part)


@pytest.mark.parametrize(("one", "then"), [pair for pair in PAIRS if pair[1] != "hand_in"])
async def test_whoever_had_one_part_takes_no_other(driver, parts, one, then):
    assert (await parts.act(one)).is_success
    answer = await parts.act(then)
    if one == "hand_in" and then != "ratify":
        driver.refused(answer, 403, "own_work")
    elif then in {"mark", "moderate"} and one in ON_RATIFIED:
        driver.refused(answer, 409, "already_released")
    elif (one, then) == ("moderate", "mark"):
        driver.refused(answer, 409, "already_marked")
    elif (one, then) == ("take_by_case", "ratify"):  # it is ratified
        driver.refused(answer, 409, "nothing_to_ratify")
    else:
        driver.refused(answer, 403, "same_person")


@pytest.mark.parametrize("then", ["drop_case", "take_by_case"])
@pytest.mark.parametrize("one", ["drop_case", "take_by_case"])
async def test_no_two_cases_about_one_result_have_the_same_panel(driver, parts, one, then):
    assert (await parts.act(one)).is_success
    driver.refused(await parts.act(then), 403, "same_person")


async def test_the_marking_queue_shows_nobody_work_that_they_would_be_refused(driver, service, parts):
    """The panel of a case that came to nothing does not mark; the next page is as full as for others."""
    window_id = await driver.window()
    submitted = [(await driver.receipt(await driver.enrol(), window_id=window_id))["submission_id"] for _ in range(3)]
    await driver.close(window_id)
    body = {"submission_id": submitted[0], "reason_code": "plagiarism"}
    case_id = (await service.client("examiner").post("/v1/misconduct-cases", json=body)).json()["case_id"]
    panel = service.client("marker", "examiner")
    assert (await panel.post(f"/v1/misconduct-cases/{case_id}/decision", json=minutes(outcome="no_case"))).is_success

    async def shown(who, **query) -> list[str]:
        answer = await who.get("/v1/marking-queue", params={"window_id": str(window_id), **query})
        return [one["submission_id"] for one in answer.json()["items"]]

    assert await shown(driver.marker) == submitted
    assert await shown(panel) == submitted[1:]
    assert await shown(panel, limit=2) == submitted[1:]
    driver.refused(await driver.mark(submitted[0], 60, panel), 403, "same_person")
    for submission_id in await shown(panel):
        assert (await driver.mark(submission_id, 60, panel)).status_code == 201


async def test_a_moderator_and_a_board_may_correct_themselves(parts):
    for act in ("moderate", "moderate"):
        assert (await parts.act(act)).is_success
    parts.person_id = new_id()
    for act in ("ratify", "revoke", "reinstate", "revoke"):
        assert (await parts.act(act)).is_success


async def test_one_person_does_not_become_panel_and_board_at_once(live, driver_class):
    async with live.process.database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        driver.clock.at = driver.opens + timedelta(days=2)
        for _ in range(3):
            enrolment = await driver.enrol_live()
            driver.clock.advance(minutes=1)
            window_id = await driver.window()
            submission_id = (await driver.receipt(enrolment, window_id=window_id))["submission_id"]
            await driver.close(window_id)
            await driver.mark(submission_id, 60)
            await driver.release(window_id)
            await sit(driver.examiner, window_id)
            attempt = select(Submission.attempt_id).where(Submission.submission_id == submission_id)
            credit = await session.scalar(
                select(Credit.credit_id).where(Credit.attempt_id == attempt.scalar_subquery())
            )
            body = {"submission_id": submission_id, "reason_code": "plagiarism"}
            case_id = (await driver.examiner.post("/v1/misconduct-cases", json=body)).json()["case_id"]
            answers = await asyncio.gather(
                driver.chair.post(f"/v1/misconduct-cases/{case_id}/decision", json=minutes(outcome="no_case")),
                driver.chair.post(f"/v1/credits/{credit}/revocation", json=minutes(reason_code="misconduct")),
            )
            assert sorted(answer.status_code for answer in answers) == [200, 403]


# In the database, whatever the code does

BY_STATEMENT = {
    "hand_in": "update attempts set learner_id = cast(:person as uuid)",
    "mark": """insert into marks (mark_id, attempt_id, submission_id, stage, mark, feedback, marked_by, marked_at)
        select gen_random_uuid(), attempt_id, submission_id, 'first', 85, '', :person, now() from submissions""",
    "moderate": """insert into marks (mark_id, attempt_id, submission_id, stage, mark, feedback, marked_by, marked_at)
        select gen_random_uuid(), attempt_id, submission_id, 'moderation', 85, '', :person, now() from submissions""",
    "drop_case": """update misconduct_cases set decided_by = :person, outcome = 'no_case', minutes_reference = 'AP/9',
        decided_at = now() where decided_at is null""",
    "take_by_case": """insert into misconduct_cases (case_id, attempt_id, submission_id, enrolment_id, learner_id,
        attempt_no, reason_code, opened_by, opened_at, outcome, minutes_reference, decided_by, decided_at)
        select gen_random_uuid(), attempt_id, submission_id, enrolment_id, learner_id, 1, 'plagiarism', 'somebody',
        now(), 'credit_revoked', 'AP/9', :person, now() from submissions""",
    "ratify": "update attempts set state = 'ratified', ratified_at = now(), board_id = :board",
    "revoke": """update credits set revoked_at = now(), revocation_reason = 'misconduct', revocation_board_id = :board""",
    "reinstate": """insert into decisions (decision_id, kind, subject_id, actor, decided_at)
        select gen_random_uuid(), 'credit_reinstated', credit_id, :person, now() from credits""",
}


async def fault_of(session, then, person_id):
    """What the database says of the statement, which leaves nothing behind."""
    board = {"board_id": new_id(), "minutes_reference": "EB/7", "ratified": 1, "credits_awarded": 1, "deferred": 0}
    at = await session.scalar(text("select now()"))
    try:
        async with session.begin_nested() as nested:
            await session.execute(insert(Board).values(**board, decided_by=str(person_id), decided_at=at))
            await session.execute(text(BY_STATEMENT[then]), {"person": str(person_id), "board": board["board_id"]})
            await nested.rollback()
    except IntegrityError as error:
        return str(error.orig)
    return ""


@pytest.mark.parametrize("one", ACTS)
async def test_the_database_refuses_another_part_to_whoever_had_one(parts, session, one):
    assert (await parts.act(one)).is_success
    await parts.before_revoke()
    await parts.accuse()
    for then in (then for first, then in PAIRS if first == one):
        assert "acts twice" in await fault_of(session, then, parts.person_id), then
        assert "acts twice" not in await fault_of(session, then, new_id()), then


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
