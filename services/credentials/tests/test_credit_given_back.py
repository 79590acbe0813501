"""Whoever holds a copy of a revoked badge is led to the badge that its credit has now."""

import json

from openbadges import baking
from openbadges.testing import one_pixel
from shared.ids import new_id

from .announcements import consume, let_time_work, revoked
from .reviews import reinstated
from .verifying import issued, sign_as_anybody

HTML = {"Accept": "text/html"}


async def copies_of(service, badge_id: str, document: bytes) -> list[bytes]:
    async with service.client() as anyone:
        token = (await anyone.get(f"/credentials/{badge_id}.jwt")).content
    return [document, token, baking.into_png(one_pixel(), document)]


async def test_a_revoked_badge_leads_to_the_one_its_credit_has_now(service, session, clock) -> None:
    learner = new_id()
    old, document = await issued(service, session, learner)
    copies = await copies_of(service, old, document)
    async with service.client() as anyone:
        await consume(session, revoked(learner, "DS01"))
        taken_back = await anyone.get(f"/verify/{old}", headers=HTML)
        await consume(session, reinstated(learner, "DS01"))
        unsigned = await anyone.get(f"/verify/{old}", headers=HTML)
        await let_time_work(service)
        async with service.client("learner", id=learner) as own:
            badges = (await own.get("/v1/badges")).json()["items"]
        (new,) = [badge["badge_id"] for badge in badges if badge["badge_id"] != old]
        address = f"https://badges.example.ac.uk/verify/{new}"
        page = await anyone.get(f"/verify/{old}", headers=HTML)
        new_page = await anyone.get(f"/verify/{new}", headers=HTML)
        answers = [(await anyone.post("/v1/verifications", content=copy)).json() for copy in copies]
        pages = [await anyone.post("/verify", files={"file": ("badge", copy)}) for copy in copies]
        await consume(session, revoked(learner, "DS01").model_copy(update={"revoked_at": clock()}))
        again = await anyone.get(f"/verify/{old}", headers=HTML)
        at_last = (await anyone.post("/v1/verifications", content=document)).json()
    for announcement in (taken_back, unsigned, again):
        assert "<strong>Revoked</strong>" in announcement.text
        assert "is the newest version" in announcement.text
    assert "<strong>Valid</strong>" in new_page.text
    for shown in (page, *pages):
        assert "<strong>Replaced</strong>" in shown.text
        assert f'href="{address}"' in shown.text
        assert "must not be relied on" not in shown.text
        assert "is the newest version" not in shown.text
    assert f'href="/credentials/{new}.png"' in page.text
    for answer in answers:
        assert (answer["status"], answer["verified"], answer["newer_url"]) == ("replaced", False, address)
        assert (answer["newer"]["status"], answer["newer"]["verified"]) == ("valid", True)
        assert "given the credit back" in answer["meaning"]
    assert (at_last["status"], at_last["newer_url"]) == ("revoked", None)


async def test_only_what_is_proven_ours_is_led_on(service, session, clock) -> None:
    learner = new_id()
    _, document = await issued(service, session, learner)
    await consume(session, revoked(learner, "DS01"), reinstated(learner, "DS01"))
    await let_time_work(service)
    forged = json.loads(document) | {"name": "Doctor of Everything"}
    foreign = sign_as_anybody({name: value for name, value in json.loads(document).items() if name != "proof"})
    async with service.client() as anyone:
        answers = [(await anyone.post("/v1/verifications", json=body)).json() for body in (forged, foreign)]
    assert [(answer["status"], answer["newer"], answer["newer_url"]) for answer in answers] == [
        ("unconfirmed", None, None)
    ] * 2
