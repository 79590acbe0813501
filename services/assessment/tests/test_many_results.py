"""More results than one transaction takes: released and ratified in batches, each committed, each announced once."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from assessment import jobs
from assessment.commands import boards, releases
from assessment.tables import Attempt, Enrolment
from shared.events.assessment import AssessmentFailed, AssessmentPassed, CreditAwarded, FailRatified
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.tables import Outgoing, SetAside

BATCH, PASSES, FAILS = 3, 6, 2


@pytest.fixture
async def many(live, driver_class, monkeypatch):
    """A window with eight marked results, on a database where commits are real; three are a batch."""
    monkeypatch.setattr(releases, "BATCH", BATCH)
    async with live.process.database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        driver.clock.at = driver.opens + timedelta(days=2)
        driver.window_id = await driver.window()
        receipts = [
            await driver.receipt(await driver.enrol_live(), window_id=driver.window_id) for _ in range(PASSES + FAILS)
        ]
        await driver.close(driver.window_id)
        for number, receipt in enumerate(receipts):
            await driver.mark(receipt["submission_id"], 60 if number < PASSES else 40)
        yield driver


@pytest.fixture
def work(live) -> Work:
    return Work(live.process.database, live.service.resources)


async def announcements(driver, *types) -> Counter:
    """How many events each transaction announced."""
    async with driver.service.process.database.transaction() as session:
        rows = await session.execute(
            select(Outgoing.partition_key, text("xid::text")).where(Outgoing.type.in_([one.type for one in types]))
        )
        return Counter(xid for _, xid in rows)


async def follow(driver, work, answer, job) -> dict:
    """What has come of it once its job was done, from the address that the answer named."""
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "under_way"
    await job(work)
    return (await reader(driver, answer)).json()


async def reader(driver, answer):
    return await driver.examiner.get(answer.headers["location"])


async def test_results_are_released_and_ratified_in_batches_and_announced_once(many, work):
    answer = await many.examiner.post(f"/v1/windows/{many.window_id}/release")
    assert (answer.json()["expected"], answer.json()["released"]) == (8, 0)
    many.refused(await many.examiner.post(f"/v1/windows/{many.window_id}/release"), 409, "results_busy")
    many.refused(await many.board(many.window_id), 409, "results_busy")
    done = await follow(many, work, answer, jobs.release_results)
    assert (done["state"], done["released"], done["passed"], done["failed"]) == ("finished", 8, PASSES, FAILS)
    assert sorted((await announcements(many, AssessmentPassed, AssessmentFailed)).values()) == [2, 3, 3]

    done = await follow(many, work, await many.board(many.window_id), jobs.ratify_results)
    assert (done["state"], done["expected"], done["ratified"]) == ("finished", 8, 8)
    assert (done["credits_awarded"], done["held"]) == (PASSES, 0)
    assert sorted((await announcements(many, CreditAwarded, FailRatified)).values()) == [2, 3, 3]

    for job in (jobs.release_results, jobs.ratify_results):
        await job(work)
    assert (
        sum((await announcements(many, AssessmentPassed, AssessmentFailed, CreditAwarded, FailRatified)).values()) == 16
    )


async def test_what_a_crash_broke_off_goes_on_where_it_was(many, work, monkeypatch):
    answer = await many.examiner.post(f"/v1/windows/{many.window_id}/release")
    with monkeypatch.context() as broken:
        broken.setattr(releases, "release_batch", dying(releases.release_batch, after=2))
        with pytest.raises(asyncio.CancelledError):
            await jobs.release_results(work)
    halfway = (await reader(many, answer)).json()
    assert (halfway["state"], halfway["released"]) == ("under_way", 2 * BATCH)
    assert (await follow(many, work, answer, jobs.release_results))["released"] == 8
    assert sum((await announcements(many, AssessmentPassed, AssessmentFailed)).values()) == 8

    answer = await many.board(many.window_id)
    with monkeypatch.context() as broken:
        broken.setattr(boards, "ratify_batch", dying(boards.ratify_batch, after=1))
        with pytest.raises(asyncio.CancelledError):
            await jobs.ratify_results(work)
    assert (await reader(many, answer)).json()["ratified"] == BATCH
    done = await follow(many, work, answer, jobs.ratify_results)
    assert (done["ratified"], done["credits_awarded"]) == (8, PASSES)
    assert sum((await announcements(many, CreditAwarded, FailRatified)).values()) == 8


def dying(batch, *, after):
    """The process ends in the midst of a batch, once so many went well."""
    left = after

    async def some(*arguments):
        nonlocal left
        await batch(*arguments)
        if left == 0:
            raise asyncio.CancelledError
        left -= 1

    return some


async def test_one_bad_result_is_set_aside_and_the_others_are_ratified(many, work, session):
    await follow(many, work, await many.examiner.post(f"/v1/windows/{many.window_id}/release"), jobs.release_results)
    async with many.service.process.database.transaction() as fixing:
        bad = (await fixing.scalars(select(Attempt).where(Attempt.passed.is_(False)).limit(1))).one()
        await fixing.execute(
            update(Enrolment)
            .where(Enrolment.enrolment_id == bad.enrolment_id)
            .values(regulations_version="of a later release")
        )
    done = await follow(many, work, await many.board(many.window_id), jobs.ratify_results)
    assert (done["state"], done["expected"], done["ratified"], done["held"]) == ("finished", 8, 7, 1)
    async with many.service.process.database.transaction() as seen:
        [aside] = (await seen.scalars(select(SetAside))).all()
    assert (aside.job, UUID(aside.row_key)) == ("ratify_results", bad.attempt_id)

    # A later board of that one alone neither fails nor ratifies it.
    answer = await many.board(many.window_id)
    assert (await follow(many, work, answer, jobs.ratify_results))["ratified"] == 0


async def test_what_is_marked_or_released_meanwhile_waits_for_the_next(many, work):
    late = await many.examiner.get(f"/v1/windows/{many.window_id}/results", params={"state": "marked", "limit": 1})
    [one] = late.json()["items"]
    many.clock.advance(minutes=1)
    answer = await many.examiner.post(f"/v1/windows/{many.window_id}/release")
    many.clock.advance(minutes=1)
    moderated = await many.mark(
        one["submission_id"], 70, many.service.client("examiner", id=new_id()), stage="moderation"
    )
    assert moderated.status_code == 201
    assert (await follow(many, work, answer, jobs.release_results))["released"] == 7
    released = await many.release(many.window_id)
    assert (released["released"], released["state"]) == (1, "finished")
