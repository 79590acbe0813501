from datetime import timedelta

import pytest
from sqlalchemy import select

from assessment.tables import Decision
from shared.events.assessment import WindowClosed, WindowOpened, WindowPublished
from shared.ids import new_id

BRIEF = {
    "title": "A pipeline",
    "task": "Build it.",
    "deliverable": "A report",
    "word_limit": 3000,
    "criteria": [
        {"name": "Model", "weight_percent": 60, "description": "Explicit."},
        {"name": "Argument", "weight_percent": 40, "description": "Sound."},
    ],
}


# Windows


async def test_windows_are_public_in_order_and_not_sent_twice(driver, service):
    first, second = [await driver.window(driver.opens + timedelta(days=day)) for day in (3, 4)]
    reader = service.client()
    answer = await reader.get("/v1/windows", params={"limit": 1})
    assert [item["window_id"] for item in answer.json()["items"]] == [str(first)]
    assert answer.json()["items"][0]["state"] == "upcoming"
    rest = await reader.get("/v1/windows", params={"cursor": answer.json()["next_cursor"]})
    assert [item["window_id"] for item in rest.json()["items"]] == [str(second)]
    again = await reader.get("/v1/windows", params={"limit": 1}, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_windows_are_found_by_their_state(driver, service):
    window_id = await driver.window()
    reader = service.client()

    async def ids(state):
        answer = await reader.get("/v1/windows", params={"state": state})
        return [item["window_id"] for item in answer.json()["items"]]

    assert (await ids("open"), await ids("upcoming"), await ids("closed")) == ([str(window_id)], [], [])
    await driver.close(window_id)
    assert (await ids("open"), await ids("closed")) == ([], [str(window_id)])


async def test_making_and_closing_a_window_is_announced_and_written_down(driver, session):
    window_id = await driver.window()
    await driver.close(window_id)
    kinds = [type(event) for event in await driver.announced()]
    assert kinds == [WindowPublished, WindowOpened, WindowClosed]
    decisions = (await session.scalars(select(Decision).where(Decision.subject_id == window_id))).all()
    assert {(one.kind, one.actor) for one in decisions} == {
        ("window_made", str(driver.examiner_id)),
        ("window_closed_early", str(driver.examiner_id)),
    }


@pytest.mark.parametrize(
    ("opens_at", "closes_at"),
    [
        ("2026-11-05T00:00:00Z", "2026-11-05T00:00:00Z"),
        ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        ("2026-11-05T00:00:00Z", "9999-12-30T23:59:59Z"),
        ("0001-01-03T00:00:00+14:00", "2026-11-05T00:00:00Z"),
    ],
)
async def test_an_impossible_window_is_refused(driver, opens_at, closes_at):
    answer = await driver.examiner.post("/v1/windows", json={"opens_at": opens_at, "closes_at": closes_at})
    driver.refused(answer, 422, "bad_window")


async def test_a_window_is_kept_in_utc_wherever_it_was_written(driver):
    body = {"opens_at": "2026-11-20T01:00:00+01:00", "closes_at": "2026-11-21T01:00:00+01:00"}
    answer = await driver.examiner.post("/v1/windows", json=body)
    assert (answer.json()["opens_at"], answer.json()["closes_at"]) == ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")


async def test_a_window_closes_once_and_not_before_it_opened(driver):
    later = await driver.window(driver.clock() + timedelta(days=1))
    driver.refused(await driver.examiner.post(f"/v1/windows/{later}/closing"), 409, "window_not_open")
    window_id = await driver.window()
    await driver.close(window_id)
    driver.refused(await driver.examiner.post(f"/v1/windows/{window_id}/closing"), 409, "window_closed")
    driver.refused(await driver.examiner.post(f"/v1/windows/{new_id()}/closing"), 404, "not_found")


async def test_a_window_that_lives_by_its_grace_is_not_closed_again(driver):
    window_id = await driver.window(grace_seconds=60)
    await driver.close(window_id)
    driver.refused(await driver.examiner.post(f"/v1/windows/{window_id}/closing"), 409, "window_closed")
    assert await driver.announced(WindowClosed) == []


# Briefs


async def test_a_brief_is_written_and_rewritten_and_seen_by_the_learner(driver):
    course = driver.course()
    enrolment = await driver.enrol(course)
    assert (await driver.read(enrolment))["brief"] is None
    path = f"/v1/briefs/{course.course_version_id}"
    assert (await driver.examiner.put(path, json=BRIEF)).status_code == 201
    assert (await driver.examiner.put(path, json={**BRIEF, "word_limit": 2500})).status_code == 200
    brief = (await driver.read(enrolment))["brief"]
    assert (brief["title"], brief["word_limit"], len(brief["criteria"])) == ("A pipeline", 2500, 2)


async def test_there_is_no_brief_for_an_unknown_course_version(driver):
    driver.refused(await driver.examiner.put(f"/v1/briefs/{new_id()}", json=BRIEF), 404, "not_found")


async def test_the_weights_of_a_brief_make_a_whole(driver):
    course = driver.course()
    await driver.consume(course)
    light = {**BRIEF, "criteria": BRIEF["criteria"][:1]}
    driver.refused(
        await driver.examiner.put(f"/v1/briefs/{course.course_version_id}", json=light), 422, "brief_weights"
    )
