"""Telling our documents from others, by number, by hash and by file."""

import hashlib
from urllib.parse import quote

import pytest

from shared.ids import new_id

from .papers import conferred, documents_of, hold_credit


async def test_the_public_page_names_nobody_and_shows_no_mark(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await conferred(service, learner)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        for documents in (await documents_of(client)).values():
            page = await anyone.get(f"/documents/{documents[0]['number']}")
            assert page.status_code == 200
            assert "Valid" in page.text
            for secret in ("Ada", "Lovelace", "Merit", ">60<", str(learner)):
                assert secret not in page.text
            assert documents[0]["sha256"] not in page.text
            tag = page.headers["etag"]
            assert (await anyone.get(page.url.path, headers={"If-None-Match": tag})).status_code == 304
        assert (await anyone.get("/documents/MC-2026-00000000000")).status_code == 404


async def test_a_file_is_known_as_ours_by_its_bytes_alone(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        (transcript,) = (await documents_of(client))["transcript"]
        file = (await client.get(transcript["pdf_url"])).content
        ours = (await anyone.post("/v1/document-checks", content=file)).json()
        digest = hashlib.sha256(file).hexdigest()
        by_hash = (await anyone.get(f"/v1/document-checks/{digest}")).json()
        by_content = (await anyone.get(f"/v1/document-checks/{transcript['sha256']}")).json()
        by_number = (await anyone.get(f"/v1/document-checks/{transcript['number']}")).json()
        forged = (await anyone.post("/v1/document-checks", content=file[:-1] + b" ")).json()
        unknown = (await anyone.get(f"/v1/document-checks/{'0' * 64}")).json()
    assert ours == by_hash == by_content == by_number
    assert (ours["genuine"], ours["status"], ours["number"]) == (True, "valid", transcript["number"])
    assert forged == unknown
    assert (forged["genuine"], forged["status"], forged["number"]) == (False, "unknown", None)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "no_pdf"), (b"PK\x03\x04", "no_pdf"), (b"%PDF-" + bytes(5 * 1024 * 1024), "document_too_large")],
)
async def test_what_is_no_document_is_refused(service, session, clock, body: bytes, code: str) -> None:
    async with service.client() as anyone:
        answer = await anyone.post("/v1/document-checks", content=body)
    assert answer.json()["code"] == code


@pytest.mark.parametrize("number", ["MC-2026-1", "nonsense", "MC-2026-00000000000x"])
async def test_a_number_that_can_be_none_is_refused(service, session, clock, number: str) -> None:
    async with service.client() as anyone:
        page = await anyone.get(f"/documents/{quote(number)}", headers={"Accept": "text/html,*/*;q=0.8"})
        answer = await anyone.get(f"/documents/{quote(number)}")
        assert (await anyone.get(f"/v1/document-checks/{quote(number)}")).status_code == 422
    assert (page.status_code, page.headers["content-type"], "No such document" in page.text) == (
        404,
        "text/html; charset=utf-8",
        True,
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_number_is_found_however_it_is_typed(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        (certificate,) = (await documents_of(client))["certificate"]
        typed = certificate["number"].lower().replace("0", "o").replace("1", "l").replace("-", " - ")
        page = await anyone.get(f"/documents/{quote(typed)}")
        for spelled in (typed, certificate["number"].replace("-", ""), f"Document {certificate['number']}, version 1"):
            checked = (await anyone.get(f"/v1/document-checks/{quote(spelled)}")).json()
            assert (checked["genuine"], checked["number"]) == (True, certificate["number"]), spelled
        by_hash = await anyone.get(f"/v1/document-checks/{certificate['sha256'].upper()}")
    assert (page.status_code, certificate["number"] in page.text) == (200, True)
    assert by_hash.json()["genuine"]


async def test_a_person_hands_in_a_paper_at_the_form(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    async with service.client("learner", id=learner) as client, service.client() as anyone:
        (transcript,) = (await documents_of(client))["transcript"]
        file = (await client.get(transcript["pdf_url"])).content
        await hold_credit(session, learner, DS=2)
        led = await anyone.post("/verify", files={"file": ("transcript.pdf", file, "application/pdf")})
        page = await anyone.get(led.headers["location"])
        forged = await anyone.post("/verify", files={"file": ("transcript.pdf", file[:-1], "application/pdf")})
        beyond = await anyone.get(f"/documents/{transcript['number']}", params={"version": 9})
        found = await anyone.get(
            f"/documents/{transcript['number']}", params={"version": 9}, headers={"Accept": "text/html"}
        )
    assert led.status_code == 303
    assert "The document at hand is version 1" in page.text
    assert forged.status_code == 422
    assert "not one of our documents" in forged.text
    assert 'href="#text"' in forged.text, "to the field that takes its number"
    assert (beyond.status_code, beyond.json()["code"]) == (404, "not_found")
    assert beyond.json()["detail"] == "there is no version 9 of this document; the newest is version 2"
    assert found.status_code == 404
    assert "no version 9 of it: the newest is version 2" in found.text
    assert f'href="/documents/{transcript["number"]}"' in found.text
    assert "issued no document with this number" not in found.text
