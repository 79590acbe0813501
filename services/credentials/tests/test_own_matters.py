"""Every operation that staff may not do about their own awards and credit is tried by the person concerned."""

import pytest

from credentials.access import ACCESS
from shared.ids import new_id
from shared.testing.access import own_matters

from .announcements import DS, LAW, cancelled, consume, course, hold_credit, let_time_work, named, registered, revoked
from .prior_learning import BECAUSE, apply
from .prior_learning import decide as recognise
from .reviews import CLAIM, hold_award, review_of
from .reviews import decide as review


async def confer_award(service, session, own, learner):
    await hold_credit(session, learner, DS=4)
    award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
    return await own.post(f"/v1/award-claims/{award_id}/conferral")


async def refuse_award_claim(service, session, own, learner):
    await hold_credit(session, learner, DS=4)
    award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
    return await own.post(f"/v1/award-claims/{award_id}/refusal", json={"reason_code": "identity_not_confirmed"})


async def decide_award_review(service, session, own, learner):
    await hold_credit(session, learner, DS=4)
    await hold_award(session, learner)
    await consume(session, revoked(learner, "DS04"))
    return await review(own, await review_of(own), "rescind")


async def release_credit(service, session, own, learner):
    await hold_credit(session, learner, DS=1)
    await consume(session, cancelled(learner, "DS01"))
    path = f"/v1/credit-holds/{named('credit', learner, 'DS01')}/release"
    return await own.post(path, json={"reason_code": "goodwill"})


async def applied(service, session, learner):
    await consume(session, registered(learner), course("LAW01", LAW))
    await hold_credit(session, learner, DS=2)
    await let_time_work(service)
    return await apply(service, learner)


async def decide_recognition(service, session, own, learner):
    address = await applied(service, session, learner)
    return await own.post(f"/v1/recognitions/{address}/decision", json={"units": [], **BECAUSE})


async def revoke_recognition(service, session, own, learner):
    address = await applied(service, session, learner)
    assert (await recognise(service, address, DS)).status_code == 200
    return await own.post(f"/v1/recognitions/{address}/revocation", json={"reason_code": "evidence_false"})


WALKS = {
    walk.__name__: walk
    for walk in (
        confer_award,
        refuse_award_claim,
        decide_award_review,
        decide_recognition,
        revoke_recognition,
        release_credit,
    )
}


def test_every_such_operation_is_walked():
    assert set(WALKS) == set(own_matters(ACCESS))


@pytest.mark.parametrize("operation", WALKS)
async def test_nobody_decides_about_their_own_record(service, session, clock, operation):
    learner, roles = new_id(), sorted({"learner", *ACCESS[operation].staff})
    async with service.client(*roles, id=learner) as own:
        answer = await WALKS[operation](service, session, own, learner)
    assert (answer.status_code, answer.json()["code"]) == (403, own_matters(ACCESS)[operation])
