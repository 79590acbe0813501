"""A role is given by two operators, neither of whom rests on the other's word, and taken by one."""

from contextlib import asynccontextmanager
from uuid import UUID

import jwt
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.commands.grants import give_roles
from gateway.domain.accounts import ROLES
from gateway.handlers import inbox
from shared.events.enrolment import LearnerAnonymised
from shared.ids import new_id

from .two_words import People, code

STAFF = [role for role in ROLES if role != "learner"]
INDEPENDENT = (403, "not_independent")
NOT_WAITING = (409, "grant_not_waiting")


@pytest.mark.parametrize("role", STAFF)
async def test_a_role_takes_effect_on_a_second_operators_word(people, role):
    answer = (await people.sets("anna", "ada", "learner", role)).json()
    assert answer["roles"] == ["learner"] == await people.roles("ada")
    assert (answer["proposed"]["roles"], answer["proposed"]["state"]) == ([role], "waiting")
    confirmed = await people.confirms("bert", answer["proposed"]["grant_id"])
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "confirmed")
    claims = jwt.decode(await people.token("ada"), options={"verify_signature": False})
    assert claims["roles"] == sorted(["learner", role])


async def test_neither_who_proposes_nor_whom_it_is_for_confirms(people):
    await people.roots("carl")
    grant = await people.proposes("anna", "carl", "examiner")
    assert code(await people.confirms("anna", grant)) == INDEPENDENT
    assert code(await people.confirms("carl", grant)) == (403, "own_grant")
    assert code(await people.refuses("carl", grant)) == (403, "own_grant")
    assert await people.roles("carl") == ["learner", "operator"]
    assert code(await people.confirms("ada", grant)) == (403, "not_permitted")


async def test_operators_of_one_chain_confirm_nothing_for_each_other(people):
    await people.roots("carl", "dora")
    await people.opens("one", "two")
    await people.gives("anna", "bert", "one", "operator")
    await people.gives("one", "carl", "two", "operator")
    for proposer, confirmer in [("anna", "one"), ("one", "anna"), ("bert", "one"), ("one", "two"), ("two", "anna")]:
        grant = await people.proposes(proposer, "ada", "examiner")
        assert code(await people.confirms(confirmer, grant)) == INDEPENDENT, (proposer, confirmer)
    assert code(await people.confirms("bert", await people.proposes("two", "ada", "examiner"))) == INDEPENDENT
    assert await people.roles("ada") == ["learner"]
    await people.gives("one", "carl", "ada", "examiner")
    assert await people.roles("ada") == ["examiner", "learner"]


async def test_a_chain_is_not_hidden_by_taking_the_role_away(people):
    await people.opens("one")
    await people.gives("anna", "bert", "one", "operator")
    assert (await people.sets("anna", "one", "learner")).json()["roles"] == ["learner"]
    await people.roots("carl", "dora")
    await people.gives("carl", "dora", "one", "operator")
    grant = await people.proposes("anna", "ada", "marker")
    assert code(await people.confirms("one", grant)) == INDEPENDENT


async def test_the_command_lines_word_makes_an_operator_independent(people, session):
    await people.opens("one")
    await people.gives("anna", "bert", "one", "operator")
    await give_roles(session, UUID(people.ids["one"]), ["operator"], granted_by="command line (ops)")
    await session.commit()
    await people.gives("one", "anna", "ada", "marker")
    assert await people.roles("ada") == ["learner", "marker"]


async def test_nobody_holds_a_role_by_their_own_word_in_however_many_steps(people, session):
    await people.roots("carl")
    await people.opens("one", "two")
    await people.gives("anna", "bert", "one", "operator")
    await people.gives("one", "carl", "two", "operator")
    for name in ("two", "one", "anna", "bert", "carl"):
        answer = await people.sets("two", name, *await people.roles(name), "examiner")
        assert code(answer) == (403, "own_grant"), name
    grant = await people.proposes("carl", "anna", "examiner")
    assert code(await people.confirms("one", grant)) == (403, "own_grant")
    assert await people.roles("anna") == ["learner", "operator"]
    for statement in (
        "update account_roles set granted_by = account_id::text",
        "update role_grants set outcome = 'confirmed', decided_by = proposed_by, decided_at = now()",
        "update role_grants set outcome = 'confirmed', decided_by = account_id, decided_at = now()",
        "update role_grants set proposed_by = account_id",
    ):
        with pytest.raises(IntegrityError, match=r"own_grant|two_words"):
            async with session.begin_nested():
                await session.execute(text(statement))


async def test_nothing_is_proposed_that_nobody_could_confirm(people):
    await people.opens("one", "two")
    await people.gives("anna", "bert", "one", "operator")
    refused = await people.sets("one", "two", "learner", "marker")
    assert code(refused) == (409, "nobody_to_confirm")
    refused = await people.sets("anna", "bert", "learner", "operator", "marker")
    assert code(refused) == (409, "nobody_to_confirm")
    await people.roots("carl")
    await people.gives("one", "carl", "two", "marker")


async def test_a_role_is_taken_at_once_by_one_operator_while_another_waits(people):
    await people.gives("anna", "bert", "ada", "marker")
    answer = (await people.sets("bert", "ada", "learner", "examiner")).json()
    assert (answer["roles"], answer["proposed"]["roles"]) == (["learner"], ["examiner"])
    answer = (await people.sets("anna", "ada")).json()
    assert (answer["roles"], answer["proposed"]) == ([], None)
    answer = (await people.sets("anna", "ada", "learner")).json()  # which everybody may be
    assert (answer["roles"], answer["proposed"]) == (["learner"], None)
    own = (await people.sets("anna", "anna", "operator")).json()
    assert own["roles"] == ["operator"]
    assert code(await people.sets("anna", "anna", "learner", "operator")) == (403, "own_grant")


async def test_two_operators_remain_who_can_confirm_each_other(people):
    await people.opens("one")
    await people.gives("anna", "bert", "one", "operator")
    for by, name in [("anna", "bert"), ("anna", "anna"), ("one", "bert")]:
        assert code(await people.sets(by, name, "learner")) == (409, "last_operator"), (by, name)
    await people.roots("carl")
    assert (await people.sets("anna", "bert", "learner")).json()["roles"] == ["learner"]
    assert (await people.sets("carl", "one", "learner")).json()["roles"] == ["learner"]
    assert code(await people.sets("anna", "carl")) == (409, "last_operator")


async def test_the_only_operator_cannot_resign_nor_give_roles(service, session):
    async with service.client() as client:

        @asynccontextmanager
        async def transaction():
            yield session
            await session.commit()

        people = People(client, transaction)
        await people.roots("anna")
        await people.opens("ada")
        assert code(await people.sets("anna", "anna")) == (409, "last_operator")
        assert code(await people.sets("anna", "ada", "learner", "marker")) == (409, "nobody_to_confirm")


async def test_a_proposal_is_decided_once(people):
    grant = await people.proposes("anna", "ada", "marker")
    first, again = await people.confirms("bert", grant), await people.confirms("bert", grant)
    assert (first.json(), again.status_code) == (again.json(), 200)
    assert code(await people.refuses("bert", grant)) == NOT_WAITING
    assert code(await people.refuses("anna", grant)) == NOT_WAITING
    for by in ("anna", "bert"):
        grant = await people.proposes("anna", "ada", "finance")
        assert (await people.refuses(by, grant)).json()["state"] == "refused"
        assert code(await people.confirms("bert", grant)) == NOT_WAITING
    assert await people.roles("ada") == ["learner", "marker"]


async def test_a_proposal_expires(people, clock):
    grant = await people.proposes("anna", "ada", "marker")
    clock.advance(days=7)
    assert await people.grants("bert", waiting=True) == []
    assert [one["state"] for one in await people.grants("bert")] == ["expired"]
    refused = await people.confirms("bert", grant)
    assert (code(refused), refused.json()["state"]) == (NOT_WAITING, "expired")
    await people.gives("anna", "bert", "ada", "marker")


async def test_a_proposal_is_replaced_by_whatever_is_said_of_the_account_later(people):
    first = await people.proposes("anna", "ada", "marker")
    second = await people.proposes("bert", "ada", "examiner")
    assert code(await people.confirms("bert", first)) == NOT_WAITING
    await people.sets("anna", "ada", "learner")
    assert code(await people.confirms("anna", second)) == NOT_WAITING
    assert {one["state"] for one in await people.grants("anna")} == {"replaced"}


async def test_a_proposal_is_void_when_its_proposer_is_no_operator_any_more(people):
    await people.roots("carl")
    grant = await people.proposes("carl", "ada", "marker")
    await people.sets("anna", "carl", "learner")
    assert code(await people.confirms("bert", grant)) == NOT_WAITING
    await people.gives("anna", "bert", "carl", "operator")
    assert code(await people.confirms("bert", grant)) == NOT_WAITING
    assert [one["state"] for one in await people.grants("bert", account_id=people.ids["ada"])] == ["void"]


@pytest.mark.parametrize("who", ["ada", "carl"])
async def test_a_proposal_is_void_when_its_account_or_its_proposers_is_erased(people, session, clock, who):
    await people.roots("carl")
    grant = await people.proposes("carl", "ada", "marker")
    await inbox.receive(session, LearnerAnonymised(learner_id=UUID(people.ids[who]), anonymised_at=clock()))
    await session.commit()
    assert code(await people.confirms("bert", grant)) == NOT_WAITING
    [shown] = await people.grants("bert")
    assert (shown["state"], shown["decided_by"], "" in {shown["email"], shown["proposer_email"]}) == (
        "void",
        None,
        True,
    )
    if who == "ada":
        assert code(await people.sets("anna", "ada", "marker")) == (404, "not_found")
        with pytest.raises(Exception, match="closed"):
            await give_roles(session, UUID(people.ids["ada"]), ["marker"], granted_by="command line (ops)")


async def test_who_proposed_and_who_confirmed_stays_on_record(people):
    given = await people.gives("anna", "bert", "ada", "marker")
    await people.opens("one")
    await people.proposes("bert", "one", "advisor")
    newest, oldest = await people.grants("anna")
    assert oldest == given
    assert (given["proposed_by"], given["decided_by"]) == (people.ids["anna"], people.ids["bert"])
    assert (given["email"], given["proposer_email"]) == ("ada@example.org", "anna@example.org")
    assert (newest["roles"], newest["state"], newest["decided_at"]) == (["advisor"], "waiting", None)
    assert await people.grants("anna", waiting=True) == [newest]
    assert await people.grants("anna", account_id=people.ids["ada"]) == [given]
    first = (await people.ask("anna", "GET", "/v1/role-grants", params={"limit": 1})).json()
    params = {"limit": 1, "cursor": first["next_cursor"]}
    second = (await people.ask("anna", "GET", "/v1/role-grants", params=params)).json()
    assert (first["items"], second["items"], second["next_cursor"]) == ([newest], [given], None)


async def test_what_is_not_there_and_what_is_no_role(people):
    assert code(await people.sets("anna", "ada", "king")) == (422, "unknown_role")
    people.ids["nobody"] = str(new_id())
    assert code(await people.sets("anna", "nobody")) == (404, "not_found")
    assert code(await people.confirms("anna", new_id())) == (404, "not_found")
    assert code(await people.refuses("anna", new_id())) == (404, "not_found")
