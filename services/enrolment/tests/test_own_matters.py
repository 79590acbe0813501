"""Every operation that staff may not do about themselves is tried by the person concerned."""

import pytest

from enrolment.access import ACCESS
from shared.ids import new_id
from shared.testing.access import own_matters

from .people import FORM, decide, submitted


async def decide_name_request(driver, own):
    return await decide(own, await submitted(own), approved=True)


async def anonymise_learner(driver, own):
    return await own.put(f"/v1/learners/{driver.learner_id}/anonymisation")


async def reinstate_enrolment(driver, own):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.reversal(paid))
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    return await own.post(f"/v1/enrolments/{enrolment.enrolment_id}/reinstatement", json={"reason_code": "repaid"})


async def read_study_record(driver, own):
    """Of somebody who studies the same module."""
    offer, other = await driver.offer(), type(driver)(driver.service, driver.session, new_id())
    await other.register()
    for one in (driver, other):
        await one.buy(offer)
    return await own.get(f"/v1/learners/{other.learner_id}/study-record")


WALKS = {
    walk.__name__: walk for walk in (decide_name_request, anonymise_learner, reinstate_enrolment, read_study_record)
}


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS))


async def test_an_advisor_who_studies_reads_their_own_record_and_those_on_other_modules(service, driver):
    async with service.client("learner", "advisor", id=driver.learner_id) as own:
        await own.post("/v1/learners", json=FORM)
        other = type(driver)(service, driver.session, new_id())
        await other.register()
        for one in (driver, other):
            await one.buy(await one.offer())
        for learner_id in (driver.learner_id, other.learner_id):
            assert (await own.get(f"/v1/learners/{learner_id}/study-record")).status_code == 200
        await other.buy(both := await other.offer())
        [mine] = await driver.buy(both)
        refused = await own.get(f"/v1/learners/{other.learner_id}/study-record")
        assert (refused.status_code, refused.json()["code"]) == (403, "studies_same_module")
        assert (await own.post(f"/v1/enrolments/{mine.enrolment_id}/withdrawal")).status_code == 201
        assert (await own.get(f"/v1/learners/{other.learner_id}/study-record")).status_code == 200


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_themselves(service, driver, operation):
    roles = sorted({"learner", *ACCESS[operation].staff})
    async with service.client(*roles, id=driver.learner_id) as own:
        await own.post("/v1/learners", json=FORM)
        answer = await WALKS[operation](driver, own)
    assert (answer.status_code, answer.json()["code"]) == (403, own_matters(ACCESS)[operation])
