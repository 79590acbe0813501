"""Every operation that staff may not do about themselves is tried by the person concerned."""

import pytest

from enrolment.access import ACCESS
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


WALKS = {walk.__name__: walk for walk in (decide_name_request, anonymise_learner, reinstate_enrolment)}


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS))


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_themselves(service, driver, operation):
    roles = sorted({"learner", *ACCESS[operation].staff})
    async with service.client(*roles, id=driver.learner_id) as own:
        await own.post("/v1/learners", json=FORM)
        answer = await WALKS[operation](driver, own)
    assert (answer.status_code, answer.json()["code"]) == (403, own_matters(ACCESS)[operation])
