"""The HTTP door: one's own record, claims and conferrals, and what anyone may check."""

import asyncio
import hashlib
import json
from copy import deepcopy
from datetime import UTC, datetime
from html import unescape

import pytest
from openbadgeslib.ob3 import OB3LdpVerifier, OB3VerificationError
from sqlalchemy import func, select

from credentials.tables.awards import Allocation
from shared.events.credentials import AwardConferred, AwardSuperseded
from shared.ids import new_id
from shared.testing.access import access_failures
from shared.testing.services import published

from .announcements import (
    consume,
    hold_credit,
    introduce,
    let_time_work,
    named,
    passed,
    registered,
    revoked,
)
from .holds import suspension_of

CLAIM = {"level": "pgcert", "title": "PGCert in Data Science"}


async def test_every_operation_admits_whom_the_table_names(service, session, clock) -> None:
    assert await access_failures(service) == []


async def test_the_ledger_shows_pending_ratified_and_revoked(service, session, clock) -> None:
    learner = new_id()
    await consume(session, registered(learner), passed(learner, "DS03"))
    await hold_credit(session, learner, DS=2)
    await consume(session, revoked(learner, "DS02"))
    async with service.client("learner", id=learner) as client:
        answer = (await client.get("/v1/credits")).json()
    assert [(line["status"], line["course_code"]) for line in answer["items"]] == [
        ("pending", None),
        ("ratified", "DS01"),
        ("revoked", "DS02"),
    ]


async def test_a_badge_of_another_is_as_good_as_missing(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as own, service.client("learner") as other:
        badge = (await own.get("/v1/badges")).json()["items"][0]
        assert (await own.get(f"/v1/badges/{badge['badge_id']}")).json() == badge
        answer = await other.get(f"/v1/badges/{badge['badge_id']}")
    assert badge["status"] == "valid"
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_options_say_what_they_use_and_what_stays(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3, MG=2)
    async with service.client("learner", id=learner) as client:
        answer = (await client.get("/v1/award-options")).json()
    assert answer["regulations"] == ["mc-regs-2026.2"]
    found = {level["level"]: level["options"] for level in answer["levels"]}
    assert [(option["title"], len(option["counted"]), len(option["left"])) for option in found["pgcert"]] == [
        ("PGCert in Data Science and Management", 4, 1),
        ("PGCert in Data Science with Management", 4, 1),
    ]
    assert (found["pgdip"], found["masters"]) == ([], [])
    assert found["pgcert"][0]["classification"] == "Merit"
    assert found["pgcert"][0]["mean"] == "60"


async def test_from_four_passes_to_a_superseded_certificate(service, session, clock) -> None:
    """A9, through the door."""
    learner, registrar = new_id(), new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client, service.client("registrar", id=registrar) as office:
        claimed = await client.post("/v1/award-claims", json=CLAIM)
        assert claimed.status_code == 201
        assert claimed.json()["state"] == "claimed"
        waiting = (await office.get("/v1/awards", params={"state": "claimed"})).json()["items"]
        assert [award["award_id"] for award in waiting] == [claimed.json()["award_id"]]
        conferred = await office.post(f"/v1/award-claims/{claimed.json()['award_id']}/conferral")
        assert conferred.status_code == 201
        assert conferred.json()["certificate_number"].startswith("MC-2026-")

        await hold_credit(session, learner, MG=4)
        options = (await client.get("/v1/award-options")).json()["levels"]
        assert {o["title"] for o in options[0]["options"]} == {"PGCert in Management"}
        (diploma,) = options[1]["options"]
        assert diploma["title"] == "PGDip in Data Science and Management"
        assert diploma["supersedes"] == [claimed.json()["award_id"]]

        clock.advance(days=30)
        higher = await client.post("/v1/award-claims", json={"level": "pgdip", "title": diploma["title"]})
        await office.post(f"/v1/award-claims/{higher.json()['award_id']}/conferral")
        lower = (await client.get(f"/v1/awards/{claimed.json()['award_id']}")).json()
        assert (lower["state"], lower["superseded_by"]) == ("superseded", higher.json()["award_id"])

        await let_time_work(service)
        badges = (await client.get("/v1/badges")).json()["items"]
        certificate = next(badge for badge in badges if badge["award_id"] == lower["award_id"])
        assert certificate["status"] == "superseded"
        document = (await client.get(f"/credentials/{certificate['badge_id']}")).json()
        answer = (await client.post("/v1/verifications", json=document)).json()
        assert (answer["verified"], answer["status"]) == (True, "superseded")
        page = await client.get(f"/verify/{certificate['badge_id']}")
        assert "Superseded" in page.text
        transcript = (await client.get("/v1/transcript")).json()
    assert [(award["state"], award["title"]) for award in transcript["document"]["awards"]] == [
        ("superseded", "PGCert in Data Science"),
        ("conferred", "PGDip in Data Science and Management"),
    ]
    events = await published(session)
    assert sum(isinstance(event, AwardConferred) for event in events) == 2
    assert sum(isinstance(event, AwardSuperseded) for event in events) == 1


@pytest.mark.parametrize(
    ("claim", "status", "code"),
    [
        ({"level": "pgcert", "title": "PGCert in Law"}, 409, "not_eligible"),
        ({"level": "doctorate", "title": "Doctorate"}, 422, "unknown_level"),
        ({"level": "pgdip", "title": "PGDip in Data Science"}, 409, "not_eligible"),
        ({"level": "pgcert", "title": "PGCert in Data Science", "credit_ids": []}, 422, "wrong_selection"),
        (CLAIM | {"credit_ids": [str(new_id())] * 4}, 422, "wrong_selection"),
        (CLAIM | {"credit_ids": [str(new_id()) for _ in range(4)]}, 409, "not_available"),
        (CLAIM | {"regulations": "mine"}, 422, "invalid_request"),
        (CLAIM | {"title": "PGCert \x07"}, 422, "invalid_request"),
    ],
)
async def test_bad_claims_are_refused_in_words(*, service, session, clock, claim, status, code) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json=claim)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_learner_may_choose_which_credit_counts(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=5)
    chosen = [str(named("credit", learner, f"DS{n:02}")) for n in (2, 3, 4, 5)]
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json=CLAIM | {"credit_ids": chosen})
        other = await client.post("/v1/award-claims", json={**CLAIM, "title": "PGCert in Law", "credit_ids": chosen})
    assert sorted(answer.json()["credit_ids"]) == sorted(chosen)
    assert other.status_code == 409


async def test_a_title_the_chosen_credit_does_not_give_is_refused(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    chosen = [str(named("credit", learner, f"DS{n:02}")) for n in (1, 2, 3, 4)]
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/award-claims", json={**CLAIM, "title": "PGCert in Law", "credit_ids": chosen})
    assert (answer.json()["code"], answer.json()["titles"]) == ("different_title", ["PGCert in Data Science"])


async def test_claims_wait_while_a_payment_is_reversed(service, session, clock) -> None:
    """F6."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    gone, back = suspension_of(learner)
    await consume(session, gone)
    async with service.client("learner", id=learner) as client:
        assert (await client.get("/v1/award-options")).json()["on_hold"]
        answer = await client.post("/v1/award-claims", json=CLAIM)
        assert len((await client.get("/v1/credits")).json()["items"]) == 4
        assert (answer.status_code, answer.json()["code"]) == (409, "on_hold")
        await consume(session, back)
        assert (await client.post("/v1/award-claims", json=CLAIM)).status_code == 201


async def test_nobody_confers_twice_or_on_themselves(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", "registrar", id=learner) as own, service.client("registrar") as office:
        award_id = (await own.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        answer = await own.post(f"/v1/award-claims/{award_id}/conferral")
        assert (answer.status_code, answer.json()["code"]) == (403, "own_award")
        assert (await office.post(f"/v1/award-claims/{award_id}/conferral")).status_code == 201
        again = await office.post(f"/v1/award-claims/{award_id}/conferral")
        assert (again.status_code, again.json()["code"]) == (409, "not_claimed")
        missing = await office.post(f"/v1/award-claims/{new_id()}/conferral")
    assert missing.status_code == 404


async def test_a_claim_on_revoked_credit_is_not_conferred(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        award_id = (await client.post("/v1/award-claims", json=CLAIM)).json()["award_id"]
        await consume(session, revoked(learner, "DS04"))
        answer = await office.post(f"/v1/award-claims/{award_id}/conferral")
    assert (answer.status_code, answer.json()["code"]) == (409, "under_review")


async def test_one_idempotency_key_makes_one_claim(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    headers = {"Idempotency-Key": str(new_id())}
    async with service.client("learner", id=learner) as client:
        first = await client.post("/v1/award-claims", json=CLAIM, headers=headers)
        again = await client.post("/v1/award-claims", json=CLAIM, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


async def test_two_tabs_claim_shared_credit_at_once(live) -> None:
    """A10, with real commits: one 201, one 409, four credits allocated once."""
    learner = new_id()
    async with live.process.database.transaction() as session:
        await hold_credit(session, learner, DS=5)
    chosen = [
        [str(named("credit", learner, f"DS{n:02}")) for n in (1, 2, 3, 4)],
        [str(named("credit", learner, f"DS{n:02}")) for n in (2, 3, 4, 5)],
    ]
    barrier = asyncio.Barrier(2)

    async def claim(credit_ids: list[str]) -> tuple[int, str]:
        async with live.client("learner", id=learner) as client:
            await client.get("/v1/award-options")
            await barrier.wait()
            answer = await client.post("/v1/award-claims", json=CLAIM | {"credit_ids": credit_ids})
            return answer.status_code, answer.json().get("code", "")

    answers = sorted(await asyncio.gather(*map(claim, chosen)))
    assert answers == [(201, ""), (409, "not_available")]
    async with live.process.database.transaction() as session:
        count = select(func.count(), func.count(Allocation.credit_id.distinct())).where(Allocation.live)
        assert (await session.execute(count)).one() == (4, 4)


async def test_the_transcript_has_a_version_an_instant_and_a_hash(service, session, clock) -> None:
    learner = new_id()
    async with service.client("learner", id=learner) as client:
        assert (await client.get("/v1/transcript")).status_code == 404
        await introduce(session, learner)
        await hold_credit(session, learner, DS=2)
        first = (await client.get("/v1/transcript")).json()
        page = await client.get("/v1/transcript", headers={"Accept": "text/html"})
        await consume(session, revoked(learner, "DS02"))
        second = (await client.get("/v1/transcript")).json()
    assert (first["version"], first["document"]["total_credits"]) == (2, 30)
    assert (second["version"], second["document"]["total_credits"]) == (3, 15)
    packed = json.dumps(first["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(packed.encode()).hexdigest() == first["sha256"]
    assert first["sha256"] in page.text
    assert "Course DS01" in page.text


# What anyone may check


async def issued(service, session, learner=None) -> tuple[str, dict]:
    learner = learner or new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client:
        badge = (await client.get("/v1/badges")).json()["items"][0]
        return badge["badge_id"], (await client.get(f"/credentials/{badge['badge_id']}")).json()


async def test_a_badge_verifies_with_each_check_by_itself(service, session, clock) -> None:
    _, document = await issued(service, session)
    async with service.client() as anyone:
        answer = (await anyone.post("/v1/verifications", json=document)).json()
    assert answer["verified"]
    outcomes = {check["name"]: check["outcome"] for check in answer["checks"]}
    asked = {"schema", "terms", "issuer", "proof", "period", "revocation_list", "revocation"}
    assert asked <= set(outcomes)
    assert set(outcomes.values()) == {"passed"}


async def test_a_badge_in_an_envelope_is_the_badge_and_what_is_written_on_it_is_shown_nowhere(
    service, session, clock
) -> None:
    badge_id, document = await issued(service, session)
    async with service.client() as anyone:
        token = (await anyone.get(f"/credentials/{badge_id}.jwt")).text
        envelope = {
            "@context": "https://www.w3.org/ns/credentials/v2",
            "id": f"data:application/vc+jwt,{token}",
            "type": "EnvelopedVerifiableCredential",
        }
        forged = envelope | {
            "issuer": "did:web:forged.example",
            "name": "Forged",
            "credentialSubject": {"id": "urn:x:y"},
        }
        plain = (await anyone.post("/v1/verifications", json=document)).json()
        for given in (envelope, forged):
            answer = await anyone.post("/v1/verifications", json=given)
            assert (answer.json()["status"], answer.json()["issuer_known"]) == ("valid", "ours")
            assert {**answer.json(), "checks": [], "checked_at": ""} == {**plain, "checks": [], "checked_at": ""}
            page = await anyone.post("/verify", files={"text": (None, json.dumps(given))})
            assert (page.status_code, "Valid" in page.text, "orged" in page.text) == (200, True, False)
        unread = forged | {"id": "data:application/vc+cose,0oRD"}
        assert await failed_checks(service, unread) == ("unconfirmed", {"schema"})
        page = await anyone.post("/verify", files={"text": (None, json.dumps(unread))})
        assert (page.status_code, "a form that is not read here" in page.text, "orged" in page.text) == (
            200,
            True,
            False,
        )


async def test_another_verifier_accepts_what_is_published(service, session, clock) -> None:
    """openbadgeslib fetches the DID document and the status list from the service's own addresses, by the real time."""
    clock.at = datetime.now(UTC)
    _, document = await issued(service, session)
    root = "https://badges.example.ac.uk"
    pages = {}
    async with service.client() as anyone:
        for path in ("/.well-known/did.json", "/status/revocation/1"):
            pages[root + path] = (await anyone.get(path)).content
    OB3LdpVerifier().verify(
        json.dumps(document), check_status=True, download=pages.__getitem__, verify_status_list=False
    )
    document["credentialSubject"]["creditsEarned"] = 30
    with pytest.raises(OB3VerificationError):
        OB3LdpVerifier().verify(json.dumps(document), download=pages.__getitem__)


async def failed_checks(service, document: object) -> tuple[str, set[str]]:
    async with service.client() as anyone:
        answer = (await anyone.post("/v1/verifications", json=document)).json()
    return answer["status"], {check["name"] for check in answer["checks"] if check["outcome"] == "failed"}


async def test_each_way_to_cheat_fails_its_own_check(service, session, clock) -> None:
    _, genuine = await issued(service, session)

    def changed(change) -> dict:
        document = deepcopy(genuine)
        change(document)
        return document

    cases = [
        (lambda d: d["credentialSubject"]["achievement"].update(name="Course DS02"), "unconfirmed", {"proof"}),
        (lambda d: d.pop("proof"), "unconfirmed", {"proof"}),
        (lambda d: d.update(honours="first"), "unconfirmed", {"terms"}),
        (lambda d: d["issuer"].update(id="did:web:elsewhere.example"), "unconfirmed", {"issuer"}),
        (
            lambda d: d["proof"][0].update(verificationMethod="did:web:badges.example.ac.uk#other"),
            "unconfirmed",
            {"issuer"},
        ),
        (lambda d: d.update(validUntil="2026-11-01T00:00:00Z"), "unconfirmed", {"proof", "period"}),
        (lambda d: d.pop("credentialStatus"), "unconfirmed", {"proof"}),
        (lambda d: d["credentialStatus"].update(statusListIndex="999999999"), "unconfirmed", {"proof"}),
        (
            lambda d: d["credentialStatus"].update(
                statusListCredential="https://badges.example.ac.uk/status/revocation/2"
            ),
            "unconfirmed",
            {"proof"},
        ),
        (lambda d: d["proof"].append(d["proof"][0]), "unconfirmed", {"proof"}),
        (lambda d: d["proof"][0].update(proofValue="z0"), "unconfirmed", {"proof"}),
    ]
    for change, status, checks in cases:
        got = await failed_checks(service, changed(change))
        assert got[0] == status
        assert checks <= got[1], (checks, got)
    for nonsense in ({}, {"@context": 1}, {"type": ["x"], "issuer": None}, {"proof": [[[]]]}):
        assert (await failed_checks(service, nonsense))[0] == "unconfirmed"


async def test_a_revocation_is_published_within_a_minute(service, session, clock) -> None:
    learner = new_id()
    badge_id, document = await issued(service, session, learner)
    await consume(session, revoked(learner, "DS01"))
    clock.advance(seconds=15)
    await let_time_work(service)
    assert (await failed_checks(service, document)) == ("revoked", {"revocation"})
    async with service.client() as anyone:
        page = await anyone.get(f"/verify/{badge_id}")
        listed = await anyone.get("/status/revocation/1")
    assert "has since taken it back" in page.text
    assert "max-age=30" in listed.headers["cache-control"]


async def test_a_stale_list_is_no_proof_of_standing(service, session, clock) -> None:
    _, document = await issued(service, session)
    clock.advance(hours=49)
    assert (await failed_checks(service, document)) == ("unconfirmed", {"revocation_list"})
    await let_time_work(service)
    assert (await failed_checks(service, document)) == ("valid", set())


async def test_the_page_needs_no_script_and_names_nobody(service, session, clock) -> None:
    learner = new_id()
    badge_id, _ = await issued(service, session, learner)
    async with service.client() as anyone:
        page = await anyone.get(f"/verify/{badge_id}")
        missing = await anyone.get(f"/verify/{new_id()}")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert str(learner) not in page.text
    assert page.text.count("<li>") >= 7
    assert missing.status_code == 404


async def test_the_page_shows_all_that_the_badge_says(service, session, clock) -> None:
    badge_id, document = await issued(service, session)
    achievement = document["credentialSubject"]["achievement"]
    async with service.client() as anyone:
        page = await anyone.get(f"/verify/{badge_id}")
    shown = unescape(page.text)
    facts = [achievement["name"], document["issuer"]["name"], achievement["humanCode"], "15 credits", "(7.5 ECTS)"]
    facts += [achievement["criteria"]["narrative"], *achievement["description"].split("\n\n")]
    facts += [alignment["targetName"] for alignment in achievement["alignment"]]
    awarded = datetime.fromisoformat(document["awardedDate"])
    facts += [f"{awarded.day} {awarded:%B %Y}", "did:web:badges.example.ac.uk", document["id"]]
    assert [one for one in facts if one not in shown] == []


@pytest.mark.parametrize("address", ["nonsense", "01a22373-02fc-77b8-9f4b-0042e5a9ddc7"])
async def test_whoever_mistyped_an_address_is_answered_in_words(service, session, clock, address) -> None:
    async with service.client() as anyone:
        page = await anyone.get(f"/verify/{address}", headers={"Accept": "text/html"})
        answer = await anyone.get(f"/verify/{address}")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "No such credential" in page.text
    assert (page.headers["cache-control"], page.headers["vary"]) == ("no-store", "Accept")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_public_documents_answer_not_modified(service, session, clock) -> None:
    badge_id, document = await issued(service, session)
    paths = [
        f"/credentials/{badge_id}",
        "/status/revocation/1",
        "/.well-known/did.json",
        document["credentialSubject"]["achievement"]["id"].removeprefix("https://badges.example.ac.uk"),
    ]
    async with service.client() as anyone:
        for path in paths:
            first = await anyone.get(path)
            again = await anyone.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (first.status_code, again.status_code) == (200, 304), path
        achievement = (await anyone.get(paths[3])).json()
        assert achievement == document["credentialSubject"]["achievement"]
        for missing in (0, 7):
            assert (await anyone.get(f"/status/revocation/{missing}")).status_code == 404
