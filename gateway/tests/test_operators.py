"""Operators whose role was taken away, and a signing key that another wrapping key sealed."""

from uuid import UUID

import jwt
import pytest
from sqlalchemy import select

from gateway.adapters.vault import Vault
from gateway.commands import accounts
from gateway.commands import keys as key_commands
from gateway.desk import Desk
from gateway.domain.keys import SigningKeyUnreadable
from gateway.jobs import keep_signing_keys
from gateway.tables import Partner, SigningKey
from shared.jobs import Work

PASSWORD = "nine brass engines humming"


async def open_account(client, email):
    return UUID((await client.post("/v1/accounts", json={"email": email, "password": PASSWORD})).json()["account_id"])


async def sign_in(client, email):
    return await client.post("/v1/sign-ins", json={"email": email, "password": PASSWORD})


@pytest.fixture
async def former(service, session):
    """The headers of an operator who has just ceased to be one, and another account."""
    async with service.client() as client:
        account, other = await open_account(client, "root@example.org"), await open_account(client, "x@example.org")
        await accounts.set_roles(session, other, ["operator"], granted_by="command line")
        await accounts.set_roles(session, account, ["operator"], granted_by="command line")
        await session.commit()
        token = (await sign_in(client, "root@example.org")).json()["access_token"]
        await accounts.set_roles(session, account, ["learner"], granted_by=str(other))
        await session.commit()
    return {"Authorization": f"Bearer {token}"}, other


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/accounts/{other}/roles"),
        ("POST", "/v1/partners"),
        ("DELETE", "/v1/partners/one"),
        ("POST", "/v1/partners/one/secrets"),
        ("DELETE", "/v1/partners/one/secrets/abcd"),
    ],
)
async def test_who_is_no_operator_any_more_changes_nothing_by_an_old_token(service, session, former, method, path):
    headers, other = former
    body = {"roles": ["registrar"]} if path.endswith("roles") else {"name": "One", "scopes": ["catalogue:read"]}
    async with service.client() as client:
        sent = {} if method == "DELETE" or path.endswith("secrets") else {"json": body}
        answer = await client.request(method, path.format(other=other), headers=headers, **sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert (await session.scalars(select(Partner))).all() == []


async def test_every_change_by_an_operator_asks_for_the_role_as_it_is(service):
    asked = {
        route.operation_id
        for route in service.process.api.routes
        if any(one.call.__name__ == "_must_still_be_operator" for one in getattr(route, "dependant", NONE).dependencies)
    }
    rules = service.service.access
    changing = {
        route.operation_id
        for route in service.process.api.routes
        if getattr(route, "operation_id", None) in rules
        and rules[route.operation_id].staff == {"operator"}
        and "GET" not in route.methods
    }
    assert changing
    assert asked == changing


class NONE:
    dependencies = ()


async def test_a_key_that_another_wrapping_key_sealed_is_an_outage_until_the_keys_are_rotated(
    service, session, monkeypatch
):
    other = Vault("another secret of sufficient length")
    resources = {**service.service.resources, Vault: other}
    async with service.client() as client:
        await open_account(client, "ada@example.org")
        before = jwt.get_unverified_header((await sign_in(client, "ada@example.org")).json()["access_token"])["kid"]
        monkeypatch.setattr(resources[Desk].minter, "_vault", other)
        refused = await sign_in(client, "ada@example.org")
        assert (refused.status_code, refused.json().get("code")) == (503, "signing_key_unreadable")
        assert refused.headers["Retry-After"]
        with pytest.raises(SigningKeyUnreadable):
            await keep_signing_keys(Work(service.process.database, resources))
        await key_commands.rotate_keys(session, other)
        await session.commit()
        after = jwt.get_unverified_header((await sign_in(client, "ada@example.org")).json()["access_token"])["kid"]
    states = {key.kid: key.state for key in await session.scalars(select(SigningKey))}
    assert (states[before], states[after]) == ("retired", "active")
    assert sorted(states.values()) == ["active", "next", "retired", "retired"]
