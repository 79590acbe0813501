"""What is left of somebody who is anonymised: the work that was judged and its marks, under nobody's name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text

from assessment import jobs
from assessment.tables import Attempt, Credit, Mark, MisconductCase, Submission
from shared.events.enrolment import LearnerAnonymised
from shared.jobs import Work
from shared.storage import ObjectStorage
from shared.store_owner import installation_id
from shared.uploads import UploadPolicy

NAMED = "Ada Lovelace project.pdf"


async def forget(driver, enrolment, times=1):
    event = LearnerAnonymised(learner_id=enrolment.learner_id, anonymised_at=driver.clock())
    await driver.consume(*[event] * times)


async def submissions(session, enrolment):
    rows = await session.scalars(
        select(Submission)
        .where(Submission.enrolment_id == enrolment.enrolment_id)
        .execution_options(populate_existing=True)
    )
    return {row.state: row for row in rows}


async def test_what_never_counted_goes_and_what_was_judged_stays_without_a_name(driver, session):
    enrolment = await driver.enrol()
    window_id = await driver.window(closes_at=driver.closes)
    await driver.receipt(enrolment, filename=NAMED)
    counted = await driver.receipt(enrolment, filename=NAMED)
    draft = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"), filename=NAMED)
    driver.refused(draft, 409, "window_closed")
    await driver.mark(counted["submission_id"], 64)
    await driver.release(window_id)
    await driver.board(window_id)
    assert set(await submissions(session, enrolment)) == {"superseded", "current", "late"}

    await forget(driver, enrolment, times=2)
    left = await submissions(session, enrolment)
    assert set(left) == {"current"}
    submission_id = counted["submission_id"]
    assert (str(left["current"].submission_id), left["current"].filename) == (submission_id, f"{submission_id}.pdf")
    assert left["current"].sha256 == counted["sha256"]
    attempt = (await session.scalars(select(Attempt))).one()
    assert (attempt.state, attempt.mark) == ("ratified", 64)
    assert len((await session.scalars(select(Mark))).all()) == 1
    assert len((await session.scalars(select(Credit))).all()) == 1
    file = await driver.marker.get(f"/v1/submissions/{submission_id}/file")
    assert driver.sha256(file.content) == counted["sha256"]


async def test_a_file_that_was_on_its_way_is_refused(driver, session):
    enrolment = await driver.enrol()
    await driver.window()

    async def interrupted():
        yield driver.pdf()
        await forget(driver, enrolment)
        yield b"the rest"

    answer = await driver.submit(enrolment, interrupted(), filename=NAMED)
    driver.refused(answer, 404, "not_found")
    assert await submissions(session, enrolment) == {}


async def test_the_files_of_what_is_dropped_are_removed(service, driver, session):
    resources = service.service.resources
    policy = replace(resources[UploadPolicy], orphans_at_once=1000)  # other tests have left files too
    work = Work(service.process.database, {**resources, UploadPolicy: policy})
    await resources[ObjectStorage].claim(await installation_id(service.process.database), anew=True)
    storage, age = work.resource(ObjectStorage), work.resource(UploadPolicy).orphan_age
    enrolment = await driver.enrol()
    await driver.window()
    for _ in range(2):
        await driver.receipt(enrolment)
    keys = {state: row.storage_key for state, row in (await submissions(session, enrolment)).items()}
    await forget(driver, enrolment)
    driver.clock.at = datetime.now(UTC) + age + timedelta(hours=1)  # the store has a clock of its own
    await jobs.remove_orphans(work)
    stored = {one.key async for page in storage.pages() for one in page}
    assert keys["superseded"] not in stored
    assert keys["current"] in stored


async def test_a_case_stays_with_the_work_it_is_about(driver, session):
    enrolment, _, submission_id = await driver.frozen()
    body = {"submission_id": submission_id, "reason_code": "plagiarism"}
    assert (await driver.examiner.post("/v1/misconduct-cases", json=body)).status_code == 201
    await driver.cancel(enrolment)
    await forget(driver, enrolment)
    case = (await session.scalars(select(MisconductCase))).one()
    assert case.submission_id == UUID(submission_id)
    assert set(await submissions(session, enrolment)) == {"current"}


async def test_who_was_accused_and_cleared_is_forgotten_too(driver, session):
    enrolment = await driver.enrol()
    window_id = await driver.window(closes_at=driver.closes)
    accused = await driver.receipt(enrolment, filename=NAMED)
    body = {"submission_id": accused["submission_id"], "reason_code": "plagiarism"}
    case = (await driver.examiner.post("/v1/misconduct-cases", json=body)).json()
    cleared = {"outcome": "no_case", "minutes_reference": "AP/1"}
    await driver.chair.post(f"/v1/misconduct-cases/{case['case_id']}/decision", json=cleared)
    for _ in range(2):  # the first takes the place of what was looked into, the second that of the first
        await driver.receipt(enrolment, filename=NAMED)
    draft = await driver.submit(enrolment, driver.uploading(driver.pdf(), driver.closes, b"late"), filename=NAMED)
    driver.refused(draft, 409, "window_closed")
    assert window_id
    await driver.cancel(enrolment)
    await forget(driver, enrolment, times=2)
    rows = (await session.scalars(select(Submission).execution_options(populate_existing=True))).all()
    assert sorted(row.state for row in rows) == ["superseded", "voided"]
    assert [row.submission_id for row in rows if row.state == "superseded"] == [UUID(accused["submission_id"])]
    assert not any("Ada" in row.filename for row in rows)


async def test_every_table_that_names_a_submission_lets_its_author_be_forgotten(session):
    """Whoever adds one sees to `erase_author`, which deletes submissions."""
    references = text("""
        select conrelid::regclass::text || '.' || attname from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = any (conkey)
        where contype = 'f' and confrelid = 'submissions'::regclass
    """)
    assert set(await session.scalars(references)) == {"marks.submission_id", "misconduct_cases.submission_id"}


async def test_nothing_of_others_is_touched(driver, session):
    enrolment, other = await driver.enrol(), await driver.enrol()
    await driver.window()
    for _ in range(2):
        await driver.receipt(enrolment, filename=NAMED)
    await forget(driver, other)
    assert {state: row.filename for state, row in (await submissions(session, enrolment)).items()} == {
        "superseded": NAMED,
        "current": NAMED,
    }
