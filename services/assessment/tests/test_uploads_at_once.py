"""Many files for one enrolment at once: each is recorded, though they wait for one another longer than a lock may."""

import asyncio

from shared.database import advisory_lock
from shared.events.assessment import SubmissionReceived
from shared.testing.services import published


async def test_a_file_that_came_whole_is_recorded_though_others_held_its_enrolment_for_long(live, driver_class):
    driver, database = driver_class(live, None, live.clock), live.process.database
    enrolment = await driver.enrol_live()
    await driver.window()
    async with database.transaction() as session:
        await advisory_lock(session, "enrolment", enrolment.enrolment_id)
        sending = [asyncio.create_task(driver.submit(enrolment)) for _ in range(3)]
        await asyncio.wait(sending, timeout=2.5)  # the role waits a second for a lock
    answers = [(await one) for one in sending]
    assert [answer.status_code for answer in answers] == [201] * 3, answers[0].text
    assert [answer.json()["state"] for answer in answers].count("current") >= 1
    standing = {answer.json()["current_submission_id"] for answer in answers}
    async with database.transaction() as session:
        announced = [one for one in await published(session) if isinstance(one, SubmissionReceived)]
    assert str(announced[-1].submission_id) in standing
    assert len({one.attempt_no for one in announced}) == 1
