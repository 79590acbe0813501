"""Who is anonymised as a learner has no account any more."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import func, select

from gateway.adapters.oidc import Identity
from gateway.api.auth_settings import AuthSettings
from gateway.commands import accounts, sessions
from gateway.commands.grants import give_roles
from gateway.handlers import inbox
from gateway.tables import Account, AccountRole, ExternalIdentity, SignIn
from shared.events.enrolment import LearnerAnonymised
from shared.events.gateway import AccountClosed
from shared.ids import new_id
from shared.testing.services import published

ADA, PASSWORD = "ada@example.org", "nine brass engines humming"


def anonymised(account_id):
    return LearnerAnonymised(learner_id=account_id, anonymised_at=datetime(2026, 11, 23, 12, tzinfo=UTC))


def code(answer):
    return answer.status_code, answer.json().get("code")


async def open_account(client):
    answer = await client.post("/v1/accounts", json={"email": ADA, "password": PASSWORD})
    return UUID(answer.json()["account_id"])


async def sign_in(client):
    return await client.post("/v1/sign-ins", json={"email": ADA, "password": PASSWORD})


async def refresh(client, tokens):
    return await client.post("/v1/sign-ins/refresh", json={"refresh_token": tokens["refresh_token"]})


async def closings(session):
    return [event for event in await published(session) if isinstance(event, AccountClosed)]


async def count(session, table):
    return await session.scalar(select(func.count()).select_from(table))


async def test_whoever_is_anonymised_is_signed_out_everywhere_and_signs_in_no_more(service, session, clock):
    async with service.client() as client:
        account_id = await open_account(client)
        phone, auth = (await sign_in(client)).json(), (await sign_in(client)).json()
        await inbox.receive(session, anonymised(account_id))
        await session.commit()
        for tokens in (phone, auth):
            assert code(await refresh(client, tokens)) == (401, "account_closed")
        assert code(await sign_in(client)) == (401, "wrong_credentials")
        token = {"Authorization": f"Bearer {phone['access_token']}"}  # works for its last minutes
        me = (await client.get("/v1/accounts/me", headers=token)).json()
    assert (me["email"], me["roles"], me["closed_at"] is not None) == ("", [], True)
    assert [(row.ended_at, row.end_reason) for row in await session.scalars(select(SignIn))] == [
        (clock(), "account_closed"),
        (clock(), "account_closed"),
    ]


async def test_nothing_that_tells_who_it_was_is_kept(service, session, clock):
    async with service.client() as client:
        account_id = await open_account(client)
    await give_roles(session, account_id, ["marker"], granted_by="test")
    await inbox.receive(session, anonymised(account_id))
    row = await session.get_one(Account, account_id, populate_existing=True)
    assert (row.email, row.password_hash, row.closed_at) == ("", None, clock())
    assert ADA not in row.email_key
    assert await count(session, AccountRole) == 0


@pytest.mark.parametrize("times", [1, 3])
async def test_the_closing_is_announced_once_however_often_it_is_asked(service, session, clock, times):
    async with service.client() as client:
        account_id = await open_account(client)
    for _ in range(times):
        await inbox.receive(session, anonymised(account_id))
        clock.advance(hours=1)
    [closed] = await closings(session)
    assert (closed.account_id, closed.reason_code) == (account_id, "anonymised")


async def test_the_address_can_be_used_anew_by_another_account(service, session):
    async with service.client() as client:
        first = await open_account(client)
        await inbox.receive(session, anonymised(first))
        await session.commit()
        second = await open_account(client)
        assert second != first
        assert (await sign_in(client)).json()["account"]["account_id"] == str(second)
        await inbox.receive(session, anonymised(second))  # two erased accounts stand beside each other
    assert len(await closings(session)) == 2


async def test_an_outside_identity_is_forgotten_too(service, session):
    auth = service.process.resources()[AuthSettings]
    visitor = Identity("https://login.example.ac.uk", "ada-1", ADA)
    before = await sessions.sign_in_from_outside(session, visitor, auth.token_issuer, auth.session_policy)
    await inbox.receive(session, anonymised(before.account.account_id))
    assert await count(session, ExternalIdentity) == 0
    after = await sessions.sign_in_from_outside(session, visitor, auth.token_issuer, auth.session_policy)
    assert after.account.account_id != before.account.account_id


async def test_a_learner_without_an_account_here_closes_none(service, session):
    async with service.client() as client:
        await open_account(client)
        await inbox.receive(session, anonymised(new_id()))
        assert (await sign_in(client)).status_code == 201
    assert await closings(session) == []


async def test_nobody_slips_in_while_the_account_closes(live):
    async with live.client() as client:
        account_id = await open_account(client)

        async def close():
            async with live.process.database.transaction() as session:
                await inbox.receive(session, anonymised(account_id))

        answers, _ = await asyncio.gather(asyncio.gather(*(sign_in(client) for _ in range(8))), close())
        for answer in answers:
            if answer.status_code == 201:
                assert code(await refresh(client, answer.json())) == (401, "account_closed")
            else:
                assert answer.status_code == 401
    async with live.process.database.transaction() as session:
        assert await session.scalar(select(func.count()).where(SignIn.ended_at.is_(None))) == 0


async def test_that_no_operators_are_left_who_could_give_roles_is_logged_loudly(service, session, caplog):
    async with service.client() as client:
        first = await open_account(client)
        await give_roles(session, first, ["operator"], granted_by="command line")
        second = await accounts.open_account(
            session, "b@example.org", None, roles=["operator"], granted_by="command line"
        )
        for account_id, warnings in ((first, 1), (second.account_id, 2), (second.account_id, 2)):
            await inbox.receive(session, anonymised(account_id))
            await session.commit()
            assert [r.levelname for r in caplog.records if "operator" in r.message] == ["ERROR"] * warnings
