"""Checking through the doors: the API, the form, and the public page."""

import json
import re
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from credentials.adapters import pages
from credentials.commands import issuing
from credentials.settings import Settings
from credentials.tables.issued import Badge
from openbadges import baking
from openbadges.testing import OB, ROOT, VC_2, as_jwt, badge, jwk, one_pixel, sign, transcript
from openbadges.verification.outside import Outside
from openbadges.verification.verifier import Verifier
from shared.ids import new_id

from .announcements import consume, let_time_work, revoked
from .conftest import settings
from .verifying import issued, sign_as_anybody


@pytest.fixture
def learner() -> UUID:
    return new_id()


async def test_ours_in_every_form_at_both_doors(service, session, clock, learner) -> None:
    _, document = await issued(service, session, learner)
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
    forms = [
        (document, "application/json"),
        (document, "application/vc+ld+json"),
        (baking.into_png(one_pixel(), document), "image/png"),
        (baking.into_svg(picture, document.decode()).encode(), "image/svg+xml"),
    ]
    async with service.client() as anyone:
        for body, kind in forms:
            answer = (await anyone.post("/v1/verifications", content=body, headers={"Content-Type": kind})).json()
            assert (answer["verified"], answer["status"], answer["kind"]) == (True, "valid", "badge"), answer
            assert answer["issuer"] == "did:web:badges.example.ac.uk"
            page = await anyone.post("/verify", files={"file": ("badge", body, kind)})
            assert page.status_code == 200
            assert "<strong>Valid</strong>" in page.text
            assert page.headers["cache-control"] == "no-store"
        pasted = await anyone.post("/verify", files={"file": ("", b"")}, data={"text": document.decode()})
    assert "This is one of our own credentials" in pasted.text


async def test_our_own_as_a_token(service, session, clock, learner) -> None:
    badge_id, _ = await issued(service, session, learner)
    async with service.client() as anyone:
        token = (await anyone.get(f"/credentials/{badge_id}.jwt")).content
        answer = (await anyone.post("/v1/verifications", content=token)).json()
    assert (answer["status"], answer["issuer"]) == ("valid", "did:web:badges.example.ac.uk"), answer


async def test_an_old_version_of_ours_leads_to_the_new_one(service, session, clock, learner) -> None:
    badge_id, old = await issued(service, session, learner)
    clock.advance(days=1)
    await issuing.correct_badge(session, await session.get(Badge, UUID(badge_id)))
    await session.flush()
    await let_time_work(service)
    async with service.client() as anyone:
        new = (await anyone.get(f"/credentials/{badge_id}")).content
        answer = (await anyone.post("/v1/verifications", content=old)).json()
        page = await anyone.post("/verify", files={"file": ("badge", old)})
        newest = (await anyone.post("/v1/verifications", content=new)).json()
    assert (answer["status"], answer["verified"], answer["newer"]["status"]) == ("replaced", False, "valid")
    assert "corrected version" in page.text
    assert "What follows is what that one says." in page.text
    assert "What follows" not in answer["meaning"]
    assert (newest["status"], newest["newer"]) == ("valid", None)


def test_what_a_status_means_points_at_no_place_on_a_page() -> None:
    """Programs are given the same words, in `meaning`."""
    known = [pages._RECORD_ENDED, pages._GIVEN_BACK, pages._PUT_TOGETHER, pages._NOT_OURS, *pages._VERDICTS.values()]
    meanings = [meaning for _, meaning in known] + [pages._KNOWN_BY_KEY]
    assert [meaning for meaning in meanings if re.search(r"\b(below|above|listed)\b", meaning)] == []


@pytest.mark.parametrize("kid", ["https://badges.example.ac.uk?x#k", "https://BADGES.example.ac.uk:443/x#k"])
async def test_nobody_is_asked_over_the_network_for_what_we_say(service, session, clock, monkeypatch, kid) -> None:
    """However our own address is written."""
    asked = []

    async def get(_, url, *__, **___):
        asked.append(url)
        return json.dumps({"keys": [jwk("ES256", kid="k")]}).encode()

    monkeypatch.setattr(Outside, "get", get)
    did = "did:web:badges.example.ac.uk"
    async with service.client() as anyone:
        body = as_jwt(badge(issuer=did), kid=kid, claims={"iss": did})
        answer = (await anyone.post("/v1/verifications", content=body)).json()
    assert (answer["verified"], asked) == (False, [])


async def test_an_old_token_of_ours_leads_to_the_new_one_as_the_old_document_does(
    *, service, session, clock, learner
) -> None:
    badge_id, _ = await issued(service, session, learner)
    async with service.client() as anyone:
        old = (await anyone.get(f"/credentials/{badge_id}.jwt")).content
        clock.advance(days=1)
        await issuing.correct_badge(session, await session.get(Badge, UUID(badge_id)))
        await session.flush()
        await let_time_work(service)
        new = (await anyone.get(f"/credentials/{badge_id}.jwt")).content
        answer = (await anyone.post("/v1/verifications", content=old)).json()
        page = await anyone.post("/verify", files={"file": ("badge", old)})
        newest = (await anyone.post("/v1/verifications", content=new)).json()
    assert (answer["status"], answer["newer"]["status"]) == ("replaced", "valid")
    assert "must not be relied on" not in page.text
    assert newest["status"] == "valid"
    assert {check["outcome"] for check in newest["checks"]} == {"passed"}


async def test_what_was_revoked_is_answered_before_the_list_is_signed_anew(service, session, clock, learner) -> None:
    badge_id, document = await issued(service, session, learner)
    await issuing.revoke_badge(session, await session.get(Badge, UUID(badge_id)), "misconduct", clock())
    await session.flush()
    async with service.client() as anyone:
        token = (await anyone.get(f"/credentials/{badge_id}.jwt")).content
        page = await anyone.get(f"/verify/{badge_id}")
        for odd in (f"{badge_id}.", f"{badge_id})", f" {badge_id}", str(badge_id).replace("-", "")):
            assert (await anyone.get(f"/verify/{odd}")).content == page.content
        answers = [(await anyone.post("/v1/verifications", content=body)).json() for body in (document, token)]
    assert "<strong>Revoked</strong>" in page.text
    assert [(answer["status"], answer["verified"]) for answer in answers] == [("revoked", False)] * 2
    (revocation,) = [check for check in answers[0]["checks"] if check["name"] == "revocation"]
    assert (revocation["outcome"], revocation["code"]) == ("failed", "revoked")


async def test_what_a_record_holds_is_answered_as_it_stands_in_our_records(service, session, clock, learner) -> None:
    """At any depth, whoever made the record, and of the newer version of what was handed in."""
    badge_id, document = await issued(service, session, learner)
    around = sign_as_anybody(transcript([json.loads(document)]))
    deeper = sign_as_anybody(transcript([around], id=f"{ROOT}/transcripts/2"))
    await issuing.revoke_badge(session, await session.get(Badge, UUID(badge_id)), "misconduct", clock())
    await session.flush()
    async with service.client() as anyone:
        one, two = [(await anyone.post("/v1/verifications", json=body)).json() for body in (around, deeper)]
    assert [one["parts"][0]["status"], two["parts"][0]["parts"][0]["status"]] == ["revoked"] * 2
    for answer in (one, two):
        (parts,) = [check for check in answer["checks"] if check["name"] == "parts"]
        assert (answer["status"], answer["verified"], parts["code"]) == ("partly_valid", False, "part_not_valid")


async def test_a_newer_version_of_ours_that_was_revoked_is_answered_at_once(service, session, clock, learner) -> None:
    badge_id, old = await issued(service, session, learner)
    clock.advance(days=1)
    await issuing.correct_badge(session, await session.get(Badge, UUID(badge_id)))
    await session.flush()
    await let_time_work(service)
    async with service.client() as anyone:
        assert (await anyone.post("/v1/verifications", content=old)).json()["status"] == "replaced"
        await issuing.revoke_badge(session, await session.get(Badge, UUID(badge_id)), "misconduct", clock())
        await session.flush()
        answer = (await anyone.post("/v1/verifications", content=old)).json()
    assert (answer["status"], answer["newer"]["status"]) == ("revoked", "revoked")


def test_an_issuer_whose_keys_nobody_would_find_does_not_start() -> None:
    """did:web of an address with a path is looked for in that path, where nothing is served."""
    known: dict[str, Any] = settings("postgresql://nowhere").model_dump()
    for url in ("https://example.org", "https://example.org/", "http://localhost:8000"):
        known["public_url"] = url
        Settings(**known)
    known["public_url"] = "https://example.org/badges"
    with pytest.raises(ValidationError, match="must have no path"):
        Settings(**known)


async def test_a_forgery_in_our_name_is_not_ours(service, session, clock, learner) -> None:
    _, document = await issued(service, session, learner)
    forged = json.loads(document) | {"name": "Doctor of Everything"}
    async with service.client() as anyone:
        page = await anyone.post("/verify", files={"file": ("badge", json.dumps(forged))})
        added = await anyone.post("/verify", files={"file": ("badge", json.dumps(json.loads(document) | {"extra": 1}))})
    assert "could not be confirmed" in page.text
    assert "one of our own" not in page.text
    before, claimed, _ = page.text.partition("It claims to be <q")
    assert claimed
    assert "Failed: Signature. " in before
    assert "Doctor of Everything" not in before, "what is made up comes after the verdict, and as no heading"
    assert "The signature would not cover &#39;extra&#39;." in added.text


async def test_whose_issuer_cannot_be_asked(service, session, clock) -> None:
    """No name of this example resolves: an answer in words, not an error."""
    async with service.client() as anyone:
        for body in (json.dumps(sign(badge())), as_jwt(badge())):
            answer = (await anyone.post("/v1/verifications", content=body)).json()
            assert (answer["verified"], answer["status"]) == (False, "unconfirmed")
            codes = {check["name"]: check["code"] for check in answer["checks"] if check["outcome"] == "failed"}
            assert codes == {"issuer": "unreachable"}


BAD = [
    (b"", 400, "nothing_given"),
    (b"hello", 422, "not_credential"),
    (b"[1]", 422, "not_credential"),
    (b"a.b.c", 422, "not_credential"),
    (b"aaaa.bbbb.cccc", 422, "not_token"),
    (b"{", 400, "not_json"),
    (b'{"a": 1, "a": 2}', 400, "not_json"),
    (b'{"a": NaN}', 400, "not_json"),
    (b'{"a": 1e999}', 400, "not_json"),
    (b'{"a": ' + b"9" * 5000 + b"}", 400, "not_json"),
    (b'{"a": "\xff"}', 400, "not_json"),
    (b'{"a": "\\u0007"}', 422, "control_characters"),
    (b'{"a": "\\ud800"}', 422, "control_characters"),
    (b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, 422, "too_deep"),
    (b'{"a": [' + b"1," * 30_000 + b"1]}", 422, "too_many_values"),
    (b'{"a": "' + b"x" * 1_000_000 + b'"}', 413, "credential_too_large"),
    (one_pixel(), 422, "no_credential_in_image"),
    (one_pixel()[:40], 422, "damaged_image"),
    (b"<svg", 422, "damaged_image"),
    (b"\n<!DOCTYPE html><html><head></head></html>", 422, "not_credential"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "no_credential_in_image"),
    (b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', 422, "damaged_image"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD, ids=[code for _, _, code in BAD])
async def test_what_is_no_credential_is_refused_in_words(*, service, session, clock, body, status, code) -> None:
    async with service.client() as anyone:
        answer = await anyone.post("/v1/verifications", content=body, headers={"Content-Type": "application/json"})
        page = await anyone.post("/verify", files={"file": ("file", body)}, headers={"Accept": "text/html"})
        program = await anyone.post("/verify", files={"file": ("file", body)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (program.status_code, program.json()["code"]) == (status, code)
    assert page.status_code == status
    assert "Could not be checked" in page.text
    assert "<form" in page.text  # to try again


async def test_a_saved_web_page_is_called_one_and_leads_to_the_pdf_and_its_number(service, session, clock) -> None:
    async with service.client() as anyone:
        page = await anyone.post(
            "/verify",
            files={"file": ("c.html", b"<!doctype html>\n<html lang='en'></html>")},
            headers={"Accept": "text/html"},
        )
    assert "This is a web page" in page.text
    assert "Hand in the PDF" in page.text


async def test_fifty_megabytes_are_not_read_to_the_end(service, session, clock) -> None:
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(50):
            sent += 1
            yield b"x" * 1_000_000

    async with service.client() as anyone:
        answer = await anyone.post("/v1/verifications", content=body())
    assert (answer.status_code, answer.json()["code"]) == (413, "credential_too_large")
    assert sent < 10


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"{}", "application/json", 415),
        (b"text=x", "application/x-www-form-urlencoded", 415),
        (b"--x--", "multipart/form-data", 415),
        (b"nonsense", "multipart/form-data; boundary=x", 415),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_the_page_takes_what_its_form_sends(*, service, session, clock, content, kind, code) -> None:
    async with service.client() as anyone:
        program = await anyone.post("/verify", content=content, headers={"Content-Type": kind})
        answer = await anyone.post("/verify", content=content, headers={"Content-Type": kind, "Accept": "text/html"})
    assert (program.status_code, program.json()["code"]) == (code, "not_form")
    assert answer.status_code == code
    assert "<form" in answer.text


async def test_what_a_stranger_writes_stays_text(service, session, clock) -> None:
    evil = "<script>alert(1)</script>"
    document = badge(name=evil, issuer={"id": "did:web:nowhere.invalid", "type": "Profile", "name": evil})
    document["credentialSubject"]["achievement"] |= {"name": evil, "description": evil, "criteria": {"narrative": evil}}
    async with service.client() as anyone:
        page = await anyone.post("/verify", files={"file": ("file", json.dumps(document))})
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "document",
    [
        {"@context": [VC_2], "type": "VerifiableCredential", "issuer": [], "credentialSubject": []},
        {"@context": [VC_2, OB], "type": ["VerifiableCredential", "OpenBadgeCredential"], "name": {"@value": 5}},
        {"@context": VC_2, "type": ["VerifiableCredential"], "issuer": "x", "credentialSubject": {"achievement": [[]]}},
        {"type": "ClrCredential", "credentialSubject": {"verifiableCredential": [1, [], {}]}, "validFrom": "soon"},
    ],
)
async def test_odd_shapes_still_make_a_page(*, service, session, clock, document) -> None:
    async with service.client() as anyone:
        page = await anyone.post("/verify", files={"file": ("file", json.dumps(document))})
    assert page.status_code == 200
    assert "Not confirmed" in page.text


async def test_the_public_page_is_kept_until_something_changes(service, session, clock, learner, monkeypatch) -> None:
    badge_id, _ = await issued(service, session, learner)
    async with service.client() as anyone:
        first = await anyone.get(f"/verify/{badge_id}")
        again = await anyone.get(f"/verify/{badge_id}", headers={"If-None-Match": first.headers["etag"]})
        with monkeypatch.context() as patch:
            patch.setattr(Verifier, "verify_own", None)
            meanwhile = await anyone.get(f"/verify/{badge_id}")
        await consume(session, revoked(learner, "DS01"))
        afterwards = await anyone.get(f"/verify/{badge_id}")
    assert (first.status_code, again.status_code) == (200, 304)
    assert first.headers["cache-control"] == "public, max-age=0"
    assert meanwhile.text == first.text
    assert "has since taken it back" in afterwards.text


async def test_the_form_is_there_without_a_script(service, session, clock) -> None:
    async with service.client() as anyone:
        page = await anyone.get("/verify")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert 'enctype="multipart/form-data"' in page.text


@pytest.mark.parametrize(
    "path",
    ["/credentials/x", "/credentials/x.png", "/achievements/x", "/status/revocation/x", "/verify/x", "/documents/x"],
)
async def test_at_an_address_that_cannot_be_there_is_nothing(service, session, clock, path) -> None:
    """In these words the gateway shows a browser its page."""
    async with service.client() as anyone:
        answer = await anyone.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_number_or_an_address_of_ours_leads_to_its_page(service, session, clock, learner) -> None:
    badge_id, _ = await issued(service, session, learner)
    ours = "https://badges.example.ac.uk"
    led = {
        "mc-2026-7kq2m4x9pat": "/documents/MC-2026-7KQ2M4X9PAT",
        "MC 2O26 7KQ2 M4X9 PAT": "/documents/MC-2026-7KQ2M4X9PAT",
        "Document MC\u20132026\u20137KQ2M4X9PAT, version 1, as at 3 May 2026": "/documents/MC-2026-7KQ2M4X9PAT",
        f"Check it at {ours}/documents/MC-2026-7KQ2M4X9PAT.": "/documents/MC-2026-7KQ2M4X9PAT",
        f"badges.example.ac.uk/verify/{badge_id}": f"/verify/{badge_id}",
        f"http://badges.example.ac.uk/verify/{badge_id}": f"/verify/{badge_id}",
        f" {badge_id}": f"/verify/{badge_id}",
        f"urn:uuid:{badge_id}".upper(): f"/verify/{badge_id}",
        f"({str(badge_id).replace('-', chr(0x2013)).replace('0', 'O').replace('1', 'l')}).": f"/verify/{badge_id}",
        f"{ours}/documents/MC-2026-7KQ2M4X9PAT?version=1": "/documents/MC-2026-7KQ2M4X9PAT",
        f" {ours}/verify/{badge_id}\r\n": f"/verify/{badge_id}",
        f"HTTPS://Badges.example.ac.uk:443/credentials/{badge_id}": f"/verify/{badge_id}",
        f"{ours}/credentials/{badge_id}.png": f"/verify/{badge_id}",
    }
    async with service.client() as anyone:
        for text, address in led.items():
            answer = await anyone.post(
                "/verify", files={"file": ("", b"")}, data={"text": text}, headers={"Accept": "text/html"}
            )
            assert (answer.status_code, answer.headers.get("location")) == (303, address), text
        page = await anyone.get(f"/verify/{badge_id}")
        for text in (
            "MC-2026",
            "https://elsewhere.example/documents/MC-2026-7KQ2M4X9PAT",
            f"https://elsewhere.example/verify/{badge_id}",
            f"{ours}/verify/none",
            f"{ours}/documents/MC-1",
            "https://[",
        ):
            answer = await anyone.post(
                "/verify", files={"file": ("", b"")}, data={"text": text}, headers={"Accept": "text/html"}
            )
            assert (answer.status_code, "Could not be checked" in answer.text) == (422, True), text
    assert "<strong>Valid</strong>" in page.text
