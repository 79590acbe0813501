"""Documents through the door: whose they are, what follows a new fact or name, and telling ours from others."""

import hashlib
import io
import json

import pytest
from pypdf import PdfReader
from sqlalchemy import func, select

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import documents as commands
from credentials.commands.keys import report_compromise
from credentials.commands.people import erase_person
from credentials.domain.documents import hash_of
from credentials.queries.records import record_of
from credentials.tables.documents import Edition, Printing
from shared.events.credentials import TranscriptIssued
from shared.ids import new_id
from shared.testing.services import published

from .announcements import BEFORE, DS, consume, course, credit, let_time_work, registered, revoked
from .papers import conferred, documents_of, hold_credit, rename


async def test_each_credit_and_award_has_its_document_and_the_whole_a_transcript(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    award = await conferred(service, learner)
    async with service.client("learner", id=learner) as client:
        found = await documents_of(client)
    assert {kind: len(documents) for kind, documents in found.items()} == {
        "transcript": 1,
        "certificate": 4,
        "parchment": 1,
    }
    assert found["parchment"][0]["number"] == award["certificate_number"]
    assert found["parchment"][0]["title"] == "PGCert in Data Science"
    assert [(one["title"], one["version"]) for one in found["certificate"]] == [
        (f"Course DS0{n}", 1) for n in (1, 2, 3, 4)
    ]
    assert (found["transcript"][0]["version"], found["transcript"][0]["title"]) == (5, "60 credits, 4 courses, 1 award")
    numbers = [one["number"] for documents in found.values() for one in documents]
    assert len(set(numbers)) == 6


async def test_all_forms_say_the_same(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client:
        (certificate,) = (await documents_of(client))["certificate"]
        edition = (await client.get(certificate["json_url"])).json()
        page = await client.get(certificate["html_url"])
        file = await client.get(certificate["pdf_url"])
        again = await client.get(certificate["pdf_url"], headers={"If-None-Match": file.headers["ETag"]})
        record = await client.get(certificate["pdf_url"].replace(".pdf", ".clr"))
    packed = json.dumps(edition["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(packed.encode()).hexdigest() == edition["sha256"] == certificate["sha256"]
    assert edition["document"]["name"] == "Ada Lovelace"
    assert edition["document"]["institution"] == "Northbridge University"
    assert edition["sha256"] in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["cache-control"] == "private, no-cache"
    assert certificate["number"] in file.headers["content-disposition"]
    assert file.content.startswith(b"%PDF-")
    assert again.status_code == 304
    assert record.status_code == 404


async def test_documents_are_their_holders_and_the_registrars(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with (
        service.client("learner", id=learner) as own,
        service.client("learner") as other,
        service.client("registrar") as office,
    ):
        (certificate,) = (await documents_of(own))["certificate"]
        seen = (await office.get("/v1/documents", params={"learner_id": str(learner)})).json()["items"]
        answers = [
            (await client.get(certificate[form])).status_code
            for client in (own, other, office)
            for form in ("json_url", "html_url", "pdf_url")
        ]
        assert (await other.get("/v1/documents", params={"learner_id": str(learner)})).json()["items"] == []
        assert (await own.get("/v1/documents/MC-2026-00000000000")).json()["code"] == "not_found"
    assert len(seen) == 2
    assert answers == [200, 200, 200, 404, 404, 404, 200, 200, 200]


async def test_a_changed_name_makes_new_editions_at_the_same_address(service, session, clock) -> None:
    """P2: the old name is handed out no more, to nobody."""
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        before = {kind: one[0] for kind, one in (await documents_of(client)).items()}
        old_file = (await client.get(before["certificate"]["pdf_url"])).content
        await rename(session, learner, 2, family_name="King", display_name="Ada King")
        after = {kind: one[0] for kind, one in (await documents_of(client)).items()}
        for kind, document in after.items():
            assert document["number"] == before[kind]["number"]
            assert document["verification_url"] == before[kind]["verification_url"]
            assert (before[kind]["version"], document["version"]) == (1, 2)
            assert document["sha256"] != before[kind]["sha256"]
            for reader in (client, office):
                refused = await reader.get(document["html_url"], params={"version": 1})
                assert (refused.status_code, refused.json()["code"]) == (410, "earlier_name")
                assert "Lovelace" not in (await reader.get(document["html_url"])).text
        checked = (await client.post("/v1/document-checks", content=old_file)).json()
        page = (await client.get(f"/documents/{after['certificate']['number']}")).text
    assert (checked["genuine"], checked["version"], checked["newest_version"]) == (True, 1, 2)
    assert "Lovelace" not in page
    assert "King" not in page


async def test_another_address_or_the_same_name_changes_nothing(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    before = len(await published(session))
    await rename(session, learner, 2, contact_email="elsewhere@example.org")
    assert len(await published(session)) == before


async def test_an_earlier_edition_is_there_and_says_that_it_is_earlier(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    async with service.client("learner", id=learner) as client:
        (transcript,) = (await documents_of(client))["transcript"]
        first = await client.get(transcript["json_url"], params={"version": 1})
        page = await client.get(transcript["html_url"], params={"version": 1})
        newest = await client.get(transcript["html_url"])
        missing = await client.get(transcript["json_url"], params={"version": 9})
    assert (first.json()["version"], first.json()["newest_version"]) == (1, 2)
    assert first.json()["document"]["total_credits"] == 15
    assert "A later version has taken the place of this one" in page.text
    assert "A later version" not in newest.text
    assert missing.status_code == 404


async def test_the_certificate_of_revoked_credit_is_refused(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=2)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        certificate = (await documents_of(client))["certificate"][1]
        file = (await client.get(certificate["pdf_url"])).content
        await consume(session, revoked(learner, "DS02"))
        answers = [await client.get(certificate[form]) for form in ("json_url", "html_url", "pdf_url")]
        checked = (await anyone.post("/v1/document-checks", content=file)).json()
        page = await anyone.get(f"/documents/{certificate['number']}")
        (transcript,) = (await documents_of(client))["transcript"]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(410, "document_revoked")}
    assert (checked["genuine"], checked["status"]) == (True, "revoked")
    assert "must not be relied on" in page.text
    assert transcript["title"] == "15 credits, 1 course"


async def test_a_superseded_award_keeps_a_parchment_that_says_so(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    lower = await conferred(service, learner)
    await hold_credit(session, learner, DS=4, MG=4)
    await conferred(service, learner, "PGDip in Data Science and Management", "pgdip")
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        page = await client.get(f"/v1/documents/{lower['certificate_number']}.html")
        file = await client.get(f"/v1/documents/{lower['certificate_number']}.pdf")
        found = {one["number"]: one for one in (await documents_of(client))["parchment"]}
        public = await anyone.get(f"/documents/{lower['certificate_number']}")
        checked = (await anyone.post("/v1/document-checks", content=file.content)).json()
    assert "by the award of PGDip in Data Science and Management" in page.text
    assert (found[lower["certificate_number"]]["status"], found[lower["certificate_number"]]["version"]) == (
        "superseded",
        2,
    )
    assert (checked["status"], checked["version"], checked["newest_version"]) == ("superseded", 2, 2)
    assert "higher award" in public.text


async def test_a_document_waits_until_it_is_known_whose_it_is(service, session, clock) -> None:
    learner = new_id()
    await consume(session, registered(learner), course("DS01", DS), credit(learner, "DS01", DS))
    async with service.client("learner", id=learner) as client:
        assert (await client.get("/v1/documents")).json()["items"] == []
        assert (await client.get("/v1/transcript")).status_code == 404
        await let_time_work(service)
        assert len((await client.get("/v1/documents")).json()["items"]) == 2
    assert [event.version for event in await published(session) if isinstance(event, TranscriptIssued)] == [1]


async def test_after_erasure_a_paper_can_still_be_checked_and_names_nobody(service, session, clock) -> None:
    """P1: the award stands; who holds it is disclosed no longer."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await conferred(service, learner)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        (parchment,) = (await documents_of(client))["parchment"]
        (transcript,) = (await documents_of(client))["transcript"]
        assert (await client.get(transcript["clr_url"])).status_code == 200
        file = (await client.get(parchment["pdf_url"])).content
        await erase_person(session, learner, BEFORE)
        await session.flush()
        session.expire_all()
        refused = await client.get(parchment["pdf_url"])
        checked = (await anyone.post("/v1/document-checks", content=file)).json()
        page = await anyone.get(f"/documents/{parchment['number']}")
        listed = (await client.get("/v1/documents")).json()["items"]
    assert (refused.status_code, refused.json()["code"]) == (410, "document_erased")
    assert (checked["genuine"], checked["status"]) == (True, "valid")
    assert "PGCert in Data Science" in page.text
    assert len(listed) == 6
    kept = await session.scalars(select(Edition))
    assert {(edition.content, edition.clr) for edition in kept} == {(None, None)}


def guesses(content: dict) -> set[str]:
    """Hashes of what somebody might guess who knows all but the nonce."""
    return {hash_of(one) for one in (without(content, "nonce"), said_in(content))}


def said_in(content: dict) -> dict:
    """As it is compared for news: apart from version, instant and where it was taught."""
    said = without(content, "nonce", "version", "as_at", "institution")
    if "awards" in said:
        said["credits"] = [without(one, "institution") for one in said["credits"]]
    return said


def without(content: dict, *names: str) -> dict:
    return {name: value for name, value in content.items() if name not in names}


async def test_no_hash_of_a_document_can_be_guessed(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await conferred(service, learner)
    editions = (await session.scalars(select(Edition))).all()
    guessed = set().union(*(guesses(edition.content) for edition in editions))
    nonces = {edition.content["nonce"] for edition in editions}
    assert len(nonces) == len(editions)
    assert all(len(bytes.fromhex(nonce)) == 16 for nonce in nonces)
    assert not guessed & {kept for edition in editions for kept in (edition.sha256, edition.content_sha256)}
    await erase_person(session, learner, BEFORE)
    await session.flush()
    session.expire_all()
    kept = await session.scalars(select(Edition))
    assert {(edition.content, edition.content_sha256) for edition in kept} == {(None, "")}


async def test_the_nonce_is_in_the_file_and_makes_no_news(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    now = clock()
    record = await record_of(session, learner, now)
    assert not await commands.are_stale(session, record)
    await commands.issue(session, record, now)
    await session.flush()
    async with service.client("learner", id=learner) as client:
        (certificate,) = (await documents_of(client))["certificate"]
        nonce = (await client.get(certificate["json_url"])).json()["document"]["nonce"]
        file = (await client.get(certificate["pdf_url"])).content
        page = (await client.get(certificate["html_url"])).text
    assert certificate["version"] == 1
    assert nonce in PdfReader(io.BytesIO(file)).metadata["/Keywords"]
    assert nonce not in page


async def test_an_edition_of_before_there_were_nonces_stands_until_there_is_news(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    for edition in (await session.scalars(select(Edition))).all():
        edition.content, edition.content_sha256 = without(edition.content, "nonce"), hash_of(said_in(edition.content))
        edition.sha256 = hash_of(edition.content)
    await session.flush()
    assert not await commands.are_stale(session, await record_of(session, learner, clock()))


async def test_a_name_no_font_has_is_refused_on_paper_and_shown_on_the_screen(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await rename(session, learner, 2, given_name="ᚠᚢᚦᚨᚱᚲ", family_name="ᛟ", display_name="Futhark")
    async with service.client("learner", id=learner) as client:
        (certificate,) = (await documents_of(client))["certificate"]
        refused = await client.get(certificate["pdf_url"])
        page = await client.get(certificate["html_url"])
        listed = (await documents_of(client))["certificate"]
        printed = await session.scalar(select(func.count()).select_from(Printing))
        await rename(session, learner, 3, given_name="Ruth", family_name="Futhark", display_name="Ruth")
        (certificate,) = (await documents_of(client))["certificate"]
        again = await client.get(certificate["pdf_url"])
    assert (refused.status_code, refused.json()["code"]) == (422, "not_printable")
    assert refused.json()["characters"] == listed[0]["unprintable"] == sorted("ᚠᚢᚦᚨᚱᚲᛟ")
    assert "ᚠᚢᚦᚨᚱᚲ ᛟ" in page.text
    assert printed == 0
    assert (again.status_code, certificate["unprintable"]) == (200, [])


async def test_a_transcript_is_a_signed_record_kept_until_something_inside_changes(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client:
        (transcript,) = (await documents_of(client))["transcript"]
        early = await client.get(transcript["clr_url"])
        await let_time_work(service)
        first = await client.get(transcript["clr_url"])
        session.expire_all()
        second = await client.get(transcript["clr_url"])
        await hold_credit(session, learner, DS=2)
        session.expire_all()
        partial = (await client.get(transcript["clr_url"])).json()
        await let_time_work(service)
        session.expire_all()
        whole = (await client.get(transcript["clr_url"])).json()
    assert (early.status_code, early.json()["code"]) == (409, "nothing_signed")
    assert first.content == second.content
    assert first.json()["id"] == transcript["verification_url"]
    assert "partial" not in first.json()
    assert partial["partial"] is True
    assert "partial" not in whole
    assert [len(one["credentialSubject"]["verifiableCredential"]) for one in (first.json(), partial, whole)] == [
        2,
        2,
        3,
    ]
    for one in (first.json(), partial, whole):
        assert one["credentialSubject"]["identifier"][0]["identityHash"] == "Ada Lovelace"


async def test_a_record_whose_key_is_struck_out_is_signed_anew(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client:
        (transcript,) = (await documents_of(client))["transcript"]
        first = (await client.get(transcript["clr_url"])).json()
        method = first["proof"][0]["verificationMethod"]
        await report_compromise(
            session,
            service.service.resources[CredentialIssuer],
            method.partition("#")[2],
            by="operator",
            reason="leaked",
        )
        await session.flush()
        session.expire_all()
        second = (await client.get(transcript["clr_url"])).json()
    assert second["proof"][0]["verificationMethod"] != method


@pytest.mark.parametrize("ending", ["", ".html", ".pdf"])
@pytest.mark.parametrize("version", [0, 2**31, 10**30])
async def test_a_version_that_no_number_of_ours_can_be_is_refused(service, session, clock, ending, version) -> None:
    async with service.client("learner", id=new_id()) as client:
        refused = await client.get(f"/v1/documents/MC-2026-7KQ2M4X9PAT{ending}", params={"version": version})
        page = await client.get("/documents/MC-2026-7KQ2M4X9PAT", params={"version": version})
    assert [(one.status_code, one.json()["code"]) for one in (refused, page)] == [(422, "invalid_request")] * 2
