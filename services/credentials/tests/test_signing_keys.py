"""Keys: published ahead, then signing, retired or struck out; what a lost one signed is signed anew."""

import json

import jwt
import pytest
from openbadgeslib.ob3 import OB3VerificationError
from sqlalchemy import select, text

from credentials import jobs
from credentials.commands import issuing
from credentials.tables.keys import SigningKey

from . import verifying
from .announcements import consume, hold_credit, let_time_work, revoked, work_of
from .issuer import instant, verified


async def test_a_key_is_published_ahead_and_then_signs(issuer, session, clock):
    first, before = await issuer.active(), await issuer.document()
    made = await issuer.ask("POST", "/v1/signing-keys", suite="eddsa-rdfc-2022")
    name = made.json()["name"]
    assert (made.status_code, made.json()["state"]) == (201, "next")
    assert made.json()["verification_method"] in (await issuer.did_document())["assertionMethod"]
    assert (await issuer.ask("POST", "/v1/signing-keys", suite="eddsa-rdfc-2022")).json()["code"] == "next_key_exists"
    early = await issuer.ask("PUT", f"/v1/signing-keys/{name}/activation")
    assert (early.status_code, early.json()["code"]) == (409, "published_too_recently")
    clock.advance(hours=24)
    answer = await issuer.ask("PUT", f"/v1/signing-keys/{name}/activation")
    assert answer.json()["state"] == "active"
    assert (await issuer.ask("PUT", f"/v1/signing-keys/{name}/activation")).json() == answer.json()
    retired = await issuer.ask("PUT", f"/v1/signing-keys/{first}/activation")
    assert (retired.status_code, retired.json()["code"]) == (409, "not_next")

    await hold_credit(session, issuer.learner, DS=3)
    await let_time_work(issuer.service)
    after = await issuer.document("DS03")
    assert after["proof"][0]["verificationMethod"].endswith(f"#{name}")
    await issuer.second_opinion(after)
    await issuer.second_opinion(before)  # retired keys stay published
    keys = await issuer.keys()
    assert (keys[first]["state"], keys[first]["carriers"], keys[name]["carriers"]) == ("retired", 2, 2)
    assert [event["state"] for event in keys[first]["history"]] == ["next", "active", "retired"]


async def test_keys_of_tokens_rotate_by_themselves(issuer, clock):
    first = await issuer.active("ES256")
    name = (await issuer.ask("POST", "/v1/signing-keys", suite="ES256")).json()["name"]
    clock.advance(hours=24)
    await issuer.ask("PUT", f"/v1/signing-keys/{name}/activation")
    keys = await issuer.keys()
    assert (keys[first]["state"], keys[name]["state"]) == ("retired", "active")
    await verified(issuer, await issuer.token())


async def test_what_a_compromised_key_signed_is_signed_anew(issuer, session, clock):
    await consume(session, revoked(issuer.learner, "DS02"))
    await let_time_work(issuer.service)
    stolen, before, gone = await issuer.active(), await issuer.document(), await issuer.document("DS02")
    clock.advance(hours=1)  # the list is not due for renewal by itself
    answer = await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="A backup was lost")
    report = answer.json()
    assert (report["state"], report["carriers"], report["compromised_at"]) == ("compromised", 3, "2026-11-23T13:00:00Z")
    assert report["history"][-1]["reason"] == "A backup was lost"
    assert not any(method.endswith(stolen) for method in (await issuer.did_document())["assertionMethod"])
    assert not any(one["id"].endswith(stolen) for one in (await issuer.did_document())["verificationMethod"])
    with pytest.raises(OB3VerificationError):
        await issuer.second_opinion(before)

    await let_time_work(issuer.service)
    await let_time_work(issuer.service)
    after = await issuer.document()
    assert (after["id"], after["awardedDate"]) == (before["id"], before["awardedDate"])
    assert after["credentialStatus"] == before["credentialStatus"]
    assert instant(after["validFrom"]) > instant(before["validFrom"])
    await issuer.second_opinion(after)
    with pytest.raises(OB3VerificationError, match="revocation"):
        await issuer.second_opinion(await issuer.document("DS02"))
    assert await issuer.document("DS02") != gone
    assert (await issuer.keys())[stolen]["carriers"] == 0
    assert [event.reason_code for event in await issuer.superseded()] == ["compromise"]
    repeated = await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="Again")
    assert len(repeated.json()["history"]) == len(report["history"])


@pytest.mark.parametrize("suite", ["eddsa-rdfc-2022", "ES256"])
async def test_what_stands_is_confirmed_while_badges_and_lists_wait_to_be_signed_anew(issuer, session, clock, suite):
    """Our own records say so: the signatures, and the list that is made from the records, come seconds later."""
    await consume(session, revoked(issuer.learner, "DS02"))
    await let_time_work(issuer.service)
    page, gone = [f"/verify/{(await issuer.badge(code)).badge_id}" for code in ("DS01", "DS02")]
    copies = await issuer.document(), await issuer.token()
    clock.advance(hours=1)
    await issuer.ask("PUT", f"/v1/signing-keys/{await issuer.active(suite)}/compromise", reason="Lost")
    for work in (jobs.sign_anew, jobs.sign_badges, jobs.publish_status_lists, None):
        found = (await issuer.get(page)).text
        assert "<strong>Valid</strong>" in found, (work, found[found.index("<strong>") :])
        assert "Not confirmed" not in found
        assert "<strong>Revoked</strong>" in (await issuer.get(gone)).text
        kept = await check(issuer, *(copies if suite == "ES256" else reversed(copies)))
        assert kept["status"] in {"valid", "replaced"}, (work, kept["checks"])
        if work is not None:
            await work(work_of(issuer.service))
    assert "struck out" not in (await issuer.get(page)).text


async def check(issuer, content, *_) -> dict:
    async with issuer.service.client() as anyone:
        content = content if isinstance(content, str) else json.dumps(content)
        return (await anyone.post("/v1/verifications", content=content.encode())).json()


@pytest.mark.parametrize(("suite", "which"), [("eddsa-rdfc-2022", 0), ("ES256", 1)])
async def test_a_copy_that_a_lost_key_signed_says_what_to_ask_its_holder(issuer, suite, which):
    """As does one signed with a key nobody knows: a forger's, or one that was lost with the database."""
    copies = await issuer.document(), await issuer.token()
    await issuer.ask("PUT", f"/v1/signing-keys/{await issuer.active(suite)}/compromise", reason="Lost")
    await let_time_work(issuer.service)
    known = await check(issuer, copies[which])
    await issuer.session.execute(text("delete from signing_keys where state = 'compromised'"))
    for found in (known, await check(issuer, copies[which])):
        (said,) = [one for one in found["checks"] if one["name"] == "issuer"]
        assert (found["status"], said["code"]) == ("unconfirmed", "key_not_of_issuer")
        assert "Ask the holder for the credential's address or number, or for a new download." in said["detail"]
    async with issuer.service.client() as anyone:
        file = copies[which] if which else json.dumps(copies[which])
        page = await anyone.post("/verify", files={"text": (None, file)})
    assert "Ask the holder" in page.text
    foreign = verifying.sign_as_anybody(copies[0])
    assert "Ask the holder" not in str(await check(issuer, foreign))


async def test_a_next_key_takes_the_place_of_a_compromised_one_at_once(issuer):
    stolen = await issuer.active("ES256")
    name = (await issuer.ask("POST", "/v1/signing-keys", suite="ES256")).json()["name"]
    await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="Lost")
    assert await issuer.active("ES256") == name
    await let_time_work(issuer.service)
    await verified(issuer, await issuer.token())
    assert jwt.get_unverified_header(await issuer.token())["kid"].endswith(name)


async def test_a_key_lost_before_it_signed_leaves_the_active_one_alone(issuer):
    active = await issuer.active()
    name = (await issuer.ask("POST", "/v1/signing-keys", suite="eddsa-rdfc-2022")).json()["name"]
    await issuer.ask("PUT", f"/v1/signing-keys/{name}/compromise", reason="Lost")
    assert await issuer.active() == active


async def test_signing_anew_goes_on_where_it_was_broken_off(issuer, session, clock, monkeypatch):
    """In batches of one, killed after the first."""
    monkeypatch.setattr("credentials.commands.keys._BATCH", 1)
    monkeypatch.setattr("credentials.jobs._BATCH", 1)
    stolen = await issuer.active()
    await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="Lost")
    await jobs.sign_anew(work_of(issuer.service))
    store, stored = issuing.store_badges, []

    async def once(*arguments):
        if stored:
            raise ConnectionError("killed")
        stored.append(True)
        await store(*arguments)

    monkeypatch.setattr(issuing, "store_badges", once)
    with pytest.raises(ConnectionError):
        await jobs.sign_badges(work_of(issuer.service))
    assert (await issuer.keys())[stolen]["carriers"] == 2
    monkeypatch.setattr(issuing, "store_badges", store)
    await let_time_work(issuer.service)
    assert (await issuer.keys())[stolen]["carriers"] == 0
    for code in ("DS01", "DS02"):
        await issuer.second_opinion(await issuer.document(code))


async def test_no_key_is_known_that_nobody_made(issuer):
    for path, body in (("activation", {}), ("compromise", {"reason": "Lost"})):
        answer = await issuer.ask("PUT", f"/v1/signing-keys/nobody-s-key/{path}", **body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await issuer.ask("PUT", "/v1/signing-keys/x/compromise", reason="")).status_code == 422
    assert (await issuer.ask("POST", "/v1/signing-keys", suite="rot13")).status_code == 422


async def test_private_keys_are_never_shown(issuer, session):
    shown = (await issuer.ask("GET", "/v1/signing-keys")).text + (await issuer.get("/.well-known/did.json")).text
    for key in await session.scalars(select(SigningKey)):
        assert key.wrapped_key.hex() not in shown
    assert "wrapped" not in shown
