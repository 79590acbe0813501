"""The issuer at work: what stands in a badge about its holder, versions, keys, and what is signed anew."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import jsonschema
import jwt
import orjson
import pytest
from openbadgeslib.ob3 import OB3LdpVerifier, OB3VerificationError, ldp, status, verifier
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from credentials import jobs, queries, tables
from credentials.adapters import json_ld, proofs
from credentials.commands import issuing
from credentials.domain import badges, status_lists
from shared.events.assessment import CreditReinstated
from shared.events.credentials import BadgeIssued, BadgeSuperseded
from shared.events.enrolment import LearnerAnonymised, LearnerContactChanged
from shared.ids import new_id
from shared.registers import LocalRegisters
from shared.testing import published

from .telling import BEFORE, DS, course, credit, hear, hold_credit, let_time_work, named, person, revoked, work_of
from .test_badges import schema

UNCHECKED = {"verify_signature": False}
HOST = "https://badges.example.ac.uk"


class Issuer:
    """The service as those see it who are outside: by what it serves."""

    def __init__(self, service, session):
        self.service, self.session = service, session
        self.learner = new_id()

    async def get(self, path, **headers):
        async with self.service.client() as anyone:
            return await anyone.get(path, headers=headers)

    async def ask(self, method, path, **body):
        async with self.service.client("operator") as operator:
            return await operator.request(method, path, json=body or None)

    async def badge(self, code="DS01") -> tables.Badge:
        self.session.expire_all()
        statement = select(tables.Badge).where(tables.Badge.credit_id == named("credit", self.learner, code))
        return (await self.session.scalars(statement)).one()

    async def document(self, code="DS01") -> dict:
        return (await self.get(f"/credentials/{(await self.badge(code)).badge_id}")).json()

    async def token(self, code="DS01") -> str:
        return (await self.get(f"/credentials/{(await self.badge(code)).badge_id}.jwt")).text

    async def did_document(self) -> dict:
        return (await self.get("/.well-known/did.json")).json()

    async def pages(self, document) -> dict[str, bytes]:
        """What a verifier would fetch."""
        list_url = document["credentialStatus"]["statusListCredential"]
        return {
            f"{HOST}/.well-known/did.json": (await self.get("/.well-known/did.json")).content,
            list_url: (await self.get(list_url.removeprefix(HOST))).content,
        }

    async def second_opinion(self, document) -> None:
        """openbadgeslib: raises OB3VerificationError unless proof, validity and status all hold."""
        pages = await self.pages(document)
        OB3LdpVerifier().verify(
            json.dumps(document), check_status=True, download=pages.__getitem__, verify_status_list=False
        )

    async def is_set(self, index: int) -> bool:
        published_list = (await self.get("/status/revocation/1")).json()
        return status_lists.is_set(published_list["credentialSubject"]["encodedList"], index)

    async def keys(self) -> dict[str, dict]:
        return {key["name"]: key for key in (await self.ask("GET", "/v1/signing-keys")).json()["items"]}

    async def active(self, suite="eddsa-rdfc-2022") -> str:
        found = await self.keys()
        return next(name for name, key in found.items() if (key["state"], key["suite"]) == ("active", suite))

    async def change_address(self, address: str, version: int) -> None:
        event = LearnerContactChanged(learner_id=self.learner, contact_version=version, changed_at=BEFORE)
        await hear(self.session, event)
        entry = person(self.learner, contact_email=address, contact_version=version)
        await jobs.read_people(work_of(self.service, LocalRegisters(entry)))

    async def superseded(self) -> list[BadgeSuperseded]:
        return [event for event in await published(self.session) if isinstance(event, BadgeSuperseded)]


@pytest.fixture
async def issuer(service, session, clock, monkeypatch) -> Issuer:
    """With one learner who holds two signed badges, DS01 and DS02. The other verifier is given the same clock."""

    class Now(datetime):
        @classmethod
        def now(cls, _=None):
            return clock()

    for module in (ldp, status, verifier):
        monkeypatch.setattr(module, "datetime", Now)
    made = Issuer(service, session)
    await hold_credit(session, made.learner, DS=2)
    await let_time_work(service)
    return made


def faults(shared_data, document: dict, edition: str = "strict/") -> list[str]:
    """What the published schema objects to."""
    published_schema = schema(shared_data, f"{edition}ob_v3p0_achievementcredential_schema.json")
    checker = jsonschema.validators.validator_for(published_schema)
    return [
        error.message
        for error in checker(published_schema, format_checker=checker.FORMAT_CHECKER).iter_errors(document)
    ]


def instant(value: str) -> datetime:
    return datetime.fromisoformat(value)


# --- what a badge says


async def test_the_holder_is_a_salted_hash_of_the_address(issuer):
    first, second = [(await issuer.document(code))["credentialSubject"] for code in ("DS01", "DS02")]
    (identity,) = first["identifier"]
    address = f"  {issuer.learner.hex}@Learner.EXAMPLE "
    assert identity["identityHash"] == badges.identity_hash(address, identity["salt"])
    assert identity["identityHash"].startswith("sha256$")
    assert len(bytes.fromhex(identity["salt"])) == 16
    assert second["identifier"][0]["salt"] != identity["salt"]
    assert second["id"] != first["id"]


def test_the_hash_is_the_one_of_the_specification():
    expected = "sha256$" + sha256(b"a@example.comKosher").hexdigest()
    assert badges.identity_hash(" A@example.com", "Kosher") == expected


async def test_a_badge_tells_no_name_no_address_no_mark_and_no_number_of_ours(issuer):
    said = json.dumps(await issuer.document())
    for secret in ("Ada", "Lovelace", "@learner", issuer.learner.hex, str(issuer.learner), '"60"', "result"):
        assert secret not in said


@pytest.mark.parametrize("edition", ["", "strict/"])
async def test_what_is_issued_meets_the_published_schemas(issuer, shared_data, edition):
    assert faults(shared_data, await issuer.document(), edition) == []
    assert faults(shared_data, jwt.decode(await issuer.token(), options=UNCHECKED), edition) == []


async def test_every_signature_is_on_record(issuer, session):
    document, token = await issuer.document(), await issuer.token()
    logged = {row.signature_sha256: row for row in await session.scalars(select(tables.Signature))}
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


async def verified(issuer, token: str) -> dict:
    """As a verifier does: the key is the one the issuer's document names. Raises jwt.InvalidTokenError."""
    kid = jwt.get_unverified_header(token)["kid"]
    did_document = await issuer.did_document()
    assert kid in did_document["assertionMethod"]
    (method,) = [one for one in did_document["verificationMethod"] if one["id"] == kid]
    assert method["type"] == "JsonWebKey"
    key = jwt.PyJWK(method["publicKeyJwk"], algorithm="ES256")
    unasked = {"verify_nbf": False, "verify_exp": False}  # the clock is the test's
    return jwt.decode(token, key, algorithms=["ES256"], options=unasked)


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
        lambda token: jwt.encode(jwt.decode(token, options=UNCHECKED), None, algorithm="none",
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
    await hear(session, course("LATE03", DS))
    await hear(session, credit(issuer.learner, "LATE03", DS))
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
    assert identity["identityHash"] == badges.identity_hash("ada@new.example", identity["salt"])
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
    told = [event for event in await issuer.superseded() if event.badge_id == badge.badge_id]
    assert [(event.reason_code, event.superseded_at) for event in told] == [("correction", clock())]


async def test_a_badge_is_issued_once_however_often_it_is_corrected(issuer, session, clock):
    for version in (2, 3):
        await issuer.change_address(f"ada@{version}.example", version)
        await let_time_work(issuer.service)
    issued = [event for event in await published(session) if isinstance(event, BadgeIssued)]
    assert len(issued) == 2
    assert (await issuer.badge()).version == 3
    first, second, third = await places_of(session, await issuer.badge())
    assert [await issuer.is_set(place.list_index) for place in (first, second, third)] == [True, True, False]


async def places_of(session, badge) -> list[tables.BadgePlace]:
    place = tables.BadgePlace
    return list(await session.scalars(select(place).where(place.badge_id == badge.badge_id).order_by(place.version)))


async def test_two_versions_of_one_second_are_told_apart(issuer):
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
    await hear(issuer.session, LearnerContactChanged(learner_id=issuer.learner, contact_version=2, changed_at=BEFORE))
    await jobs.read_people(work_of(issuer.service, LocalRegisters(entry)))
    await let_time_work(issuer.service)
    assert await issuer.document() == before


async def test_a_badge_revoked_before_its_correction_is_signed_is_revoked_in_every_version(issuer, session):
    before = await issuer.document()
    await issuer.change_address("ada@new.example", 2)
    await hear(session, revoked(issuer.learner, "DS01"))
    await let_time_work(issuer.service)
    assert await issuer.document() == before
    places = await places_of(session, await issuer.badge())
    assert len(places) == 2
    assert all([await issuer.is_set(place.list_index) for place in places])
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
        await issuing.correct_badge(session_, await session_.get(tables.Badge, (await issuer.badge("DS02")).badge_id))
        await store(session_, *arguments)

    monkeypatch.setattr(issuing, "store_badges", store_later)
    await let_time_work(issuer.service)
    assert await issuer.document("DS01") == before
    assert (await issuer.badge("DS02")).version == 3
    assert (await issuer.badge("DS02")).due is None
    await issuer.second_opinion(await issuer.document("DS02"))


async def test_credit_given_back_brings_another_badge_and_the_first_stays_revoked(issuer, session, clock):
    first = str((await issuer.badge()).badge_id)
    await hear(session, revoked(issuer.learner, "DS01"))
    await let_time_work(issuer.service)
    given_back = CreditReinstated(
        credit_id=named("credit", issuer.learner, "DS01"),
        learner_id=issuer.learner,
        reason_code="appeal",
        board_id=named("board"),
        reinstated_at=clock(),
    )
    await hear(session, given_back)
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
    await hear(session, LearnerAnonymised(learner_id=issuer.learner, anonymised_at=clock()))
    await let_time_work(issuer.service)
    after = await issuer.document()
    assert "identifier" not in after["credentialSubject"]
    salt = before["credentialSubject"]["identifier"][0]["salt"]
    rows = (await session.scalars(text("select row_to_json(badges)::text from badges"))).all()
    assert not any(salt in row for row in rows)
    await issuer.second_opinion(after)
    await issuer.second_opinion(before)  # copies that are out there stand
    assert await issuer.superseded() == []


async def test_credit_of_somebody_anonymised_still_brings_a_badge(issuer, session, clock, shared_data):
    await hear(session, LearnerAnonymised(learner_id=issuer.learner, anonymised_at=clock()))
    await hear(session, course("LATE04", DS), credit(issuer.learner, "LATE04", DS))
    await let_time_work(issuer.service)
    document = await issuer.document("LATE04")
    assert "identifier" not in document["credentialSubject"]
    assert faults(shared_data, document) == []


# --- keys


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
    await hear(session, revoked(issuer.learner, "DS02"))
    await let_time_work(issuer.service)
    stolen, before, gone = await issuer.active(), await issuer.document(), await issuer.document("DS02")
    clock.advance(hours=1)  # the list is not due for renewal by itself
    answer = await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="A backup was lost")
    told = answer.json()
    assert (told["state"], told["carriers"], told["compromised_at"]) == ("compromised", 3, "2026-11-23T13:00:00Z")
    assert told["history"][-1]["reason"] == "A backup was lost"
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
    assert len(repeated.json()["history"]) == len(told["history"])


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
    for key in await session.scalars(select(tables.SigningKey)):
        assert key.wrapped_key.hex() not in shown
    assert "wrapped" not in shown


# --- status lists


async def test_a_revocation_is_visible_within_a_minute(issuer, session):
    """The job runs every quarter of a minute, and copies live half a minute."""
    document = await issuer.document()
    index = int(document["credentialStatus"]["statusListIndex"])
    assert not await issuer.is_set(index)
    await hear(session, revoked(issuer.learner, "DS01"))
    await jobs.publish_status_lists(work_of(issuer.service))
    assert await issuer.is_set(index)
    answer = await issuer.get("/status/revocation/1")
    every, _ = jobs.jobs._jobs["publish_status_lists"]
    max_age = int(answer.headers["cache-control"].rpartition("=")[2])
    assert every + max_age <= 60
    assert answer.json()["credentialSubject"]["ttl"] <= 30_000


async def test_a_list_is_offered_as_a_token_too(issuer, session):
    """The same bits and the same time, at an address of its own; a revocation shows in both at once."""
    index = int((await issuer.document())["credentialStatus"]["statusListIndex"])
    for is_revoked in (False, True):
        if is_revoked:
            await hear(session, revoked(issuer.learner, "DS01"))
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
        assert status_lists.is_set(claims["credentialSubject"]["encodedList"], index) is is_revoked
        assert await issuer.is_set(index) is is_revoked


async def test_a_token_of_a_list_is_cached_as_the_list_is(issuer):
    both = [await issuer.get(f"/status/revocation/1{ending}") for ending in ("", ".jwt")]
    assert both[0].headers["cache-control"] == both[1].headers["cache-control"] == "public, max-age=30"
    again = await issuer.get("/status/revocation/1.jwt", **{"If-None-Match": both[1].headers["etag"]})
    assert (both[1].headers["content-type"].partition(";")[0], again.status_code) == ("text/plain", 304)
    assert (await issuer.get("/status/revocation/7.jwt")).status_code == 404
    assert (await issuer.get("/status/revocation/0.jwt")).status_code == 422


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
    await hear(session, revoked(issuer.learner, "DS01"))
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
            published_list["credentialSubject"]["encodedList"] = status_lists.encode([7])
        case "period":
            published_list["validUntil"] = "2099-01-01T00:00:00Z"
        case "key":
            multikey = "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    assert not proofs.holds(published_list, proof, multikey)


async def test_a_list_is_replaced_whole_or_not_at_all(issuer, session, monkeypatch):
    before = [(await issuer.get(f"/status/revocation/1{ending}")).content for ending in ("", ".jwt")]
    await hear(session, revoked(issuer.learner, "DS01"))

    def fail(*_):
        raise ConnectionError("the vault is away")

    monkeypatch.setattr("credentials.adapters.tokens.sign", fail)  # the second of the two signatures
    with pytest.raises(ConnectionError):
        await jobs.publish_status_lists(work_of(issuer.service))
    assert [(await issuer.get(f"/status/revocation/1{ending}")).content for ending in ("", ".jwt")] == before


async def test_no_place_is_given_twice(issuer, session, monkeypatch):
    monkeypatch.setattr(status_lists, "LENGTH", 6)
    await session.execute(text("delete from badge_places"))
    badge = await issuer.badge()
    for _ in range(6):
        await issuing.correct_badge(session, badge)
    assert await session.scalar(select(func.count()).select_from(tables.BadgePlace)) == 6
    with pytest.raises(RuntimeError, match="list is full"):
        await issuing.correct_badge(session, badge)


# --- waiting


async def test_badges_that_wait_are_counted_and_told_of(issuer, session, clock, caplog):
    stranger = new_id()
    await hear(session, credit(stranger, "NOWHERE01", DS, ratified_at=clock()))
    clock.advance(minutes=16)
    await jobs.watch_waiting_badges(work_of(issuer.service))
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "holder"}) == 1
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "course"}) == 1
    assert "badges wait to be signed" in caplog.text


async def test_nobody_is_told_of_badges_that_do_not_wait(issuer, caplog):
    await jobs.watch_waiting_badges(work_of(issuer.service))
    assert REGISTRY.get_sample_value("badges_waiting", {"known": "holder"}) == 0
    assert caplog.text == ""


async def test_what_is_signed_is_covered_in_full(issuer):
    document = await issuer.document()
    json_ld.check_terms(document)
    assert orjson.loads(orjson.dumps(document)) == document
    assert (await queries.waiting_badges(issuer.session)).since is None
