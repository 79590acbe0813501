"""The issuer at work: what stands in a badge about its holder, its forms, its versions, and who waits for one."""

import json
from datetime import timedelta
from hashlib import sha256

import jwt
import orjson
import pytest
from jsonschema.validators import validator_for
from openbadgeslib.ob3 import OB3VerificationError
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from credentials import jobs
from credentials.commands import issuing
from credentials.queries.issued import waiting_badges
from credentials.tables.issued import AssignedStatusEntry, Badge
from credentials.tables.keys import Signature
from openbadges import json_ld
from openbadges.badges import identity_hash
from shared.directory import LocalDirectory
from shared.events.assessment import CreditReinstated
from shared.events.credentials import BadgeIssued
from shared.events.enrolment import LearnerAnonymised, LearnerContactChanged
from shared.ids import new_id
from shared.testing.services import published

from .announcements import BEFORE, DS, consume, course, credit, let_time_work, named, person, revoked, work_of
from .badges import schema
from .issuer import HOST, UNCHECKED, instant, verified


def faults(published_schemas, document: dict, edition: str = "strict/") -> list[str]:
    """What the published schema objects to."""
    published_schema = schema(published_schemas, f"{edition}ob_v3p0_achievementcredential_schema.json")
    checker = validator_for(published_schema)
    return [
        error.message
        for error in checker(published_schema, format_checker=checker.FORMAT_CHECKER).iter_errors(document)
    ]


# --- what a badge says


async def test_the_holder_is_a_salted_hash_of_the_address(issuer):
    first, second = [(await issuer.document(code))["credentialSubject"] for code in ("DS01", "DS02")]
    (identity,) = first["identifier"]
    address = f"  {issuer.learner.hex}@Learner.EXAMPLE "
    assert identity["identityHash"] == identity_hash(address, identity["salt"])
    assert identity["identityHash"].startswith("sha256$")
    assert len(bytes.fromhex(identity["salt"])) == 16
    assert second["identifier"][0]["salt"] != identity["salt"]
    assert second["id"] != first["id"]


def test_the_hash_is_the_one_of_the_specification():
    expected = "sha256$" + sha256(b"a@example.comKosher").hexdigest()
    assert identity_hash(" A@example.com", "Kosher") == expected


async def test_a_badge_tells_no_name_no_address_no_mark_and_no_number_of_ours(issuer):
    said = json.dumps(await issuer.document())
    for secret in ("Ada", "Lovelace", "@learner", issuer.learner.hex, str(issuer.learner), '"60"', "result"):
        assert secret not in said


@pytest.mark.parametrize("edition", ["", "strict/"])
async def test_what_is_issued_meets_the_published_schemas(issuer, published_schemas, edition):
    assert faults(published_schemas, await issuer.document(), edition) == []
    assert faults(published_schemas, jwt.decode(await issuer.token(), options=UNCHECKED), edition) == []


async def test_every_signature_is_on_record(issuer, session):
    document, token = await issuer.document(), await issuer.token()
    logged = {row.signature_sha256: row for row in await session.scalars(select(Signature))}
    proof = logged[sha256(document["proof"][0]["proofValue"].encode()).digest()]
    assert proof.credential_id == document["id"]
    assert proof.verification_method == document["proof"][0]["verificationMethod"]
    assert logged[sha256(token.rpartition(".")[2].encode()).digest()].credential_id == document["id"]
    assert f"{HOST}/status/revocation/1" in {row.credential_id for row in logged.values()}
    assert len(logged) == 3 * 2, "two badges and a list, each in two forms"


@pytest.mark.parametrize("statement", ["delete from signatures", "update key_events set reason = 'none'"])
async def test_the_record_of_signatures_and_keys_does_not_change(issuer, session, statement):
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text(statement))


# --- as a token


async def test_the_same_badge_is_offered_as_a_token(issuer):
    document, token = await issuer.document(), await issuer.token()
    claims = await verified(issuer, token)
    assert jwt.get_unverified_header(token).keys() == {"alg", "kid", "typ"}
    assert (claims["iss"], claims["jti"], claims["sub"]) == (
        document["issuer"]["id"], document["id"], document["credentialSubject"]["id"],
    )  # fmt: skip
    assert claims["nbf"] == instant(document["validFrom"]).timestamp()
    same = {name: member for name, member in document.items() if name not in {"proof", "refreshService"}}
    assert same.items() <= claims.items()
    assert claims["refreshService"]["id"] == f"{document['id']}/refresh.jwt"


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: ".".join([token.split(".")[0], token.split(".")[1][:-2] + "AA", token.split(".")[2]]),
        lambda token: token[:-4] + "AAAA",
        lambda token: ".".join([*token.split(".")[:2], ""]),
        lambda token: jwt.encode(jwt.decode(token, options=UNCHECKED), "", algorithm="none",
                                 headers={"kid": jwt.get_unverified_header(token)["kid"]}),
    ],
    ids=["payload", "signature", "none left", "alg none"],
)  # fmt: skip
async def test_a_token_that_was_touched_is_refused(issuer, forge):
    with pytest.raises(jwt.InvalidTokenError):
        await verified(issuer, forge(await issuer.token()))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/vc+ld+json"),
        ("application/json", "application/vc+ld+json"),
        ("application/jwt", "text/plain; charset=utf-8"),
        ("text/plain;q=0.9, application/json", "text/plain; charset=utf-8"),
        ("image/png", "application/vc+ld+json"),
    ],
)
async def test_the_form_is_asked_for(issuer, accept, kind):
    badge = await issuer.badge()
    answer = await issuer.get(f"/credentials/{badge.badge_id}", accept=accept)
    assert (answer.headers["content-type"], answer.headers["vary"]) == (kind, "Accept")
    again = await issuer.get(
        f"/credentials/{badge.badge_id}", accept=accept, **{"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize("form", ["", ".jwt", "/refresh", "/refresh.jwt"])
async def test_a_badge_that_is_not_there_or_not_signed_is_not_found(issuer, session, form):
    await consume(session, course("LATE03", DS))
    await consume(session, credit(issuer.learner, "LATE03", DS))
    for badge_id in (new_id(), (await issuer.badge("LATE03")).badge_id):
        assert (await issuer.get(f"/credentials/{badge_id}{form}")).status_code == 404


async def test_the_key_set_names_the_keys_of_tokens(issuer):
    answer = await issuer.get("/credentials/jwks.json")
    (key,) = answer.json()["keys"]
    assert key["kid"] == jwt.get_unverified_header(await issuer.token())["kid"]
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert "d" not in key


# --- corrections


async def test_another_address_is_a_correction(issuer, clock):
    badge, before, token = await issuer.badge(), await issuer.document(), await issuer.token()
    clock.advance(days=3)
    await issuer.change_address("ada@new.example", 2)
    assert await issuer.document() == before  # until the newer one is signed
    await let_time_work(issuer.service)
    after = await issuer.document()
    assert (after["id"], after["awardedDate"]) == (before["id"], before["awardedDate"])
    assert after["credentialSubject"]["id"] == before["credentialSubject"]["id"]
    assert instant(after["validFrom"]) > instant(before["validFrom"])
    identity = after["credentialSubject"]["identifier"][0]
    assert identity["identityHash"] == identity_hash("ada@new.example", identity["salt"])
    old, new = (int(one["credentialStatus"]["statusListIndex"]) for one in (before, after))
    assert (await issuer.is_set(old), await issuer.is_set(new)) == (True, False)
    await issuer.second_opinion(after)
    with pytest.raises(OB3VerificationError, match="revocation"):
        await issuer.second_opinion(before)
    refreshed = await issuer.get(before["refreshService"]["id"].removeprefix(HOST))
    assert refreshed.json() == after
    old_claims = jwt.decode(token, options=UNCHECKED)
    newer = await issuer.get(old_claims["refreshService"]["id"].removeprefix(HOST))
    assert (await verified(issuer, newer.text))["validFrom"] == after["validFrom"]
    announced = [event for event in await issuer.superseded() if event.badge_id == badge.badge_id]
    assert [(event.reason_code, event.superseded_at) for event in announced] == [("correction", clock())]


async def test_a_badge_is_issued_once_however_often_it_is_corrected(issuer, session, clock):
    for version in (2, 3):
        await issuer.change_address(f"ada@{version}.example", version)
        await let_time_work(issuer.service)
    issued = [event for event in await published(session) if isinstance(event, BadgeIssued)]
    assert len(issued) == 2
    assert (await issuer.badge()).version == 3
    first, second, third = await status_entries_of(session, await issuer.badge())
    assert [await issuer.is_set(status_entry.list_index) for status_entry in (first, second, third)] == [
        True,
        True,
        False,
    ]


async def status_entries_of(session, badge) -> list[AssignedStatusEntry]:
    status_entry = AssignedStatusEntry
    return list(
        await session.scalars(
            select(status_entry).where(status_entry.badge_id == badge.badge_id).order_by(status_entry.version)
        )
    )


async def test_two_versions_of_one_second_are_distinguished(issuer):
    before = await issuer.document()
    await issuer.change_address("ada@new.example", 2)
    await let_time_work(issuer.service)
    assert instant((await issuer.document())["validFrom"]) - instant(before["validFrom"]) == timedelta(seconds=1)


async def test_the_same_address_in_other_letters_changes_nothing(issuer):
    before = await issuer.document()
    await issuer.change_address(f"{issuer.learner.hex}@LEARNER.example ", 2)
    await let_time_work(issuer.service)
    assert await issuer.document() == before
    assert await issuer.superseded() == []


async def test_another_name_changes_no_badge(issuer):
    before = await issuer.document()
    entry = person(issuer.learner, family_name="King", name_version=2, contact_version=2)
    await consume(
        issuer.session, LearnerContactChanged(learner_id=issuer.learner, contact_version=2, changed_at=BEFORE)
    )
    await jobs.read_people(work_of(issuer.service, LocalDirectory(entry)))
    await let_time_work(issuer.service)
    assert await issuer.document() == before


async def test_a_badge_revoked_before_its_correction_is_signed_is_revoked_in_every_version(issuer, session):
    before = await issuer.document()
    await issuer.change_address("ada@new.example", 2)
    await consume(session, revoked(issuer.learner, "DS01"))
    await let_time_work(issuer.service)
    assert await issuer.document() == before
    entries = await status_entries_of(session, await issuer.badge())
    assert len(entries) == 2
    assert all([await issuer.is_set(status_entry.list_index) for status_entry in entries])
    assert [event.badge_id for event in await issuer.superseded()] == [(await issuer.badge("DS02")).badge_id]


async def test_what_changed_while_it_was_signed_is_not_stored(issuer, session, monkeypatch):
    """Signing happens outside transactions: a revocation or another correction may come in between."""
    await issuer.change_address("ada@2.example", 2)
    sign, revoked_meanwhile = issuing.sign_badges, (await issuer.badge("DS01")).badge_id
    before = await issuer.document("DS01")

    def and_meanwhile(*arguments):
        signed = sign(*arguments)
        monkeypatch.setattr(issuing, "sign_badges", sign)
        return signed

    monkeypatch.setattr(issuing, "sign_badges", and_meanwhile)
    store = issuing.store_badges

    async def store_later(session_, *arguments):
        monkeypatch.setattr(issuing, "store_badges", store)
        await session_.execute(
            text("update badges set revoked_at = now() where badge_id = :id"), {"id": revoked_meanwhile}
        )
        await issuing.correct_badge(session_, await session_.get(Badge, (await issuer.badge("DS02")).badge_id))
        await store(session_, *arguments)

    monkeypatch.setattr(issuing, "store_badges", store_later)
    await let_time_work(issuer.service)
    assert (await issuer.badge("DS02")).due == "correction"  # for the next round
    await let_time_work(issuer.service)
    assert await issuer.document("DS01") == before
    assert (await issuer.badge("DS02")).version == 3
    assert (await issuer.badge("DS02")).due is None
    await issuer.second_opinion(await issuer.document("DS02"))


async def test_credit_given_back_brings_another_badge_and_the_first_stays_revoked(issuer, session, clock):
    first = str((await issuer.badge()).badge_id)
    await consume(session, revoked(issuer.learner, "DS01"))
    await let_time_work(issuer.service)
    given_back = CreditReinstated(
        credit_id=named("credit", issuer.learner, "DS01"),
        learner_id=issuer.learner,
        reason_code="appeal",
        board_id=named("board"),
        reinstated_at=clock(),
    )
    await consume(session, given_back)
    await let_time_work(issuer.service)
    async with issuer.service.client("learner", id=issuer.learner) as learner:
        listed = (await learner.get("/v1/badges")).json()["items"]
    states = {one["badge_id"]: one["status"] for one in listed if one["credit_id"] == str(given_back.credit_id)}
    assert sorted(states.values()) == ["revoked", "valid"]
    assert states[first] == "revoked"
    with pytest.raises(OB3VerificationError, match="revocation"):
        await issuer.second_opinion((await issuer.get(f"/credentials/{first}")).json())


# --- erasure


async def test_the_anonymised_keep_their_badges_and_we_keep_no_hash(issuer, session, clock):
    before = await issuer.document()
    await consume(session, LearnerAnonymised(learner_id=issuer.learner, anonymised_at=clock()))
    await let_time_work(issuer.service)
    after = await issuer.document()
    assert "identifier" not in after["credentialSubject"]
    salt = before["credentialSubject"]["identifier"][0]["salt"]
    rows = (await session.scalars(text("select row_to_json(badges)::text from badges"))).all()
    assert not any(salt in row for row in rows)
    await issuer.second_opinion(after)
    await issuer.second_opinion(before)  # copies that are out there stand
    assert await issuer.superseded() == []


async def test_credit_of_somebody_anonymised_still_brings_a_badge(issuer, session, clock, published_schemas):
    await consume(session, LearnerAnonymised(learner_id=issuer.learner, anonymised_at=clock()))
    await consume(session, course("LATE04", DS), credit(issuer.learner, "LATE04", DS))
    await let_time_work(issuer.service)
    document = await issuer.document("LATE04")
    assert "identifier" not in document["credentialSubject"]
    assert faults(published_schemas, document) == []


# --- waiting


async def test_badges_that_wait_are_counted_and_logged(issuer, session, clock, caplog):
    stranger = new_id()
    await consume(session, credit(stranger, "NOWHERE01", DS, ratified_at=clock()))
    clock.advance(minutes=16)
    await jobs.watch_waiting_badges(work_of(issuer.service))
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "holder"}) == 1
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "course"}) == 1
    assert "badges wait to be signed" in caplog.text


async def test_nothing_is_logged_of_badges_that_do_not_wait(issuer, caplog):
    await jobs.watch_waiting_badges(work_of(issuer.service))
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "holder"}) == 0
    assert caplog.text == ""


async def test_what_is_signed_is_covered_in_full(issuer):
    document = await issuer.document()
    json_ld.check_terms(document)
    assert orjson.loads(orjson.dumps(document)) == document
    assert (await waiting_badges(issuer.session)).since is None
