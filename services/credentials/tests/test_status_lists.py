"""Status lists: what is revoked shows in both forms, within a minute, and no status entry is given twice."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from openbadgeslib.ob3 import OB3LdpVerifier, OB3VerificationError
from sqlalchemy import func, select, text

from credentials import jobs
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import issuing, keys, status_entries
from credentials.commands import status_lists as publishing
from credentials.tables.issued import AssignedStatusEntry, Badge, StatusList
from openbadges import proofs, status_lists
from openbadges.status_lists import encode, is_set
from shared.ids import new_id

from .announcements import consume, let_time_work, revoked, work_of
from .issuer import HOST, instant, verified


async def test_a_revocation_is_visible_within_a_minute(issuer, session):
    """The job runs every quarter of a minute, and copies live half a minute."""
    document = await issuer.document()
    index = int(document["credentialStatus"]["statusListIndex"])
    assert not await issuer.is_set(index)
    await consume(session, revoked(issuer.learner, "DS01"))
    await jobs.publish_status_lists(work_of(issuer.service))
    assert await issuer.is_set(index)
    answer = await issuer.get("/status/revocation/1")
    every, *_ = jobs.jobs._jobs["publish_status_lists"]
    max_age = int(answer.headers["cache-control"].rpartition("=")[2])
    assert every + max_age <= 60
    assert answer.json()["credentialSubject"]["ttl"] <= 30_000


async def test_a_list_is_offered_as_a_token_too(issuer, session):
    """The same bits and the same time, at an address of its own; a revocation shows in both at once."""
    index = int((await issuer.document())["credentialStatus"]["statusListIndex"])
    for is_revoked in (False, True):
        if is_revoked:
            await consume(session, revoked(issuer.learner, "DS01"))
            await jobs.publish_status_lists(work_of(issuer.service))
        document = (await issuer.get("/status/revocation/1")).json()
        answer = await issuer.get("/status/revocation/1.jwt")
        claims = await verified(issuer, answer.text)
        assert jwt.get_unverified_header(answer.text).keys() == {"alg", "kid", "typ"}
        subject = document["credentialSubject"]
        url = f"{HOST}/status/revocation/1.jwt"
        same = {name: member for name, member in document.items() if name not in {"proof", "id", "credentialSubject"}}
        assert same.items() <= claims.items()
        assert claims["credentialSubject"] == subject | {"id": f"{url}#list"}
        assert (claims["iss"], claims["jti"], claims["id"], claims["sub"]) == (
            document["issuer"], url, url, f"{url}#list",
        )  # fmt: skip
        assert claims["nbf"] == instant(document["validFrom"]).timestamp()
        assert claims["exp"] == instant(document["validUntil"]).timestamp()
        assert is_set(claims["credentialSubject"]["encodedList"], index) is is_revoked
        assert await issuer.is_set(index) is is_revoked


async def test_a_token_of_a_list_is_cached_as_the_list_is(issuer):
    both = [await issuer.get(f"/status/revocation/1{ending}") for ending in ("", ".jwt")]
    assert both[0].headers["cache-control"] == both[1].headers["cache-control"] == "public, max-age=30"
    again = await issuer.get("/status/revocation/1.jwt", **{"If-None-Match": both[1].headers["etag"]})
    assert (both[1].headers["content-type"].partition(";")[0], again.status_code) == ("text/plain", 304)
    assert (await issuer.get("/status/revocation/7.jwt")).status_code == 404
    assert (await issuer.get("/status/revocation/0.jwt")).status_code == 404


async def test_another_verifier_reads_the_token_of_a_list_and_proves_it(issuer, session, clock):
    """openbadgeslib proves no other list, and by the issuer's first key. Tokens it reads by the real time."""
    clock.at = datetime.now(UTC)
    await jobs.publish_status_lists(work_of(issuer.service))
    document = await issuer.document()
    list_url = document["credentialStatus"]["statusListCredential"]

    async def ask(token: bytes) -> None:
        pages = await issuer.pages(document) | {list_url: token}
        OB3LdpVerifier().verify(
            json.dumps(document), check_status=True, download=pages.__getitem__, verify_status_list=True
        )

    before = (await issuer.get("/status/revocation/1.jwt")).content
    await ask(before)
    with pytest.raises(OB3VerificationError, match="proof is invalid"):
        await ask(before[:-6] + b"AAAAAA")
    await consume(session, revoked(issuer.learner, "DS01"))
    await jobs.publish_status_lists(work_of(issuer.service))
    with pytest.raises(OB3VerificationError, match="revocation"):
        await ask((await issuer.get("/status/revocation/1.jwt")).content)


async def test_a_lost_key_of_tokens_has_the_lists_signed_anew(issuer):
    stolen = await issuer.active("ES256")
    before = (await issuer.get("/status/revocation/1.jwt")).text
    assert (await issuer.keys())[stolen]["carriers"] == 3, "two badges and the list"
    await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="Lost")
    await let_time_work(issuer.service)
    after = (await issuer.get("/status/revocation/1.jwt")).text
    await verified(issuer, after)
    with pytest.raises(AssertionError):
        await verified(issuer, before)
    assert (await issuer.keys())[stolen]["carriers"] == 0


async def test_a_list_without_its_token_gets_one(issuer, session):
    """As one the release before had published."""
    await session.execute(text("update status_lists set token = null, token_signed_with = null"))
    assert (await issuer.get("/status/revocation/1.jwt")).status_code == 404
    await jobs.publish_status_lists(work_of(issuer.service))
    await verified(issuer, (await issuer.get("/status/revocation/1.jwt")).text)


async def test_a_list_that_a_clock_signed_which_stood_ahead_is_signed_anew_once_it_is_right(issuer, clock):
    right = clock.at
    clock.at = right + timedelta(days=1)
    async with issuer.service.process.database.transaction() as session:
        await session.execute(text("update status_lists set revoked = -1"))  # as if a bit had changed
    await jobs.publish_status_lists(work_of(issuer.service))
    assert instant((await issuer.get("/status/revocation/1")).json()["validFrom"]) > right
    clock.at = right
    await jobs.publish_status_lists(work_of(issuer.service))
    assert instant((await issuer.get("/status/revocation/1")).json()["validFrom"]) <= right
    await verified(issuer, (await issuer.get("/status/revocation/1.jwt")).text)


@pytest.mark.parametrize("column", ["signed_with", "token_signed_with"])
async def test_a_list_signed_at_another_address_is_signed_anew(issuer, session, column):
    """The platform was moved, say to another port: the list it published there is another issuer's here."""
    await session.execute(text(f"update status_lists set {column} = 'did:web:moved.example#key', document = '{{}}'"))
    await jobs.publish_status_lists(work_of(issuer.service))
    document = await issuer.document()
    assert (await issuer.get("/status/revocation/1")).json()["issuer"] == document["issuer"]["id"]


async def test_a_badge_that_a_clock_signed_which_stood_ahead_is_signed_anew_once_it_is_right(issuer, session, clock):
    right = clock.at
    clock.at = right + timedelta(days=1)
    await session.execute(text("update badges set due = 'issue'"))
    await let_time_work(issuer.service)
    ahead = select(func.count()).select_from(Badge).where(Badge.signed_at > right)
    assert await session.scalar(ahead)
    assert instant((await issuer.document())["validFrom"]) > right
    clock.at = right
    await let_time_work(issuer.service)
    assert not await session.scalar(ahead)
    assert instant((await issuer.document())["validFrom"]) <= right
    assert await session.scalar(select(func.count()).select_from(Badge).where(Badge.due.is_not(None))) == 0


@pytest.mark.parametrize("tamper", ["bit", "period", "key"])
async def test_a_status_list_that_was_touched_no_longer_holds(issuer, tamper):
    published_list = (await issuer.get("/status/revocation/1")).json()
    proof = published_list["proof"][0]
    (multikey,) = [
        one["publicKeyMultibase"]
        for one in (await issuer.did_document())["verificationMethod"]
        if one["id"] == proof["verificationMethod"]
    ]
    assert proofs.holds(published_list, proof, multikey)
    match tamper:
        case "bit":
            published_list["credentialSubject"]["encodedList"] = encode([7])
        case "period":
            published_list["validUntil"] = "2099-01-01T00:00:00Z"
        case "key":
            multikey = "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    assert not proofs.holds(published_list, proof, multikey)


async def test_a_list_is_replaced_whole_or_not_at_all(issuer, session, monkeypatch):
    before = [(await issuer.get(f"/status/revocation/1{ending}")).content for ending in ("", ".jwt")]
    await consume(session, revoked(issuer.learner, "DS01"))

    def fail(*_):
        raise ConnectionError("the vault is away")

    monkeypatch.setattr("openbadges.tokens.sign", fail)  # the second of the two signatures
    with pytest.raises(ConnectionError):
        await jobs.publish_status_lists(work_of(issuer.service))
    assert [(await issuer.get(f"/status/revocation/1{ending}")).content for ending in ("", ".jwt")] == before


async def test_no_status_entry_is_given_twice(issuer, session, monkeypatch):
    monkeypatch.setattr(status_lists, "LENGTH", 6)
    await session.execute(text("delete from badge_places"))
    badge = await issuer.badge()
    for _ in range(6):
        await issuing.correct_badge(session, badge)
    assert await session.scalar(select(func.count()).select_from(AssignedStatusEntry)) == 6
    with pytest.raises(RuntimeError, match="list is full"):
        await issuing.correct_badge(session, badge)


async def test_a_list_is_published_while_others_draw_entries_in_it(live):
    """Whoever draws an entry refers to the list until they commit: with newcomers all the time it is never free."""
    database = live.process.database
    await jobs.publish_status_lists(work_of(live))
    async with database.transaction() as session:
        await session.execute(text("update status_lists set revoked = -1"))  # as if a bit had changed
    async with database.transaction() as drawing:
        await status_entries.draw_for_badge(drawing, new_id(), version=1)
        await asyncio.wait_for(jobs.publish_status_lists(work_of(live)), 20)
    async with database.transaction() as session:
        assert (await session.get_one(StatusList, 1)).revoked == 0


async def test_a_run_that_was_overtaken_puts_no_older_list_over_a_newer_one(issuer, session):
    """It lost the job's lock while it signed: another run published a revocation meanwhile."""
    index = int((await issuer.document())["credentialStatus"]["statusListIndex"])
    await session.execute(text("update status_lists set revoked = -1"))
    work = work_of(issuer.service)
    credential_issuer = work.resource(CredentialIssuer)
    async with work.database.transaction() as reading:
        signers = await keys.signers(reading, credential_issuer)
        overtaken = await publishing.read_outdated(reading, 1, credential_issuer, work.now())
    signed = publishing.sign_list(overtaken, credential_issuer, signers, work.now())
    await consume(session, revoked(issuer.learner, "DS01"))
    await jobs.publish_status_lists(work)
    assert await issuer.is_set(index)
    async with work.database.transaction() as storing:
        await publishing.publish_list(storing, signed, work.now())
    assert await issuer.is_set(index)
