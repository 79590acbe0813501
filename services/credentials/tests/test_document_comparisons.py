"""A paper with our number on it is ours only with our name and class on it: anybody may compare, nobody may guess."""

import itertools
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from credentials.commands.documents import CLIENT
from credentials.commands.people import erase_person
from credentials.domain import documents, view_models
from credentials.domain.documents import DocumentKind, hash_of
from credentials.domain.policies import in_force
from credentials.tables.documents import Document, Edition
from shared.ids import new_id

from .announcements import consume, let_time_work, revoked
from .papers import conferred, documents_of, hold_credit, rename


@pytest.fixture
async def papers(service, session, clock) -> dict[str, Any]:
    """Kind -> number, of a learner with an award, and under "learner" whose they are."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await conferred(service, learner)
    async with service.client("learner", id=learner) as client:
        found = {kind: documents[0]["number"] for kind, documents in (await documents_of(client)).items()}
    return found | {"learner": learner}


async def compare(service, number: str, name: str, class_: str | None = None, *, client: str = "192.0.2.1") -> dict:
    typed = {"name": name} | ({} if class_ is None else {"class": class_})
    async with service.client() as anyone:
        answer = await anyone.post(f"/documents/{number}", json=typed, headers={"X-Forwarded-For": client})
    return answer.json() | {"status_code": answer.status_code}


async def printed_class(session, number: str) -> str:
    edition = await session.scalar(
        Edition.__table__.select()
        .with_only_columns(Edition.content)
        .join(Document, Document.document_id == Edition.document_id)
        .where(Document.number == number)
    )
    return view_models.honours(DocumentKind.PARCHMENT, edition) or ""


async def test_another_name_or_class_on_the_paper_is_found_out(service, session, papers) -> None:
    number, honours = papers["parchment"], await printed_class(session, papers["parchment"])
    assert honours, "this award has a class"
    other = "Distinction" if honours != "Distinction" else "Merit"
    for name, class_, same in (
        ("Ada Lovelace", honours, True),
        ("  ada  LOVELACE ", honours.upper(), True),
        ("Ada Lovelace", f"with {honours}", True),
        ("Mallory Evil", honours, False),
        ("Ada Lovelace", other, False),
        ("Ada Lovelace", None, False),
        ("Ada", honours, False),
    ):
        answer = await compare(service, number, name, class_)
        assert (answer["same"], answer["version"]) == (same, 1), (name, class_)
    assert (await compare(service, papers["certificate"], "Ada Lovelace"))["same"]
    assert (await compare(service, papers["transcript"], "Ada Lovelace"))["same"]
    assert not (await compare(service, papers["certificate"], "Ada Lovelace", "Distinction"))["same"]


async def test_the_page_asks_and_tells_in_words(service, session, papers) -> None:
    number = papers["certificate"]
    html = {"Accept": "text/html"}
    async with service.client() as anyone:
        asked = await anyone.get(f"/documents/{number}", headers=html)
        same = await anyone.post(f"/documents/{number}", data={"name": "Ada Lovelace", "class": ""}, headers=html)
        other = await anyone.post(f"/documents/{number}", data={"name": "Mallory"}, headers=html)
        missing = await anyone.post("/documents/MC-2026-00000000000", data={"name": "Ada"}, headers=html)
    assert 'name="name"' in asked.text
    assert "a name or class can be changed on paper" in asked.text
    assert "Same: the newest version is made out to this name, and without a class." in same.text
    assert "Not the same" in other.text
    assert "Lovelace" not in asked.text + other.text
    assert 'value="Ada Lovelace"' in same.text, "what was typed stays"
    assert same.text.count("Lovelace") == 1
    assert other.headers["cache-control"] == "no-store"
    assert missing.status_code == 404


async def test_a_class_left_empty_is_pointed_out_and_what_was_typed_stays(service, session, papers) -> None:
    """In the same words whoever is named: nobody learns whether there is a class who does not know it."""
    number, honours = papers["parchment"], await printed_class(session, papers["parchment"])
    html, evil = {"Accept": "text/html"}, '"><script>'
    async with service.client() as anyone:
        for name in ("Ada Lovelace", "Mallory"):
            empty = await anyone.post(f"/documents/{number}", data={"name": name, "class": " "}, headers=html)
            assert "Not the same with the class left empty: where a class is printed, type it too" in empty.text
            assert f'value="{name}"' in empty.text
        wrong = await anyone.post(f"/documents/{number}", data={"name": evil, "class": honours}, headers=html)
        nameless = await anyone.post(f"/documents/{number}", data={"name": " ", "class": honours}, headers=html)
        code = (await anyone.post(f"/documents/{number}", json={"name": " "})).json()["code"]
    assert "left empty" not in wrong.text
    assert f'value="{honours}"' in wrong.text
    assert "<script" not in wrong.text
    assert (nameless.status_code, code) == (400, "bad_comparison")
    assert "send the name and the class as they are printed" in nameless.text.lower()


async def test_nobody_guesses(service, session, clock, papers) -> None:
    limits = in_force(clock()).documents
    number = papers["certificate"]
    for guess in range(limits.wrong_comparisons):
        assert (await compare(service, number, f"Guess {guess}"))["same"] is False
    refused = await compare(service, number, "Ada Lovelace")
    assert (refused["status_code"], refused["code"]) == (429, "too_many_comparisons")
    html = {"Accept": "text/html", "X-Forwarded-For": "192.0.2.1"}
    async with service.client() as anyone:
        page = await anyone.post(f"/documents/{number}", data={"name": "Ada"}, headers=html)
    assert (page.status_code, page.headers["retry-after"]) == (429, str(int(limits.pause.total_seconds())))
    assert "too often from your network, so the paper is not confirmed" in page.text
    assert "or upload its file" in page.text
    assert "<strong>Valid</strong>" in page.text, "the number is still looked up"
    assert f"try again in {limits.pause.total_seconds() / 60:.0f} minutes" in page.text
    assert 'value="Ada"' in page.text
    behind = await compare(service, number, "Ada Lovelace", client="198.51.100.7, 192.0.2.1")
    assert behind["code"] == "too_many_comparisons", "what a guesser says of its own address counts for nothing"
    assert (await compare(service, number, "Ada Lovelace", client="198.51.100.7"))["same"], (
        "a stranger closes it for nobody"
    )
    assert (await compare(service, papers["transcript"], "Ada Lovelace"))["same"], "another document is compared"
    clock.advance(seconds=limits.pause.total_seconds())
    assert (await compare(service, number, "Ada Lovelace"))["same"]


async def unknown_to(session, document: Document) -> str:
    """A client that was not wrong yet; of those many count as one."""
    await session.refresh(document)
    for number in itertools.count():
        client = f"203.0.{number // 250}.{number % 250}"
        if sha256(f"{document.document_id} {client}".encode()).hexdigest()[:CLIENT] not in document.wrong_by_client:
            return client
    raise AssertionError


async def test_nor_do_many_together_and_they_close_it_to_nobody(service, session, clock, papers) -> None:
    limits = in_force(clock()).documents
    number = papers["certificate"]
    for guess in range(limits.wrong_comparisons_of_all):
        client = f"198.51.100.{guess // limits.wrong_comparisons}"
        assert (await compare(service, number, f"Guess {guess}", client=client))["same"] is False
    document = (await session.scalars(select(Document).where(Document.number == number))).one()
    for guess in range(limits.wrong_comparisons_of_all):
        if guess % 50 == 0:
            honest = await compare(service, number, "Ada Lovelace", client=await unknown_to(session, document))
            assert honest["same"], "some are kept for who was never wrong"
        assert (await compare(service, number, f"More {guess}", client=await unknown_to(session, document)))[
            "same"
        ] is False
    shut = await compare(service, number, "Ada Lovelace", client=await unknown_to(session, document))
    assert shut["code"] == "too_many_comparisons"
    assert "too often from many networks" in shut["detail"]
    step = limits.pause / limits.wrong_comparisons_of_all
    for guess in range(3):  # from now on one in each step
        clock.advance(seconds=step.total_seconds())
        honest = await compare(service, number, "Ada Lovelace", client=await unknown_to(session, document))
        assert honest["same"], "an honest employer waits for seconds"
        assert (await compare(service, number, f"Other {guess}", client=await unknown_to(session, document)))[
            "same"
        ] is False
        refused = await compare(service, number, "Guess", client="203.0.113.9")
        assert refused["code"] == "too_many_comparisons"
    assert (await compare(service, number, "Guess", client="198.51.100.0"))["code"] == "too_many_comparisons"
    counted = await session.scalar(select(Document.wrong_by_client).where(Document.number == number))
    assert all(len(who) == 4 for who in counted if not who.startswith("=")), "nobody's address is kept"
    clock.advance(seconds=limits.pause.total_seconds())
    assert (await compare(service, number, "Ada Lovelace"))["same"]


async def test_a_client_waits_for_the_rest_of_the_hour_and_all_for_seconds(clock) -> None:
    limits = in_force(clock()).documents
    half, most, step = limits.pause / 2, limits.wrong_comparisons_of_all, limits.pause / limits.wrong_comparisons_of_all
    assert limits.wait(limits.wrong_comparisons - 1, most - 1, since=half - half) == half - half
    assert limits.wait(limits.wrong_comparisons, 0, since=half) == half
    assert limits.wait(1, most, since=step / 2) == step / 2
    assert limits.wait(1, most + 9, since=half) == half - half
    assert limits.wait(0, 2 * most - 1, since=half - half) == half - half
    assert limits.wait(0, 2 * most, since=step / 2) == step / 2


async def test_the_same_wrong_word_is_counted_once(service, session, clock, papers) -> None:
    limits = in_force(clock()).documents
    number = papers["certificate"]
    for again in range(3 * limits.wrong_comparisons):
        assert (await compare(service, number, " Wrong" + " " * (1 + again % 2) + "NAME"))["same"] is False
    assert (await compare(service, number, "Ada Lovelace"))["same"]


async def test_whatever_a_page_has_its_readers_ask_for_counts_for_nothing(service, session, clock, papers) -> None:
    """Pictures on somebody's page whose addresses are ours: their browsers ask, from their networks."""
    limits = in_force(clock()).documents
    await without_nonce(session, papers["learner"])
    number = papers["certificate"]
    async with service.client() as anyone:
        for guess in range(3 * limits.wrong_comparisons):
            address = f"/v1/document-checks/{guess:064x}"
            got = await anyone.get(address, params={"number": number}, headers={"X-Forwarded-For": "192.0.2.1"})
            assert got.json()["genuine"] is False
    assert (await compare(service, number, "Ada Lovelace"))["same"]


async def test_a_file_that_nobody_guesses_is_not_counted(service, session, clock, papers) -> None:
    limits = in_force(clock()).documents
    number, here = papers["certificate"], {"X-Forwarded-For": "192.0.2.1"}
    async with service.client() as anyone:
        for guess in range(3 * limits.wrong_comparisons):
            file = f"%PDF-1.7 {guess}".encode()
            got = await anyone.post("/v1/document-checks", content=file, params={"number": number}, headers=here)
            assert got.json()["genuine"] is False
    assert (await compare(service, number, "Ada Lovelace"))["same"]


async def without_nonce(session, learner: UUID) -> str:
    """The learner's certificates as they were made before there were nonces; the hash of one, which can be guessed."""
    editions = await session.scalars(
        select(Edition)
        .join(Document, Document.document_id == Edition.document_id)
        .where(Document.learner_id == learner, Document.kind == DocumentKind.CERTIFICATE)
        .order_by(Document.number)
    )
    for edition in editions:
        edition.content = {name: value for name, value in edition.content.items() if name != "nonce"}
        edition.sha256, edition.has_nonce = hash_of(edition.content), False
    await session.flush()
    return await session.scalar(select(Edition.sha256).where(~Edition.has_nonce).order_by(Edition.as_at).limit(1))


async def test_a_hash_that_can_be_guessed_confirms_nothing(service, session, clock, papers) -> None:
    limits = in_force(clock()).documents
    guessed = await without_nonce(session, papers["learner"])
    number = await session.scalar(
        select(Document.number)
        .join(Edition, Edition.document_id == Document.document_id)
        .where(Edition.sha256 == guessed)
    )
    async with service.client("learner", id=papers["learner"]) as client, service.client() as anyone:
        (paper,) = [one for one in (await documents_of(client))["certificate"] if one["number"] == number]
        file = (await client.get(paper["pdf_url"])).content

        async def of_hash(sha256: str) -> dict:
            return (await anyone.get(f"/v1/document-checks/{sha256}", params={"number": number})).json()

        async def of_file(file: bytes, number: str, client: str = "192.0.2.1") -> dict:
            here, under = {"X-Forwarded-For": client}, {"number": number}
            return (await anyone.post("/v1/document-checks", content=file, params=under, headers=here)).json()

        for sha256 in (guessed, documents.digest(file)):
            assert await of_hash(sha256) == await of_hash("0" * 64), "as any other hash"
        assert (await anyone.post("/v1/document-checks", content=file)).json()["genuine"] is False
        assert (await of_file(file, "MC-2026-00000000000"))["genuine"] is False
        found = await of_file(file, number)
        assert (found["genuine"], found["number"], found["status"]) == (True, number, "valid")
        uploaded = await anyone.post("/verify", files={"file": ("a.pdf", file, "application/pdf")})
        assert (uploaded.status_code, "Type its number as the text" in uploaded.text) == (422, True)

        await erase_person(session, papers["learner"], clock())
        await session.flush()
        session.expire_all()
        assert (await of_hash(guessed))["genuine"] is False, "nor when its holder was anonymised"
        assert (await of_file(file, number))["genuine"] is True
        for guess in range(limits.wrong_comparisons):
            assert (await of_file(f"%PDF-1.7 {guess}".encode(), number))["genuine"] is False
        assert (await of_file(file, number))["code"] == "too_many_comparisons"
        assert (await of_file(file, number, "198.51.100.7"))["genuine"] is True


async def test_marks_are_said_not_to_be_compared(service, session, papers) -> None:
    html, path = {"Accept": "text/html"}, f"/documents/{papers['transcript']}"
    async with service.client() as anyone:
        asked = await anyone.get(path, headers=html)
        same = await anyone.post(path, data={"name": "Ada Lovelace"}, headers=html)
    async with service.client("learner", id=papers["learner"]) as client:
        (found,) = (await documents_of(client))["transcript"]
        paper = await client.get(found["html_url"], headers=html)
    assert "Marks are not compared here" in asked.text
    assert "courses and marks were not compared" in same.text
    assert "Only the file proves the courses and marks" in paper.text
    assert "just this" not in same.text
    assert "genuine if" not in paper.text


async def test_an_earlier_name_is_that_of_the_version_it_was_printed_on_alone(service, session, clock, papers) -> None:
    """As its file is known for that version: that there was another is disclosed to nobody who does not hold the paper."""
    number = papers["certificate"]
    await rename(session, papers["learner"], 2, family_name="King", display_name="Ada King")
    assert not (await compare(service, number, "Ada Lovelace"))["same"]
    assert (await compare(service, number, "Ada King"))["same"]
    html = {"Accept": "text/html", "X-Forwarded-For": "198.51.100.7"}
    async with service.client() as anyone:
        for name, version, same in (
            ("Ada Lovelace", 1, True),
            ("Ada King", 1, False),
            ("Ada Lovelace", 2, False),
            ("Ada King", 2, True),
        ):
            compared = await anyone.post(f"/documents/{number}", data={"name": name, "version": version}, headers=html)
            typed = {"name": name, "version": version}
            answer = await anyone.post(f"/documents/{number}", json=typed, headers={"X-Forwarded-For": "203.0.113.1"})
            assert answer.json() == {"same": same, "version": version, "newest_version": 2}, (name, version)
            assert ("Not the same" not in compared.text) is same
            assert (f"Same: version {version}" in compared.text and "replaced" in compared.text) is (
                same and version == 1
            )
        asked = await anyone.get(f"/documents/{number}?version=1", headers=html)
        missing = await anyone.post(f"/documents/{number}", json={"name": "Ada King", "version": 3}, headers=html)
    assert 'name="version"' in asked.text
    assert 'maxlength="9" value="1"' in asked.text
    assert (missing.status_code, "version 3" in missing.text) == (404, True)


async def test_what_is_gone_is_not_compared(service, session, clock, papers) -> None:
    async with service.client("learner", id=papers["learner"]) as client:
        found = {one["title"]: one["number"] for one in (await documents_of(client))["certificate"]}
    await consume(session, revoked(papers["learner"], "DS01"))
    await let_time_work(service)
    taken_back = await compare(service, found["Course DS01"], "Ada Lovelace")
    await erase_person(session, papers["learner"], clock())
    await session.flush()
    session.expire_all()
    erased = await compare(service, found["Course DS02"], "Ada Lovelace")
    assert (taken_back["status_code"], taken_back["code"]) == (410, "document_revoked")
    assert (erased["status_code"], erased["code"]) == (410, "document_erased")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"{}", "application/json"),
        (b'{"name": " "}', "application/json"),
        (b'{"name": "' + b"x" * 9000 + b'"}', "application/json"),
        (b"name=%FF", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"class=x", "application/x-www-form-urlencoded"),
    ],
)
async def test_what_says_no_name_is_refused(*, service, session, papers, body, kind) -> None:
    async with service.client() as anyone:
        path = f"/documents/{papers['certificate']}"
        answer = await anyone.post(path, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_comparison")


@pytest.mark.parametrize(
    ("printed", "typed", "same"),
    [
        ("Zoë O\u2019Brien", "ZOË o'brien", True),
        ("Zoë", "Zoë", True),
        ("Anne-Marie", "Anne Marie", True),
        ("Strauß", "STRAUSS", True),
        ("Zoë", "Zoe", False),
        ("Ada", "Ad\u0430", False),  # a Cyrillic letter
        ("محمد", "محمد", True),
    ],
)
def test_how_a_name_is_typed_does_not_matter_and_which_does(printed: str, typed: str, same: bool) -> None:
    assert view_models.is_printed(DocumentKind.CERTIFICATE, {"name": printed}, typed, "") is same
