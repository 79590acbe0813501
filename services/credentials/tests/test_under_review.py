"""An award whose credit was taken back, as those see it who check it while a person decides."""

import json

from sqlalchemy import select

from credentials.tables.issued import Badge
from openbadges.testing import transcript
from shared.ids import new_id

from .announcements import consume, hold_credit, let_time_work, revoked
from .reviews import decide, hold_award
from .verifying import sign_as_anybody

DIPLOMA = "PGDip in Data Science and Management"
ASK = "until it has decided, ask it before relying on the award."


async def badge_of(session, award) -> str:
    statement = select(Badge.badge_id).where(Badge.award_id == award.award_id)
    return str(await session.scalar(statement))


async def test_an_award_given_back_without_its_credit_is_shown_to_be_under_review(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    lower = await hold_award(session, learner)
    await hold_credit(session, learner, MG=4)
    higher = await hold_award(session, learner, "pgdip", DIPLOMA)
    await let_time_work(service)
    badge = await badge_of(session, lower)

    async def shown() -> tuple[list, list[str]]:
        """By the API of a badge, within a record and of a document; on the page of the badge, handed in, and of it."""
        async with service.client() as anyone:
            document = (await anyone.get(f"/credentials/{badge}")).json()
            record = sign_as_anybody(transcript([document]))
            answers = [(await anyone.post("/v1/verifications", json=one)).json() for one in (document, record)]
            checked = (await anyone.get(f"/v1/document-checks/{lower.certificate_number}")).json()
            files = {"file": ("badge", json.dumps(document), "application/json")}
            pages = [
                await anyone.get(f"/verify/{badge}"),
                await anyone.post("/verify", files=files),
                await anyone.get(f"/documents/{lower.certificate_number}"),
            ]
        said = [answers[0], answers[1]["parts"][0], checked]
        return [(one["status"], one["under_review_since"] is not None) for one in said], [page.text for page in pages]

    answers, pages = await shown()
    assert answers == [("superseded", False), ("valid", False), ("superseded", False)]
    assert not [page for page in pages if "under review" in page]

    await consume(session, *(revoked(learner, f"DS0{number}") for number in (1, 2, 3, 4)))
    answers, pages = await shown()
    assert answers == [("superseded", True), ("valid", True), ("superseded", True)]
    assert [("<strong>Superseded, under review</strong>" in page, ASK in page) for page in pages] == [(True, True)] * 3

    async with service.client("registrar") as office:
        waiting = (await office.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
        (review,) = [one for one in waiting if one["award_id"] == str(higher.award_id)]
        assert (await decide(office, review, "rescind")).status_code == 201
        left = (await office.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
    assert [one["award_id"] for one in left] == [str(lower.award_id)], "its own review goes on"
    answers, pages = await shown()
    assert answers == [("valid", True)] * 3
    assert [("<strong>Valid, under review</strong>" in page, ASK in page) for page in pages] == [(True, True)] * 3
    async with service.client("learner", id=learner) as own:
        levels = (await own.get("/v1/award-options")).json()["levels"]
    titles = [option["title"] for level in levels for option in level["options"]]
    assert titles == ["PGCert in Management"], "what was taken back counts nowhere else"
