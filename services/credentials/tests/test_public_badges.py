"""What anyone may ask the API about a badge: whether it holds, its status, its page."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from html import unescape

import pytest
from openbadgeslib.ob3 import OB3LdpVerifier, OB3VerificationError

from shared.ids import new_id

from .announcements import (
    consume,
    hold_credit,
    let_time_work,
    revoked,
)


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
