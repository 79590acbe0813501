"""Two who decide about roles at the same moment: one after the other, and the second meets what the first has left."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.handlers import inbox
from shared.events.enrolment import LearnerAnonymised

from .two_words import People, code

DONE = (200, None)
NOT_WAITING = (409, "grant_not_waiting")


@pytest.fixture
async def people(live):
    async with live.client() as client:
        everybody = People(client, live.process.database.transaction)
        await everybody.roots("anna", "bert", "carl", "dora")
        await everybody.opens("ada")
        for name in everybody.ids:
            everybody.tokens[name] = await everybody.token(name)
        yield everybody


async def together(*deeds):
    return [code(answer) for answer in await asyncio.gather(*deeds)]


@pytest.mark.parametrize("round_", range(3))
async def test_of_two_confirmations_one_counts(people, round_):
    grant = await people.proposes("anna", "ada", "marker")
    answers = await together(
        people.confirms("bert", grant), people.confirms("carl", grant), people.confirms("bert", grant)
    )
    assert set(answers) == {DONE, NOT_WAITING}
    [given] = await people.grants("dora")
    assert given["state"] == "confirmed"
    assert await people.roles("ada") == ["learner", "marker"]


@pytest.mark.parametrize("round_", range(3))
async def test_a_proposal_is_either_confirmed_or_taken_back(people, round_):
    grant = await people.proposes("anna", "ada", "marker")
    answers = await together(people.confirms("bert", grant), people.refuses("anna", grant))
    assert sorted(answers) == [DONE, NOT_WAITING]
    [given] = await people.grants("dora")
    assert ("marker" in await people.roles("ada")) == (given["state"] == "confirmed")


@pytest.mark.parametrize("round_", range(3))
async def test_nothing_is_confirmed_after_its_proposer_has_ceased(people, round_):
    grant = await people.proposes("anna", "ada", "marker")
    confirmed, ceased = await together(people.confirms("bert", grant), people.sets("carl", "anna", "learner"))
    assert ceased == DONE
    assert confirmed in {DONE, NOT_WAITING}
    assert ("marker" in await people.roles("ada")) == (confirmed == DONE)


@pytest.mark.parametrize("round_", range(3))
async def test_an_account_that_is_erased_meanwhile_has_no_role(people, live, round_):
    grant = await people.proposes("anna", "ada", "marker")
    erased = LearnerAnonymised(learner_id=UUID(people.ids["ada"]), anonymised_at=datetime.now(UTC))

    async def erase():
        await asyncio.sleep(round_ * 0.01)
        async with live.process.database.transaction() as session:
            await inbox.receive(session, erased)

    confirmed, _ = await asyncio.gather(people.confirms("bert", grant), erase())
    assert code(confirmed) in {DONE, NOT_WAITING}
    found = await people.ask("bert", "GET", "/v1/accounts", params={"limit": 100})
    [ada] = [one for one in found.json()["items"] if one["account_id"] == people.ids["ada"]]
    assert ada["roles"] == []


async def test_two_proposals_at_once_leave_one_that_waits(people):
    answers = await together(
        people.sets("anna", "ada", "learner", "marker"),
        people.sets("bert", "ada", "learner", "examiner"),
        people.sets("carl", "ada", "learner", "advisor"),
    )
    assert answers == [DONE] * 3
    assert len(await people.grants("dora", waiting=True)) == 1
    assert sorted(one["state"] for one in await people.grants("dora")) == ["replaced", "replaced", "waiting"]


async def test_operators_who_take_each_others_role_at_once_leave_two(people):
    names = ["anna", "bert", "carl", "dora"]
    answers = await together(
        *(people.sets(one, two, "learner") for one, two in zip(names, names[1:] + names[:1], strict=True))
    )
    assert answers.count(DONE) == 2
    found = [await people.roles(name) for name in names]
    assert found.count(["learner", "operator"]) == 2
