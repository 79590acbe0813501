"""What holds an award claim besides money: a case of misconduct that is open."""

import itertools

from credentials.queries.records import is_on_hold
from shared.ids import new_id

from .announcements import consume, hold_credit
from .holds import case_of

CLAIM = {"level": "pgcert", "title": "PGCert in Data Science"}


async def test_claims_wait_while_a_case_is_open(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    opened, decided = case_of(learner)
    async with service.client("learner", id=learner) as own:
        await consume(session, opened)
        assert (await own.get("/v1/award-options")).json()["on_hold"]
        answer = await own.post("/v1/award-claims", json=CLAIM)
        assert (answer.status_code, answer.json()["code"]) == (409, "on_hold")
        await consume(session, decided)
        assert (await own.post("/v1/award-claims", json=CLAIM)).status_code == 201


async def test_a_decided_case_holds_nothing_whichever_arrives_first_or_twice(session, clock) -> None:
    for order in itertools.permutations(range(2)):
        learner = new_id()
        events = case_of(learner)
        await consume(session, *(events[index] for index in (*order, *order)))
        assert not await is_on_hold(session, learner)
        await consume(session, case_of(learner)[0])
        assert await is_on_hold(session, learner)
