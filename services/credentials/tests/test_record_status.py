"""Learner records can be revoked: each has a status entry of its own, whose bit is set when it no longer shows how things are."""

import json

import jwt
import pytest
from openbadgeslib.ob3 import Achievement, Issuer, OB3VerificationError, OpenBadgeCredential, status
from sqlalchemy import select

from credentials import jobs
from credentials.commands import awards, learner_records
from credentials.commands.people import erase_person
from credentials.tables.documents import Edition
from credentials.tables.issued import AssignedStatusEntry
from credentials.tables.people import Learner
from openbadges.status_lists import is_set
from shared.directory import LocalDirectory
from shared.ids import new_id

from .announcements import consume, hold_credit, introduce, let_time_work, person, revoked, work_of
from .papers import rename
from .record_status import ask
from .shared_files import EVERYTHING, consented, get
from .shares import P, Q, consent, know, redeem

ENDED = "This learner record was genuine when it was issued."


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P, Q)
    return learner


async def record_of(service, learner) -> dict:
    answer = await ask(service, learner)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def checked(service, record: dict) -> dict:
    async with service.client() as anyone:
        return (await anyone.post("/v1/verifications", json=record)).json()


async def bits(service, record: dict) -> tuple[bool, bool]:
    """Its bit in the list, and in the list's copy as a token."""
    status_entry = record["credentialStatus"]
    path = status_entry["statusListCredential"].removeprefix("https://badges.example.ac.uk")
    async with service.client() as anyone:
        document = (await anyone.get(path)).json()
        copy = jwt.decode((await anyone.get(f"{path}.jwt")).text, options={"verify_signature": False})
    encoded = [one["credentialSubject"]["encodedList"] for one in (document, copy)]
    first, second = (is_set(one, int(status_entry["statusListIndex"])) for one in encoded)
    return first, second


async def give_another_credit(service, session, learner) -> None:
    await hold_credit(session, learner, DS=5)


async def change_the_name(service, session, learner) -> None:
    await rename(session, learner, 2, given_name="Ada", family_name="King", display_name="Ada King")


async def revoke_a_credit(service, session, learner) -> None:
    await consume(session, revoked(learner, "DS02"))


async def confer_an_award(service, session, learner) -> None:
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await session.flush()


async def correct_a_badge(service, session, learner) -> None:
    entry = person(learner, contact_email="another@learner.example", contact_version=2)
    row = await session.get(Learner, learner, populate_existing=True)
    row.contact_version, row.unread = 2, True
    await session.flush()
    await jobs.read_people(work_of(service, LocalDirectory(entry)))
    await let_time_work(service)
    await record_of(service, learner)  # signed anew when it is asked for


async def test_a_record_has_an_entry_no_badge_has_and_stands(service, session, learner) -> None:
    record = await record_of(service, learner)
    status_entry = record["credentialStatus"]
    assert status_entry["type"] == "BitstringStatusListEntry"
    inside = record["credentialSubject"]["verifiableCredential"]
    *held, results = [one["credentialStatus"]["statusListIndex"] for one in inside]
    assert len({*held, status_entry["statusListIndex"]}) == 5
    assert results == status_entry["statusListIndex"]
    assert await record_of(service, learner) == record
    await let_time_work(service)
    answer = await checked(service, record)
    assert (answer["status"], answer["verified"], answer["meaning"]) == (
        "valid", True, "This credential is genuine and stands.",
    )  # fmt: skip
    assert await bits(service, record) == (False, False)


@pytest.mark.parametrize(
    "change", [give_another_credit, change_the_name, revoke_a_credit, confer_an_award, correct_a_badge]
)
async def test_what_no_longer_tells_how_things_are_is_revoked_for_good(
    service, session, clock, learner, change
) -> None:
    before = await record_of(service, learner)
    await change(service, session, learner)
    await let_time_work(service)
    clock.advance(minutes=1)
    after = await record_of(service, learner)
    assert await bits(service, before) == (True, True)
    assert await bits(service, after) == (False, False)
    assert (after["id"], after["credentialStatus"] != before["credentialStatus"]) == (before["id"], True)
    older, newest = await checked(service, before), await checked(service, after)
    assert (older["status"], older["verified"], newest["status"]) == ("revoked", False, "valid")
    assert older["meaning"].startswith(ENDED)
    (results,) = [part for part in older["parts"] if part["name"] == "Statement of results"]
    assert results["meaning"].startswith(ENDED)
    for said in (older, results):
        (revocation,) = [one for one in said["checks"] if one["name"] == "revocation"]
        assert (revocation["code"], "there is a newer record" in revocation["detail"]) == ("revoked", True)


async def test_a_person_is_answered_in_plain_words_and_not_why(service, session, learner) -> None:
    before = await record_of(service, learner)
    await change_the_name(service, session, learner)
    await let_time_work(service)
    async with service.client() as anyone:
        page = (await anyone.post("/verify", files={"file": ("record.json", json.dumps(before))})).text
    for said in ("Replaced or withdrawn", ENDED, "Ask its holder for the newest"):
        assert said in page
    for untrue in ("Revoked", "taken it back", "has revoked it", "must not be relied on"):
        assert untrue not in page
    assert "King" not in page


async def test_other_verifiers_refuse_what_is_revoked(service, session, learner, monkeypatch, clock) -> None:
    """openbadgeslib, by the list as JSON and by its token; npm is asked in test_second_opinions.py."""
    record = await record_of(service, learner)
    root = "https://badges.example.ac.uk"
    credential = OpenBadgeCredential(
        Issuer(record["issuer"]["id"], record["issuer"]["name"]),
        None,
        Achievement("urn:x:any", "Any", "", ""),  # what a record is about has no part in whether it stands
        credential_status=[record["credentialStatus"]],
    )

    async def judge() -> None:
        async with service.client() as anyone:
            page = (await anyone.get("/status/revocation/1")).content
        status.check_credential_status(credential, lambda url: {f"{root}/status/revocation/1": page}[url])

    class Now(status.datetime):
        @classmethod
        def now(cls, _=None):
            return clock()

    monkeypatch.setattr(status, "datetime", Now)
    await judge()
    await revoke_a_credit(service, session, learner)
    await let_time_work(service)
    with pytest.raises(OB3VerificationError, match="revocation"):
        await judge()


async def test_each_partner_has_a_record_of_its_own_that_goes_with_the_transcript(service, session, learner) -> None:
    one = await consented(service, learner, "DS01")
    other = await consent(service, learner, client_id=Q, **EVERYTHING, credit_ids=[])
    await redeem(service, other["code"], Q)
    own = await record_of(service, learner)
    first, again = [(await get(service, f"{one}.clr")).json() for _ in range(2)]
    second = (await get(service, f"/v1/shared-records/{other['share_id']}.clr", Q)).json()
    assert first["credentialStatus"] == again["credentialStatus"]
    assert len({record["credentialStatus"]["id"] for record in (own, first, second)}) == 3
    await let_time_work(service)
    assert [(await checked(service, record))["status"] for record in (own, first, second)] == ["valid"] * 3
    await revoke_a_credit(service, session, learner)
    await let_time_work(service)
    newest = (await get(service, f"{one}.clr")).json()
    assert [await bits(service, record) for record in (own, first, second)] == [(True, True)] * 3
    assert await bits(service, newest) == (False, False)
    assert (await checked(service, newest))["status"] == "valid"


async def test_what_is_withdrawn_after_its_holder_was_forgotten_is_revoked_all_the_same(
    service, session, clock, learner
) -> None:
    """There is no newer edition then; a copy stands until something on it is withdrawn."""
    record = await record_of(service, learner)
    await erase_person(session, learner, clock())
    await session.flush()
    await let_time_work(service)
    assert await bits(service, record) == (False, False)
    await revoke_a_credit(service, session, learner)
    await let_time_work(service)
    assert await bits(service, record) == (True, True)


async def test_a_record_overtaken_while_it_is_signed_is_not_handed_out(service, session, learner, monkeypatch) -> None:
    sign, overtaken = learner_records._sign, []

    async def overtake(_, *arguments):
        if not overtaken:
            overtaken.append(sign(*arguments))
            await change_the_name(service, session, learner)
            return overtaken[0]
        return sign(*arguments)

    monkeypatch.setattr(learner_records.asyncio, "to_thread", overtake)
    record = await record_of(service, learner)
    monkeypatch.undo()
    assert record["credentialSubject"]["identifier"][0]["identityHash"] == "Ada King"
    await let_time_work(service)
    assert await bits(service, overtaken[0][0]) == (True, True)
    assert await bits(service, record) == (False, False)


async def test_a_transcript_that_changes_again_and_again_is_asked_for_later(
    service, session, learner, monkeypatch
) -> None:
    sign, versions = learner_records._sign, iter(range(2, 100))

    async def overtake(_, *arguments):
        version = next(versions)
        await rename(session, learner, version, given_name="Ada", family_name=f"N{version}", display_name="Ada")
        return sign(*arguments)

    monkeypatch.setattr(learner_records.asyncio, "to_thread", overtake)
    answer = await ask(service, learner)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (409, "record_changing")
    session.expire_all()
    statement = select(AssignedStatusEntry).where(AssignedStatusEntry.edition_id.is_not(None))
    assert all(status_entry.retired_at is not None for status_entry in await session.scalars(statement))


async def test_a_record_from_before_records_could_be_revoked_is_signed_anew(service, session, learner) -> None:
    record = await record_of(service, learner)
    edition = await session.scalar(select(Edition).where(Edition.clr.is_not(None)))
    edition.clr = {name: member for name, member in record.items() if name != "credentialStatus"}
    await session.flush()
    assert (await record_of(service, learner))["credentialStatus"] == record["credentialStatus"]
