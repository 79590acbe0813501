from uuid import UUID

import pytest

from assessment.tables import Submission
from shared.due_rows import list_set_aside
from shared.jobs import Work
from shared.storage import ObjectStorage
from shared.stored_files import check_files
from shared.testing.stores import DAMAGES, damage


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_file_is_not_given_out_and_is_set_aside(driver, service, session, how):
    await driver.window()
    enrolment = await driver.enrol()
    receipt = await driver.receipt(enrolment)
    submission = await session.get(Submission, UUID(receipt["submission_id"]))
    await damage(service.service.resources[ObjectStorage], submission.storage_key, how)
    answer = await driver.learner(enrolment).get(f"/v1/submissions/{receipt['submission_id']}/file")
    driver.refused(answer, 503, "storage_unavailable")
    assert answer.headers["retry-after"]
    aside = {(row.job, row.row_key, row.last_error.partition("(")[0]) for row in await list_set_aside(session)}
    assert ("check_files", submission.storage_key, "FileDamaged") in aside


@pytest.mark.parametrize("how", DAMAGES)
async def test_the_same_bytes_sent_again_heal_a_damaged_file(driver, service, session, how):
    window_id = await driver.window()
    enrolment = await driver.enrol()
    content = driver.pdf("work")
    receipt = await driver.receipt(enrolment, content)
    address = f"/v1/submissions/{receipt['submission_id']}/file"
    submission = await session.get(Submission, UUID(receipt["submission_id"]))
    await damage(service.service.resources[ObjectStorage], submission.storage_key, how)
    driver.refused(await driver.learner(enrolment).get(address), 503, "storage_unavailable")
    again = await driver.submit(enrolment, content)
    assert (again.status_code, again.json()) == (200, receipt)
    assert (await driver.learner(enrolment).get(address)).content == content
    await driver.close(window_id)
    assert (await driver.marker.get(address)).content == content
    driver.clock.advance(days=1)
    await check_files(Work(service.process.database, service.service.resources))
    assert await list_set_aside(session) == []


async def test_a_store_that_is_not_there_takes_and_gives_nothing_and_is_asked_again(driver, service):
    storage = service.service.resources[ObjectStorage]
    await driver.window()
    enrolment = await driver.enrol()
    receipt = await driver.receipt(enrolment)
    ours = await storage.owner()
    await storage.claim("another", anew=True)
    answer = await driver.submit(enrolment, driver.pdf("other"))
    driver.refused(answer, 503, "storage_unavailable")
    assert answer.headers["retry-after"]
    await storage.claim(ours, anew=True)
    assert (await driver.receipt(enrolment, driver.pdf("other")))["submission_id"] != receipt["submission_id"]
