import asyncio
import base64
import dataclasses
import hashlib
import time
from uuid import UUID

import jwt
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from gateway.adapters.hashing import Hashing, SignInBusy
from gateway.commands import keys as key_commands
from gateway.desk import Desk
from gateway.tables import Account, RefreshToken, SignIn
from shared.events.gateway import AccountOpened
from shared.ids import new_id
from shared.testing import ServiceUnderTest, access_failures, published

PASSWORD = "nine brass engines humming"


async def open_account(client, email="ada@example.org", password=PASSWORD):
    return await client.post("/v1/accounts", json={"email": email, "password": password})


async def sign_in(client, email="ada@example.org", password=PASSWORD):
    return await client.post("/v1/sign-ins", json={"email": email, "password": password})


async def refresh(client, token):
    return await client.post("/v1/sign-ins/refresh", json={"refresh_token": token})


def code(answer):
    return answer.status_code, answer.json().get("code")


async def test_every_operation_admits_whom_its_row_admits_and_nobody_else(service, session):
    # The gateway trusts its own keys alone; for this test it trusts the test's.
    tested = ServiceUnderTest(dataclasses.replace(service.service, verifier=None), service.clock)
    tested.process.database.requests = service.process.database.requests
    tested.process.database.reads = service.process.database.reads
    assert await access_failures(tested) == []
    await tested.process.http.aclose()


async def test_opening_an_account_announces_it(service, session):
    async with service.client() as client:
        answer = await open_account(client)
    assert answer.status_code == 201, answer.text
    assert answer.json()["roles"] == ["learner"]
    events = await published(session)
    assert [type(event) for event in events] == [AccountOpened]
    assert events[0].account_id == UUID(answer.json()["account_id"])


async def test_an_address_has_one_account_whatever_its_case(service, session):
    async with service.client() as client:
        await open_account(client, "Ada@Example.org")
        assert code(await open_account(client, "ada@example.ORG")) == (409, "email_taken")


@pytest.mark.parametrize(
    ("email", "password", "refusal"),
    [
        ("nowhere", PASSWORD, "email_malformed"),
        ("ada@example.org", "short", "password_too_short"),
        ("ada@example.org", "long " * 60, "password_too_long"),
        ("ada@example.org", "password1234", "password_too_common"),
    ],
)
async def test_no_account_is_opened_with_a_bad_address_or_password(service, session, email, password, refusal):
    async with service.client() as client:
        assert code(await open_account(client, email, password)) == (422, refusal)


async def test_nobody_is_looked_for_by_what_is_no_address(service, session):
    async with service.client() as client:
        headers, _ = await operator(service, session, client)
        assert code(await sign_in(client, "nowhere")) == (422, "email_malformed")
        found = await client.get("/v1/accounts", params={"email": "nowhere"}, headers=headers)
        assert code(found) == (422, "email_malformed")


async def test_a_repeat_with_the_same_key_opens_no_second_account(service, session):
    async with service.client() as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        first = await client.post("/v1/accounts", json=body, headers={"Idempotency-Key": "one"})
        again = await client.post("/v1/accounts", json=body, headers={"Idempotency-Key": "one"})
    assert again.json() == first.json()
    assert len((await session.scalars(select(Account))).all()) == 1


async def test_nobody_sets_what_is_not_theirs_to_set(service, session):
    async with service.client() as client:
        answer = await client.post(
            "/v1/accounts", json={"email": "ada@example.org", "password": PASSWORD, "roles": ["operator"]}
        )
    assert code(answer) == (422, "invalid_request")


async def test_the_password_is_kept_as_argon2id_at_the_owasp_floor(service, session):
    async with service.client() as client:
        await open_account(client)
    kept = await session.scalar(select(Account.password_hash))
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_signing_in_gives_tokens_that_open_ones_own_account(service, session):
    async with service.client() as client:
        account = (await open_account(client)).json()
        answer = await sign_in(client, "ADA@example.org")
        assert answer.status_code == 201, answer.text
        tokens = answer.json()
        assert answer.headers["cache-control"] == "no-store"
        me = await client.get("/v1/accounts/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert me.json() == account
    header = jwt.get_unverified_header(tokens["access_token"])
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
    assert claims["iss"] == "http://localhost:8000"
    assert claims["aud"] == "microcredentials"
    assert claims["roles"] == ["learner"]
    assert claims["sub"] == account["account_id"]
    assert claims["exp"] - claims["iat"] <= 600


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(service, session):
    async with service.client() as client:
        await open_account(client)
        wrong = await sign_in(client, password="another password entirely")
        unknown = await sign_in(client, "grace@example.org")
    assert code(wrong) == code(unknown) == (401, "wrong_credentials")
    assert wrong.json()["detail"] == unknown.json()["detail"]


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(service, session):
    async with service.client() as client:
        await open_account(client)

        async def seconds(email):
            best = 9.0
            for _ in range(5):
                started = time.perf_counter()
                await sign_in(client, email, "another password entirely")
                best = min(best, time.perf_counter() - started)
            return best

        known, unknown = await seconds("ada@example.org"), await seconds("grace@example.org")
    assert 0.5 < known / unknown < 2


async def test_a_hash_of_older_parameters_is_renewed_at_sign_in(service, session):
    from argon2 import PasswordHasher

    async with service.client() as client:
        await open_account(client)
        weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        await session.execute(update(Account).values(password_hash=weak))
        await session.commit()
        assert (await sign_in(client)).status_code == 201
    assert "m=19456,t=2,p=1" in await session.scalar(select(Account.password_hash))


async def test_a_closed_account_cannot_sign_in(service, session, clock):
    async with service.client() as client:
        await open_account(client)
        tokens = (await sign_in(client)).json()
        await session.execute(update(Account).values(closed_at=clock()))
        await session.commit()
        assert code(await sign_in(client)) == (401, "account_closed")
        assert code(await refresh(client, tokens["refresh_token"])) == (401, "account_closed")


async def test_two_hundred_sign_ins_at_once_do_not_stall_the_rest(live):
    async with live.client() as client:
        await open_account(client)
        floods = [asyncio.create_task(sign_in(client, password="another password")) for _ in range(200)]
        await asyncio.sleep(0.05)
        ready = await client.get("/health/ready")
        under_way = [flood for flood in floods if not flood.done()]
        answers = await asyncio.gather(*floods)
    assert ready.status_code == 200
    assert under_way
    assert {answer.status_code for answer in answers} <= {401, 503}
    assert all(code(answer) == (503, "sign_in_busy") for answer in answers if answer.status_code == 503)


async def test_nobody_waits_in_a_line_that_is_full(service, session, monkeypatch):
    monkeypatch.setattr(service.service.resources[Desk].hashing, "_room", 0)
    async with service.client() as client:
        for answer in (await open_account(client), await sign_in(client)):
            assert code(answer) == (503, "sign_in_busy")
            assert answer.headers["retry-after"]


async def test_a_refresh_token_is_replaced_at_every_use(service, session, clock):
    async with service.client() as client:
        await open_account(client)
        first = (await sign_in(client)).json()["refresh_token"]
        second = (await refresh(client, first)).json()["refresh_token"]
        third = (await refresh(client, second)).json()["refresh_token"]
    assert len({first, second, third}) == 3
    kept = (await session.scalars(select(RefreshToken.token_sha256))).all()
    assert all(token.encode() not in hashed for token in (first, second, third) for hashed in kept)


async def test_a_lost_reply_can_be_asked_for_again(service, session, clock):
    async with service.client() as client:
        await open_account(client)
        first = (await sign_in(client)).json()["refresh_token"]
        lost = (await refresh(client, first)).json()["refresh_token"]
        clock.advance(seconds=9)
        repeated = await refresh(client, first)
        assert repeated.json()["refresh_token"] == lost
        assert (await refresh(client, lost)).status_code == 200


async def test_a_stolen_token_ends_the_whole_session(service, session, clock):
    async with service.client() as client:
        await open_account(client)
        first = (await sign_in(client)).json()["refresh_token"]
        second = (await refresh(client, first)).json()["refresh_token"]
        clock.advance(seconds=11)
        assert code(await refresh(client, first)) == (401, "invalid_refresh_token")
        assert code(await refresh(client, second)) == (401, "invalid_refresh_token")
    assert await session.scalar(select(SignIn.end_reason)) == "refresh_token_reused"


async def test_twenty_refreshes_at_once_agree_and_nobody_is_signed_out(live):
    async with live.client() as client:
        await open_account(client)
        token = (await sign_in(client)).json()["refresh_token"]
        answers = await asyncio.gather(*(refresh(client, token) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1
        assert (await refresh(client, successors.pop())).status_code == 200


async def test_a_session_ends_in_time_however_often_it_is_refreshed(service, session, clock):
    async with service.client() as client:
        await open_account(client)
        token = (await sign_in(client)).json()["refresh_token"]
        clock.advance(days=29)
        token = (await refresh(client, token)).json()["refresh_token"]
        clock.advance(days=1)
        assert code(await refresh(client, token)) == (401, "invalid_refresh_token")


async def test_signing_out_ends_the_session_and_may_be_repeated(service, session):
    async with service.client() as client:
        await open_account(client)
        token = (await sign_in(client)).json()["refresh_token"]
        for _ in range(2):
            assert (await client.post("/v1/sign-outs", json={"refresh_token": token})).status_code == 204
        assert code(await refresh(client, token)) == (401, "invalid_refresh_token")
        assert (await client.post("/v1/sign-outs", json={"refresh_token": "unknown"})).status_code == 204


async def test_nothing_is_stored_of_the_password_but_argon2id(service, session):
    async with service.client() as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        asked = [
            await client.post("/v1/accounts", json=one, headers={"Idempotency-Key": "one"})
            for one in (body, body | {"password": "ten brass engines humming"}, body | {"email": "b@example.org"})
        ]
    assert [answer.status_code for answer in asked] == [201, 201, 422]
    assert asked[1].headers["idempotency-replayed"] == "true"
    assert code(asked[2]) == (422, "idempotency_key_reused")
    [(plain, digest)] = await session.execute(text("select request_sha256, request_digest from idempotency_keys"))
    assert (plain, len(digest)) == (b"", 32)


async def test_a_repeat_is_known_that_the_previous_release_answered(service, session):
    async with service.client() as client:
        body = b'{"email":"ada@example.org","password":"nine brass engines humming"}'
        headers = {"Idempotency-Key": "one", "Content-Type": "application/json"}
        first = await client.post("/v1/accounts", content=body, headers=headers)
        former = hashlib.sha256(b"POST /v1/accounts?\n" + body).digest()
        await session.execute(
            text("update idempotency_keys set request_digest = null, request_sha256 = :former"), {"former": former}
        )
        again = await client.post("/v1/accounts", content=body, headers=headers)
        other = await client.post("/v1/accounts", content=body + b" ", headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert code(other) == (422, "idempotency_key_reused")


# Roles


async def operator(service, session, client):
    """An operator's authorization header, and the account."""
    account = (await open_account(client, "root@example.org")).json()
    from gateway.commands.accounts import set_roles

    await set_roles(session, UUID(account["account_id"]), ["operator"], granted_by="test")
    await session.commit()
    tokens = (await sign_in(client, "root@example.org")).json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}, account


async def test_an_operator_grants_roles_which_the_next_token_shows(service, session):
    async with service.client() as client:
        headers, _ = await operator(service, session, client)
        ada = (await open_account(client)).json()
        old = (await sign_in(client)).json()
        answer = await client.post(
            f"/v1/accounts/{ada['account_id']}/roles", json={"roles": ["marker", "learner"]}, headers=headers
        )
        assert answer.json()["roles"] == ["learner", "marker"]
        new = (await refresh(client, old["refresh_token"])).json()
    claims = jwt.decode(new["access_token"], options={"verify_signature": False})
    assert claims["roles"] == ["learner", "marker"]


async def test_who_grants_roles_holds_none_by_their_own_grant(service, session):
    async with service.client() as client:
        headers, account = await operator(service, session, client)
        path = f"/v1/accounts/{account['account_id']}/roles"
        wish = {"roles": ["operator", "marker", "examiner"]}
        assert code(await client.post(path, json=wish, headers=headers)) == (403, "own_grant")
        assert (await client.get("/v1/accounts/me", headers=headers)).json()["roles"] == ["operator"]
        same = await client.post(path, json={"roles": ["operator"]}, headers=headers)
        assert same.json()["roles"] == ["operator"]
    with pytest.raises(IntegrityError, match="ck_account_roles_own_grant"):
        async with session.begin_nested():
            await session.execute(
                text("insert into account_roles values (:id, 'marker', now(), :name)"),
                {"id": account["account_id"], "name": account["account_id"]},
            )


async def test_nor_by_a_grant_of_whom_they_made_an_operator(service, session):
    async with service.client() as client:
        headers, root = await operator(service, session, client)
        above, made = headers, [root]
        for email in ("second@example.org", "third@example.org"):
            made.append((await open_account(client, email)).json())
            path = f"/v1/accounts/{made[-1]['account_id']}/roles"
            assert (await client.post(path, json={"roles": ["operator"]}, headers=above)).status_code == 200
            above = {"Authorization": f"Bearer {(await sign_in(client, email)).json()['access_token']}"}
        wish = {"roles": ["operator", "examiner"]}
        for one in made:
            path = f"/v1/accounts/{one['account_id']}/roles"
            assert code(await client.post(path, json=wish, headers=above)) == (403, "own_grant")
        middle = f"/v1/accounts/{made[1]['account_id']}/roles"
        assert (await client.post(middle, json={"roles": []}, headers=headers)).json()["roles"] == []
        path = f"/v1/accounts/{root['account_id']}/roles"
        assert code(await client.post(path, json=wish, headers=above)) == (403, "own_grant")
        other = (await open_account(client, "fourth@example.org")).json()
        path = f"/v1/accounts/{other['account_id']}/roles"
        assert (await client.post(path, json=wish, headers=above)).status_code == 200


async def test_the_last_operator_cannot_resign(service, session):
    async with service.client() as client:
        headers, account = await operator(service, session, client)
        path = f"/v1/accounts/{account['account_id']}/roles"
        assert code(await client.post(path, json={"roles": []}, headers=headers)) == (409, "last_operator")
        assert code(await client.post(path, json={"roles": ["king"]}, headers=headers)) == (422, "unknown_role")
        missing = await client.post(f"/v1/accounts/{new_id()}/roles", json={"roles": []}, headers=headers)
        assert code(missing) == (404, "not_found")


async def test_an_operator_finds_an_account_by_its_address(service, session):
    async with service.client() as client:
        headers, _ = await operator(service, session, client)
        await open_account(client)
        found = await client.get("/v1/accounts", params={"email": "ADA@example.org"}, headers=headers)
        everybody = await client.get("/v1/accounts", params={"limit": 1}, headers=headers)
    assert [one["email"] for one in found.json()["items"]] == ["ada@example.org"]
    assert everybody.json()["next_cursor"]


# Keys


async def test_a_rotated_key_signs_at_once_and_the_old_one_verifies_on(service, session, clock):
    vault = service.service.resources[type_of_vault(service)]
    async with service.client() as client:
        await open_account(client)
        before = (await sign_in(client)).json()["access_token"]
        shown = {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}
        await key_commands.rotate_keys(session, vault)
        await session.commit()
        after = (await sign_in(client)).json()["access_token"]
        kid_before, kid_after = (jwt.get_unverified_header(token)["kid"] for token in (before, after))
        assert kid_before != kid_after
        assert kid_after in shown  # published before it signed: no verifier has to hurry
        for token in (before, after):
            me = await client.get("/v1/accounts/me", headers={"Authorization": f"Bearer {token}"})
            assert me.status_code == 200, me.text
        clock.advance(minutes=11)
        later = {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}
    assert kid_before not in later
    assert len(later) == 2


async def test_a_withdrawn_key_leaves_the_key_set_at_once(service, session, clock):
    vault = service.service.resources[type_of_vault(service)]
    async with service.client() as client:
        await open_account(client)
        token = (await sign_in(client)).json()["access_token"]
        kid = jwt.get_unverified_header(token)["kid"]
        with pytest.raises(key_commands.KeyInUse):
            await key_commands.withdraw_key(session, kid)
        await key_commands.rotate_keys(session, vault)
        await key_commands.withdraw_key(session, kid)
        await session.commit()
        shown = {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}
    assert kid not in shown


async def test_private_keys_are_sealed_at_rest(service, session):
    from gateway.adapters.vault import Vault
    from gateway.domain.keys import SigningKeyUnreadable
    from gateway.tables import SigningKey

    vault = service.service.resources[type_of_vault(service)]
    async with service.client() as client:
        await open_account(client)
        await sign_in(client)
    key = (await session.scalars(select(SigningKey))).first()
    raw = vault.open_key(key.kid, key.sealed_private).private_bytes_raw()
    assert raw not in key.sealed_private
    with pytest.raises(SigningKeyUnreadable):
        Vault("another secret of sufficient length").open_key(key.kid, key.sealed_private)
    with pytest.raises(SigningKeyUnreadable):
        vault.open_key("another key", key.sealed_private)


def type_of_vault(service):
    return next(kind for kind in service.service.resources if kind.__name__ == "Vault")


# Partners


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
        wish = {"name": "Example University", "scopes": ["transcripts:read", "transfers:decide"]}
        partner = (await client.post("/v1/partners", json=wish, headers=headers)).json()
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
    wish = {"name": "Example University", "scopes": ["marks:write"]}
    assert code(await client.post("/v1/partners", json=wish, headers=headers)) == (422, "unknown_scope")


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


async def test_hashing_refuses_rather_than_queue_for_ever():
    hashing = Hashing(threads=1, waiting=0)
    async with hashing.turn():
        with pytest.raises(SignInBusy):
            async with hashing.turn():
                pass
    async with hashing.turn():
        assert (await hashing.make(PASSWORD)).startswith("$argon2id$")


async def test_partners_are_made_known_when_they_come_and_go(partnership, session):
    from shared.events.gateway import PartnerClosed, PartnerRegistered

    client, headers, partner = partnership
    for _ in range(2):
        await client.delete(f"/v1/partners/{partner['client_id']}", headers=headers)
    told = [event for event in await published(session) if isinstance(event, PartnerRegistered | PartnerClosed)]
    assert [type(event).__name__ for event in told] == ["PartnerRegistered", "PartnerClosed"]
    assert (told[0].client_id, told[0].name) == (partner["client_id"], "Example University")
    assert told[0].scopes == ("transcripts:read", "transfers:decide")
