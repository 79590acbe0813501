import asyncio
import dataclasses
import hashlib
import time
from uuid import UUID

import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update

from gateway.adapters import signing_keys
from gateway.adapters.hashing import Hashing, SignInBusy
from gateway.api.auth_settings import AuthSettings
from gateway.commands import keys as key_commands
from gateway.tables import Account
from shared.events.gateway import AccountOpened
from shared.secret_box import SecretBox
from shared.testing.access import access_failures
from shared.testing.services import ServiceUnderTest, published

from .proxy_harness import gateway_settings
from .signing_in import PASSWORD, code, open_account, operator, refresh, sign_in


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
    ("email", "password", "error"),
    [
        ("nowhere", PASSWORD, "email_malformed"),
        ("ada@example.org", "short", "password_too_short"),
        ("ada@example.org", "long " * 60, "password_too_long"),
        ("ada@example.org", "password1234", "password_too_common"),
    ],
)
async def test_no_account_is_opened_with_a_bad_address_or_password(service, session, email, password, error):
    async with service.client() as client:
        assert code(await open_account(client, email, password)) == (422, error)


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
    monkeypatch.setattr(service.service.resources[AuthSettings].hashing, "_room", 0)
    async with service.client() as client:
        for answer in (await open_account(client), await sign_in(client)):
            assert code(answer) == (503, "sign_in_busy")
            assert answer.headers["retry-after"]


async def test_nothing_is_stored_of_the_password_but_argon2id(service, session):
    async with service.client() as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        asked = [
            await client.post("/v1/accounts", json=one, headers={"Idempotency-Key": "one"})
            for one in (body, body, body | {"email": "b@example.org"})
        ]
    assert [answer.status_code for answer in asked] == [201, 201, 422]
    assert asked[1].headers["idempotency-replayed"] == "true"
    assert code(asked[2]) == (422, "idempotency_key_reused")
    [(plain, digest)] = await session.execute(text("select request_sha256, request_digest from idempotency_keys"))
    assert (plain, len(digest)) == (b"", 32)


@pytest.mark.parametrize("password", ["ten brass engines humming", "", 5, None, "missing"])
async def test_a_repeat_with_another_password_is_another_request(service, session, password):
    async with service.client() as client:
        body = {"email": "ada@example.org", "password": PASSWORD}
        headers = {"Idempotency-Key": "one"}
        assert (await client.post("/v1/accounts", json=body, headers=headers)).status_code == 201
        other = body | {"password": password}
        if password == "missing":
            del other["password"]
        answer = await client.post("/v1/accounts", json=other, headers=headers)
        assert code(answer) == (422, "idempotency_key_reused")
        assert "another secret" in answer.json()["detail"]
        spaced = await client.post("/v1/accounts", json=dict(reversed(body.items())), headers=headers)
        assert (spaced.status_code, spaced.headers["idempotency-replayed"]) == (201, "true")
        assert (await sign_in(client)).status_code == 201


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


# Operators


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
    secret_box = service.service.resources[SecretBox]
    async with service.client() as client:
        await open_account(client)
        before = (await sign_in(client)).json()["access_token"]
        shown = {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}
        await key_commands.rotate_keys(session, secret_box)
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
    secret_box = service.service.resources[SecretBox]
    async with service.client() as client:
        await open_account(client)
        token = (await sign_in(client)).json()["access_token"]
        kid = jwt.get_unverified_header(token)["kid"]
        with pytest.raises(key_commands.KeyInUse):
            await key_commands.withdraw_key(session, kid)
        await key_commands.rotate_keys(session, secret_box)
        await key_commands.withdraw_key(session, kid)
        await session.commit()
        shown = {key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]}
    assert kid not in shown


async def test_private_keys_are_sealed_at_rest(service, session):
    from gateway.tables import SigningKey
    from shared.secret_box import SigningKeyUnreadable

    secret_box = service.service.resources[SecretBox]
    async with service.client() as client:
        await open_account(client)
        await sign_in(client)
    key = (await session.scalars(select(SigningKey))).first()
    raw = signing_keys.open_key(secret_box, key.kid, key.sealed_private).private_bytes_raw()
    assert raw not in key.sealed_private
    with pytest.raises(SigningKeyUnreadable):
        signing_keys.open_key(SecretBox(bytes(32)), key.kid, key.sealed_private)
    with pytest.raises(SigningKeyUnreadable):
        signing_keys.open_key(secret_box, "another key", key.sealed_private)


def test_what_was_sealed_under_a_wrapping_key_opens_still():
    """Sealed by the first release, under the text of the wrapping key."""
    settings = gateway_settings("", wrapping_key=SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
    sealed = bytes.fromhex(
        "08fc4efe2af520bc8d503810a17005d3d16e80b7a6fe20e0b90cd5e0612be8aa9cc2315d42f3263bb83642ddc038e40230fa207822b8e418"
        "1b914bca"
    )
    key = signing_keys.open_key(settings.secret_box(), "OSA2Dw7IOCp_riSsizx98RONuVJ6pYhqvFsHcx1VsWc", sealed)
    assert key.private_bytes_raw().hex() == "587eee35201237cd65d3f0fbc948d45be081749d68e470633fb5651f6cae42d5"
    assert settings.refresh_secret().hex() == "8d60ecdfc5c69421a95056a58a8a88688ee4a39e2c6845ac2971b641322b4290"


async def test_hashing_refuses_rather_than_queue_for_ever():
    hashing = Hashing(threads=1, waiting=0)
    async with hashing.slot():
        with pytest.raises(SignInBusy):
            async with hashing.slot():
                pass
    async with hashing.slot():
        assert (await hashing.make(PASSWORD)).startswith("$argon2id$")
