"""A file counts by the instant its last byte came: until it is recorded nothing overtakes it."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import select

from assessment import jobs
from assessment.tables import Submission, UploadUnderWay
from shared.events.assessment import SubmissionReceived, WindowClosed
from shared.ids import new_id
from shared.jobs import Work
from shared.storage import ObjectStorage


@pytest.fixture
def storing(service, monkeypatch):
    """What happens between the last byte of a file and its being stored."""
    storage = service.service.resources[ObjectStorage]
    put, meanwhile = storage.put, []

    async def slow(key, chunks):
        await put(key, chunks)
        while meanwhile:
            await meanwhile.pop()()

    monkeypatch.setattr(storage, "put", slow)
    return meanwhile


async def test_a_file_that_came_in_time_is_not_overtaken_by_the_mark_of_the_one_it_replaces(driver, storing):
    enrolment = await driver.enrol()
    await driver.window(closes_at=driver.closes)
    first = await driver.receipt(enrolment)
    driver.clock.at = driver.closes - timedelta(seconds=0.3)

    async def mark():
        driver.clock.at = driver.closes + timedelta(seconds=2)
        refused = await driver.mark(first["submission_id"], 60)
        driver.refused(refused, 409, "file_on_its_way")
        assert refused.headers["retry-after"]

    storing.append(mark)
    second = await driver.receipt(enrolment)
    assert second["state"] == "current"
    driver.refused(await driver.mark(first["submission_id"], 60), 409, "submission_superseded")
    assert (await driver.mark(second["submission_id"], 60)).status_code == 201


async def test_a_window_is_not_announced_closed_before_a_file_that_came_in_time(driver, service, storing):
    await driver.window(closes_at=driver.closes)
    driver.clock.at = driver.closes - timedelta(seconds=0.3)
    announce = partial(jobs.announce_windows, Work(service.process.database, {}))

    async def close():
        driver.clock.at = driver.closes + timedelta(seconds=2)
        await announce()
        assert await driver.announced(WindowClosed) == []

    storing.append(close)
    await driver.receipt(await driver.enrol())
    await announce()
    kinds = [type(one) for one in await driver.announced(SubmissionReceived, WindowClosed)]
    assert kinds == [SubmissionReceived, WindowClosed]


@pytest.mark.parametrize("how", ["refused", "late", "same", "given_up", "crash"])
async def test_nobody_waits_for_a_file_that_comes_no_more(driver, storing, session, how):
    enrolment = await driver.enrol()
    await driver.window(closes_at=driver.closes)
    content = driver.pdf("work")
    first = await driver.receipt(enrolment, content)
    if how == "refused":
        driver.refused(await driver.submit(enrolment, b"no pdf"), 415, "file_not_as_named")
    elif how == "late":
        late = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"))
        driver.refused(late, 409, "window_closed")
    elif how == "given_up":
        storing.append(partial(asyncio.sleep, 5))
        given_up = await driver.learner(enrolment).put(
            f"/v1/assessments/{enrolment.enrolment_id}/submission",
            params={"filename": "report.pdf"},
            content=driver.pdf(),
            headers={"X-Request-Timeout-Ms": "500"},
        )
        driver.refused(given_up, 504, "deadline_exceeded")
    elif how == "same":
        assert (await driver.submit(enrolment, content)).status_code == 200
    else:
        begun = UploadUnderWay(
            upload_id=new_id(),
            enrolment_id=enrolment.enrolment_id,
            window_id=UUID(first["window_id"]),
            ends_by=driver.closes + timedelta(minutes=5),
        )
        session.add(begun)
        await session.commit()
        driver.clock.at = driver.closes
        driver.refused(await driver.mark(first["submission_id"], 60), 409, "file_on_its_way")
    driver.clock.at = driver.closes + timedelta(minutes=5, seconds=1 if how == "crash" else -299)
    assert (await driver.mark(first["submission_id"], 60)).status_code == 201
    left = (await session.scalars(select(UploadUnderWay))).all()
    assert len(left) == (1 if how == "crash" else 0)


@pytest.mark.parametrize("had_work", [False, True], ids=["first work", "replacing"])
@pytest.mark.parametrize("between", [timedelta(seconds=2), timedelta(0), -timedelta(seconds=2)], ids=str)
async def test_the_file_whose_last_byte_came_last_stands_whichever_is_recorded_first(
    driver, storing, session, between, had_work
):
    """As when one replica's database is silent while another records what came after; or its file comes first."""
    enrolment = await driver.enrol()
    await driver.window(driver.clock() - timedelta(days=1))
    if had_work:
        await driver.receipt(enrolment)
        driver.clock.advance(hours=1)
    recorded_first = []

    async def hand_in_another():
        driver.clock.at += between
        recorded_first.append(await driver.receipt(enrolment, driver.pdf("recorded first")))

    storing.append(hand_in_another)
    recorded_last = await driver.receipt(enrolment, driver.pdf("recorded last"))
    [other] = recorded_first
    assert (other["state"], other["current_submission_id"]) == ("current", other["submission_id"])
    stands, superseded = (other, recorded_last) if between > timedelta(0) else (recorded_last, other)
    assert recorded_last["state"] == ("current" if stands is recorded_last else "superseded")
    assert recorded_last["current_submission_id"] == stands["submission_id"]
    assert recorded_last["attempt_no"] == 1
    states = dict((await session.execute(select(Submission.submission_id, Submission.state))).all())
    assert states[UUID(stands["submission_id"])] == "current"
    assert states[UUID(superseded["submission_id"])] == "superseded"
    assert list(states.values()).count("current") == 1
    [*_, announced] = await driver.announced(SubmissionReceived)
    assert str(announced.submission_id) == stands["submission_id"], "what never stood is not announced"
    driver.refused(await driver.mark(superseded["submission_id"], 60), 409, "submission_superseded")


async def test_the_same_bytes_sent_again_are_as_late_as_they_came_again(driver, storing):
    """A, B and A again, of which B is recorded last; and once more with bytes that came again before they stood."""
    enrolment = await driver.enrol()
    await driver.window()
    a = driver.pdf("a")
    first = await driver.receipt(enrolment, a)

    async def send_again():
        driver.clock.advance(seconds=1)
        again = await driver.submit(enrolment, a)
        assert (again.status_code, again.json()) == (200, first)

    driver.clock.advance(seconds=1)
    storing.append(send_again)
    b = await driver.receipt(enrolment, driver.pdf("b"))
    assert (b["state"], b["current_submission_id"]) == ("superseded", first["submission_id"])

    async def hand_in_later():
        driver.clock.advance(seconds=1)
        await driver.receipt(enrolment, a_again)

    a_again = driver.pdf("d")
    storing.append(hand_in_later)
    early = await driver.submit(enrolment, a_again)
    assert (early.status_code, early.json()["state"]) == (200, "current")
    driver.clock.at -= timedelta(milliseconds=500)  # after the early copy, before the one that stands
    between = await driver.receipt(enrolment, driver.pdf("c"))
    assert between["state"] == "superseded"
