"""Operators: whose role was taken away, whose accounts they cannot take over, a key that another wrapping key sealed."""

import ast
from pathlib import Path
from uuid import UUID

import jwt
import pytest
from sqlalchemy import select

import gateway
from gateway.api.auth_settings import AuthSettings
from gateway.commands import grants
from gateway.commands import keys as key_commands
from gateway.jobs import keep_signing_keys
from gateway.tables import Partner, SigningKey
from shared.jobs import Work
from shared.secret_box import SecretBox, SigningKeyUnreadable
from shared.testing.source import syntax_tree

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
        third = await open_account(client, "y@example.org")
        for one in (account, other, third):
            await grants.give_roles(session, one, ["operator"], granted_by="command line")
        await session.commit()
        token = (await sign_in(client, "root@example.org")).json()["access_token"]
        await grants.set_roles(session, account, ["learner"], by=other)
        await session.commit()
    return {"Authorization": f"Bearer {token}"}, other


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/accounts/{other}/roles"),
        ("POST", "/v1/role-grants/{other}/confirmation"),
        ("POST", "/v1/role-grants/{other}/refusal"),
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
        sent = {"json": body} if path in {"/v1/accounts/{other}/roles", "/v1/partners"} else {}
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


def test_no_operation_gives_anothers_account_another_password_or_address():
    """Whoever could would sign in as the second operator. `sign_in` hashes the same password anew."""
    root = Path(gateway.__file__).parent
    setting = set()
    for file in root.rglob("*.py"):
        for function in ast.walk(syntax_tree(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and sets_sign_in(function):
                setting.add((str(file.relative_to(root)), function.name))
    assert setting == {
        ("api/sessions.py", "sign_in"),
        ("commands/accounts.py", "change_email"),
        ("commands/accounts.py", "erase_account"),
        ("staff.py", "set_password"),  # the command line's
        ("staff.py", "run_command"),
    }


def sets_sign_in(function):
    """Whether it writes to what somebody signs in by, or asks the command that does."""
    return any(
        (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and node.attr in {"password_hash", "email"}
        )
        or (isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"change_email", "set_password"})
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"change_email", "set_password"})
        for node in ast.walk(function)
    )


async def test_a_key_that_another_wrapping_key_sealed_is_an_outage_until_the_keys_are_rotated(
    service, session, monkeypatch
):
    other = SecretBox(bytes(32))
    resources = {**service.service.resources, SecretBox: other}
    async with service.client() as client:
        await open_account(client, "ada@example.org")
        before = jwt.get_unverified_header((await sign_in(client, "ada@example.org")).json()["access_token"])["kid"]
        monkeypatch.setattr(resources[AuthSettings].token_issuer, "_secret_box", other)
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
