"""A consented record as files: a learner record of what was consented to, and paper where that is everything."""

import hashlib
import json

import pytest
from jsonschema.validators import validator_for
from sqlalchemy import select

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import awards
from credentials.tables.documents import Document
from shared.ids import new_id
from shared.secret_box import SecretBox

from .announcements import hold_credit, introduce, let_time_work, named
from .badges import schema
from .shared_files import EVERYTHING, consented, get, others_agree
from .shares import P, Q, consent, fetch, know, redeem


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P, Q)
    return learner


def names(record: dict) -> list[str]:
    inside = record["credentialSubject"]["verifiableCredential"]
    return [one["credentialSubject"]["achievement"]["name"] for one in inside]


async def test_a_selection_is_a_partial_record_of_that_alone(
    service, session, clock, learner, published_schemas
) -> None:
    at = await consented(service, learner, "DS01", "DS03")
    answer = await get(service, f"{at}.clr")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/vc+ld+json")
    assert answer.headers["Cache-Control"] == "no-store"
    record = answer.json()
    assert (record["partial"], sorted(names(record))) == (True, ["Course DS01", "Course DS03"])
    (number,) = await session.scalars(select(Document.number).where(Document.kind == "transcript"))
    for kept_back in ("Lovelace", number, "DS02", str(learner), "Mark"):
        assert kept_back not in answer.text
    assert "identifier" not in record["credentialSubject"]
    await others_agree(session, record)
    found = schema(published_schemas, "clr_v2p0_clrcredential_schema.json")
    validator_for(found)(found).validate(record)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"with_marks": True}, [("Mark: Course DS01 (DS01)", "60")]),
        ({"with_attempts": True}, [("Attempt: Course DS01 (DS01)", "1")]),
        (
            {"with_marks": True, "with_attempts": True},
            [("Mark: Course DS01 (DS01)", "60"), ("Attempt: Course DS01 (DS01)", "1")],
        ),
    ],
)
async def test_marks_and_attempts_stand_in_it_only_where_consented(
    service, session, clock, learner, changes, shown
) -> None:
    at = await consented(service, learner, "DS01", **changes)
    *_, stated = (await get(service, f"{at}.clr")).json()["credentialSubject"]["verifiableCredential"]
    subject = stated["credentialSubject"]
    words = {one["id"]: one["name"] for one in subject["achievement"]["resultDescription"]}
    assert [(words[one["resultDescription"]], one["value"]) for one in subject["result"]] == shown


async def test_the_whole_record_takes_in_awards_and_names_its_holder(service, session, clock, learner) -> None:
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await session.flush()
    await let_time_work(service)
    record = (await get(service, f"{await consented(service, learner, **EVERYTHING)}.clr")).json()
    assert "partial" not in record
    *courses, award, results = names(record)
    assert sorted(courses) == [f"Course DS0{n}" for n in (1, 2, 3, 4)]
    assert (award, results) == ("PGCert in Data Science", "Statement of results")
    assert record["credentialSubject"]["identifier"][0]["identityHash"] == "Ada Lovelace"
    await others_agree(session, record)


async def test_paper_is_handed_out_where_nothing_is_held_back(service, session, clock, learner) -> None:
    at = await consented(service, learner, **EVERYTHING)
    record = (await fetch(service, at.rpartition("/")[2])).json()
    assert (record["clr_url"], record["pdf_url"]) == (f"{at}.clr", f"{at}.pdf")
    paper = await get(service, record["pdf_url"])
    assert (paper.status_code, paper.content[:5], paper.headers["Cache-Control"]) == (200, b"%PDF-", "no-store")
    async with service.client("learner", id=learner) as own, service.client() as anyone:
        listed = (await own.get("/v1/documents")).json()["items"]
        (own_paper,) = [one for one in listed if one["kind"] == "transcript"]
        assert (await own.get(own_paper["pdf_url"])).content == paper.content
        known = await anyone.get(f"/v1/document-checks/{hashlib.sha256(paper.content).hexdigest()}")
    assert known.json()["genuine"] is True


@pytest.mark.parametrize("held_back", [{name: False} for name in ("with_marks", "with_attempts", "with_name")])
async def test_paper_would_show_what_is_held_back(service, session, clock, learner, held_back) -> None:
    at = await consented(service, learner, **(EVERYTHING | held_back))
    assert (await fetch(service, at.rpartition("/")[2])).json()["pdf_url"] is None
    refused = await get(service, f"{at}.pdf")
    assert (refused.status_code, refused.json()["code"]) == (403, "paper_shows_more")


async def test_every_course_one_has_is_not_the_whole_record(service, session, clock, learner) -> None:
    """What is earned later would stand on the paper too."""
    at = await consented(service, learner, "DS01", "DS02", "DS03", "DS04", **(EVERYTHING | {"whole_record": False}))
    assert (await get(service, f"{at}.pdf")).json()["code"] == "paper_shows_more"


@pytest.mark.parametrize("form", ["clr", "pdf"])
async def test_no_file_outlasts_the_consent(service, session, clock, learner, form) -> None:
    """T1 and T2 hold for files."""
    at, ended = [await consented(service, learner, **EVERYTHING) for _ in range(2)]
    async with service.client("learner", id=learner) as own:
        await own.post(f"/v1/shares/{ended.rpartition('/')[2]}/withdrawal")
    refused = await get(service, f"{ended}.{form}")
    assert (refused.status_code, refused.json()["code"]) == (403, "share_withdrawn")
    clock.advance(days=30, hours=-1)
    assert (await get(service, f"{at}.{form}")).status_code == 200
    clock.advance(hours=1)
    refused = await get(service, f"{at}.{form}")
    assert (refused.status_code, refused.json()["code"]) == (403, "share_expired")


@pytest.mark.parametrize("form", ["clr", "pdf"])
async def test_files_are_for_the_partner_that_redeemed_the_code(service, session, clock, learner, form) -> None:
    granted = await consent(service, learner, **EVERYTHING)
    path = f"/v1/shared-records/{granted['share_id']}.{form}"
    assert (await get(service, path)).status_code == 404
    await redeem(service, granted["code"])
    assert (await get(service, path, Q)).status_code == 404
    async with service.client("learner", id=learner) as own, service.client(client_id=P, scopes=()) as deaf:
        assert {(await one.get(path)).status_code for one in (own, deaf)} == {403}
        assert (await own.get(f"/v1/shares/{granted['share_id']}")).json()["views"] == 0


async def test_the_learner_sees_each_file_that_was_fetched(service, session, clock, learner) -> None:
    at = await consented(service, learner, **EVERYTHING)
    record, paper = (await get(service, f"{at}.clr")).json(), (await get(service, f"{at}.pdf")).content
    packed = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    async with service.client("learner", id=learner) as own:
        seen = (await own.get(at.replace("shared-records", "shares") + "/views")).json()["items"]
    assert [one["viewer"] for one in seen] == ["partner"] * 2
    assert {one["sha256"] for one in seen} == {hashlib.sha256(shown).hexdigest() for shown in (packed, paper)}


async def test_what_is_not_on_the_transcript_is_no_learner_record(service, session, clock, learner) -> None:
    """Nothing is signed yet where the directory has not said who the learner is."""
    stranger = new_id()
    await hold_credit(session, stranger, MG=1)
    at = await consented(service, stranger, credit_ids=[str(named("credit", stranger, "MG01"))])
    answer = await get(service, f"{at}.clr")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    await introduce(session, stranger)
    await session.flush()
    answer = await get(service, f"{at}.clr")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_signed")


async def test_where_the_wrapping_key_is_lost_whoever_waits_for_a_signature_is_told_so(
    service, session, clock, learner, monkeypatch
) -> None:
    """Every door that signs while somebody waits."""
    at = await consented(service, learner, **EVERYTHING)
    number = await session.scalar(
        select(Document.number).where(Document.learner_id == learner, Document.kind == "transcript")
    )
    ours = service.service.resources[CredentialIssuer]
    monkeypatch.setattr(ours, "_secret_box", SecretBox(bytes(32)))
    monkeypatch.setattr(ours, "_signers", {})
    async with service.client("learner", id=learner) as client:
        own = await client.get(f"/v1/documents/{number}.clr")
    for answer in (own, await get(service, f"{at}.clr"), await fetch(service, at.rpartition("/")[2])):
        assert (answer.status_code, answer.json()["code"]) == (503, "signing_key_unreadable")
        assert answer.headers["Retry-After"] == "60"
        assert "MC_WRAPPING_KEY" not in answer.json()["detail"]
