"""Sign-in sessions: tokens that follow each other, repeats, thefts; and who is taken for whom at the sign-in."""

import asyncio
import unicodedata

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from gateway.domain import sessions
from gateway.tables import Account, RefreshToken, SignIn

from .signing_in import code, open_account, refresh, sign_in

WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "password1234")


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


async def test_a_second_tab_that_repeats_gets_the_newest_and_stays_signed_in(service, session, clock):
    """The first tab has used its successor by the time the second asks with the token both had."""
    async with service.client() as client:
        await open_account(client)
        shared = (await sign_in(client)).json()["refresh_token"]
        first = (await refresh(client, shared)).json()["refresh_token"]
        first = (await refresh(client, first)).json()["refresh_token"]
        clock.advance(seconds=5)
        second = (await refresh(client, shared)).json()["refresh_token"]
        assert second == first
        clock.advance(seconds=11)
        assert (await refresh(client, second)).status_code == 200


def test_a_repeat_after_the_secret_has_changed_is_refused_in_the_end():
    token, newest = sessions.first_token(), sessions.fingerprint(sessions.first_token())
    with pytest.raises(sessions.InvalidRefreshToken):
        sessions.newest(token, b"another", newest, most=3)


async def test_a_password_is_the_same_however_its_letters_are_composed(service, session):
    composed, apart = (unicodedata.normalize(form, "neun Öfen über Düsseldorf") for form in ("NFC", "NFD"))
    assert composed != apart
    async with service.client() as client:
        for email, opened in (("nfc@example.org", composed), ("nfd@example.org", apart)):
            await open_account(client, email=email, password=opened)
            for typed in (composed, apart):
                assert (await sign_in(client, email=email, password=typed)).status_code == 201
        account = await session.scalar(select(Account).where(Account.email_key == "nfd@example.org"))
        account.password_hash = PasswordHasher().hash(apart)  # before passwords were normalised
        await session.commit()
        assert (await sign_in(client, email="nfd@example.org", password=apart)).status_code == 201
        common = await client.post("/v1/accounts", json={"email": "c@example.org", "password": WIDE})
    assert code(common) == (422, "password_too_common")


async def test_two_mailboxes_are_two_and_one_however_it_is_written_is_one(service, session):
    async with service.client() as client:
        for email in ("straße@example.org", "strasse@example.org"):
            assert (await open_account(client, email=email)).status_code == 201
        for email in ("STRASSE@example.org", "Straße@EXAMPLE.org"):
            assert code(await open_account(client, email=email)) == (409, "email_taken")


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
