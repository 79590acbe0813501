"""Partners: their tokens, their secrets, and what the other services learn of them."""

import base64

import jwt
import pytest
from sqlalchemy import select

from shared.testing.services import published

from .signing_in import code, operator


def basic(client_id, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def ask_token(client, partner, secret=None, **form):
    return await client.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", **form},
        headers=basic(partner["client_id"], secret or partner["client_secret"]),
    )


@pytest.fixture
async def partnership(service, session):
    async with service.client() as client:
        headers, _ = await operator(service, session, client)
        body = {"name": "Example University", "scopes": ["transcripts:read", "transfers:decide"]}
        partner = (await client.post("/v1/partners", json=body, headers=headers)).json()
        yield client, headers, partner


async def test_a_partner_gets_a_token_with_the_scopes_it_asked_for(partnership):
    client, _, partner = partnership
    answer = await ask_token(client, partner, scope="transcripts:read")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["scope"] == "transcripts:read"
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert claims["client_id"] == partner["client_id"]
    assert claims["scope"] == "transcripts:read"
    assert claims["exp"] - claims["iat"] <= 300
    whole = await ask_token(client, partner)
    assert whole.json()["scope"] == "transcripts:read transfers:decide"


async def test_a_partners_token_opens_no_persons_account(partnership):
    client, _, partner = partnership
    token = (await ask_token(client, partner)).json()["access_token"]
    answer = await client.get("/v1/accounts/me", headers={"Authorization": f"Bearer {token}"})
    assert code(answer) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("form", "headers", "status", "error"),
    [
        ({"grant_type": "password"}, None, 400, "unsupported_grant_type"),
        ({}, None, 400, "invalid_request"),
        ({"grant_type": "client_credentials", "scope": "credentials:read"}, None, 422, "invalid_scope"),
        ({"grant_type": "client_credentials", "client_secret": "x"}, None, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, {"Authorization": "Basic !!!"}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, basic("nobody", "x"), 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, {}, 401, "invalid_client"),
    ],
)
async def test_a_token_is_refused_in_the_words_of_oauth(partnership, form, headers, status, error):
    client, _, partner = partnership
    if headers is None:
        headers = basic(partner["client_id"], partner["client_secret"])
    answer = await client.post("/oauth/token", data=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


async def test_no_partner_gets_a_scope_there_is_not(partnership):
    client, headers, _ = partnership
    body = {"name": "Example University", "scopes": ["marks:write"]}
    assert code(await client.post("/v1/partners", json=body, headers=headers)) == (422, "unknown_scope")


async def test_a_secret_is_changed_without_a_gap(partnership):
    client, headers, partner = partnership
    path = f"/v1/partners/{partner['client_id']}/secrets"
    second = (await client.post(path, headers=headers)).json()["client_secret"]
    assert (await ask_token(client, partner)).status_code == 200
    assert (await ask_token(client, partner, second)).status_code == 200
    assert code(await client.post(path, headers=headers)) == (409, "too_many_client_secrets")
    first = (await client.get("/v1/partners", headers=headers)).json()["items"][0]["secrets"][0]["prefix"]
    assert partner["client_secret"].startswith(first)
    assert (await client.delete(f"{path}/{first}", headers=headers)).status_code == 204
    assert (await ask_token(client, partner)).status_code == 401
    assert (await ask_token(client, partner, second)).status_code == 200
    assert code(await client.delete(f"{path}/{first}", headers=headers)) == (409, "secret_already_withdrawn")


async def test_a_closed_partner_gets_no_more_tokens(partnership):
    client, headers, partner = partnership
    assert (await client.delete(f"/v1/partners/{partner['client_id']}", headers=headers)).status_code == 204
    assert code(await ask_token(client, partner)) == (401, "invalid_client")


async def test_only_a_hash_of_a_secret_is_kept(partnership, session):
    from gateway.tables import PartnerSecret

    _, _, partner = partnership
    kept = (await session.scalars(select(PartnerSecret))).one()
    assert partner["client_secret"].encode() not in kept.secret_sha256
    assert len(kept.prefix) < 10


async def test_partners_are_made_known_when_they_come_and_go(partnership, session):
    from shared.events.gateway import PartnerClosed, PartnerRegistered

    client, headers, partner = partnership
    for _ in range(2):
        await client.delete(f"/v1/partners/{partner['client_id']}", headers=headers)
    registered, closed = [e for e in await published(session) if type(e) in {PartnerRegistered, PartnerClosed}]
    assert (type(registered), type(closed)) == (PartnerRegistered, PartnerClosed)
    assert (registered.client_id, registered.name) == (partner["client_id"], "Example University")
    assert registered.scopes == ("transcripts:read", "transfers:decide")
