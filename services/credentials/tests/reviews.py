"""Awards under review, and what is decided about them."""

from datetime import timedelta

from sqlalchemy import select

from credentials.commands import awards
from credentials.tables.awards import Award
from shared.events.assessment import CreditReinstated
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .announcements import (
    BEFORE,
    named,
    revoked,
)

TITLE = "PGCert in Data Science"
CLAIM = {"level": "pgcert", "title": TITLE}


async def hold_award(session, learner, level: str = "pgcert", title: str = TITLE) -> Award:
    award = await awards.claim_award(session, learner, level, title, None)
    return await awards.confer_award(session, award.award_id, by=new_id())


async def review_of(client) -> dict:
    (review,) = (await client.get("/v1/award-reviews", params={"waiting": True})).json()["items"]
    return review


async def decide(office, review: dict, decision: str, **more: object):
    body = {"decision": decision, "reason_code": "misconduct", **more}
    return await office.post(f"/v1/award-reviews/{review['review_id']}/decision", json=body)


async def emails_about(session, kind: str) -> list[QueuedEmail]:
    return list(await session.scalars(select(QueuedEmail).where(QueuedEmail.kind == kind)))


def lost_today(learner, code: str, clock):
    return revoked(learner, code).model_copy(update={"revoked_at": clock()})


def reinstated(learner, code: str, days: int = 30) -> CreditReinstated:
    return CreditReinstated(
        credit_id=named("credit", learner, code),
        learner_id=learner,
        reason_code="appeal",
        board_id=named("board"),
        reinstated_at=BEFORE + timedelta(days=days),
    )
