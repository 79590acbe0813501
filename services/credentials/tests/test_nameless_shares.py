"""A share without the name leads to nothing that says whose it is: not to a badge, and to no number of a paper."""

import re
from uuid import UUID

import pytest
from sqlalchemy import select

from credentials.commands import awards
from credentials.tables.documents import Document
from credentials.tables.issued import Badge
from shared.ids import id_of, new_id

from .announcements import hold_credit, introduce, let_time_work
from .shared_files import consented, get, others_agree
from .shares import FORM, P, fetch, know, link

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALL_BUT_THE_NAME = {"whole_record": True, "with_marks": True, "with_attempts": True}


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=5)
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await let_time_work(service)
    await know(session, P)
    return learner


async def must_lead_nowhere(service, session, shown: str) -> None:
    """No badge is found by any id that was shown, nor by what our code derives from one; no number is shown."""
    badges = (await session.scalars(select(Badge))).all()
    assert len(badges) == 6
    assert all(badge.document["credentialSubject"]["identifier"] for badge in badges)
    ids = {UUID(found) for found in _UUID.findall(shown)}
    assert len(ids) > 5
    derived = {id_of(f"badge {number}", one) for one in ids for number in range(3)}
    assert not {badge.badge_id for badge in badges} & (ids | derived)
    assert not [badge.subject for badge in badges if badge.subject in shown]
    numbers = (await session.scalars(select(Document.number))).all()
    assert numbers
    assert not [number for number in numbers if number in shown]
    assert "sha256$" not in shown


async def test_what_a_partner_fetches_leads_to_no_badge(service, session, clock, learner) -> None:
    at = await consented(service, learner, **ALL_BUT_THE_NAME)
    answer = await fetch(service, at.rpartition("/")[2])
    (award,) = answer.json()["record"]["awards"]
    assert (award["certificate_number"], award["credential_url"], award["verification_url"]) == (None, None, None)
    await must_lead_nowhere(service, session, answer.text)


async def test_a_link_leads_to_no_badge(service, session, clock, learner) -> None:
    path = await link(service, learner, **ALL_BUT_THE_NAME)
    async with service.client() as anyone:
        data, page = await anyone.post(path), await anyone.post(path, headers=FORM)
    await must_lead_nowhere(service, session, data.text)
    assert ("Course DS01" in page.text, "/verify/" in page.text) == (True, False)


async def test_a_learner_record_states_what_the_badges_recognise_without_them(service, session, clock, learner) -> None:
    at = await consented(service, learner, **ALL_BUT_THE_NAME)
    answer = await get(service, f"{at}.clr")
    await must_lead_nowhere(service, session, answer.text)
    record = answer.json()
    subject = record["credentialSubject"]
    inside = subject["verifiableCredential"]
    assert {one["credentialSubject"]["id"] for one in inside} == {subject["id"]}
    assert len(inside) == 7
    assert len(subject["association"]) == 4
    await others_agree(session, record)
    async with service.client() as anyone:
        verdict = (await anyone.post("/v1/verifications", json=record)).json()
        assert (verdict["status"], {part["status"] for part in verdict["parts"]}) == ("valid", {"valid"})


async def test_with_the_name_badges_are_shown(service, session, clock, learner) -> None:
    at = await consented(service, learner, **ALL_BUT_THE_NAME, with_name=True)
    record = (await fetch(service, at.rpartition("/")[2])).json()["record"]
    assert all(one["verification_url"] for one in (*record["credits"], *record["awards"]))
    assert "sha256$" in (await get(service, f"{at}.clr")).text
