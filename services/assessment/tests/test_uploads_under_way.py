"""A file counts by the instant its last byte came: until it is recorded nothing overtakes it."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import select

from assessment import jobs
from assessment.tables import UploadUnderWay
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
