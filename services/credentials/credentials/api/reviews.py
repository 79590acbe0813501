"""Awards under review: what is proposed, and the decision."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field

from credentials.commands import awards, reviews
from credentials.domain.holds import OwnRefund
from credentials.domain.reviews import (
    Decision,
    NoSubstitute,
    NotTakenUp,
    OwnReview,
    OwnRevocation,
    Proposal,
    Reason,
    ReviewDecided,
    WrongSubstitute,
)
from credentials.queries.awards import awards_by_id, reviews_query
from credentials.queries.records import records_of
from credentials.tables.awards import AwardReview
from shared.database import fetch
from shared.database import now as now_of
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    view_of,
)

router = Router()

Decisions = Literal["substitute", "rescind", "rescind_and_offer", "supersede"]
Outcome = Literal["substitute", "rescind", "rescind_and_offer", "supersede", "credit_reinstated"]


class ProposalView(View):
    """What the rules would allow, computed from the credit as it is now."""

    decision: Decisions = Field(examples=["substitute"])
    lost: list[UUID] = Field(
        description="Credit the award stands on that was revoked, or whose money went back; none where a higher award "
        "holds its credit"
    )
    added: list[UUID] = Field(description="Spare credit that would take its place")
    removed: list[UUID]
    classification: str | None = Field(description="The class after a substitution", examples=["Merit"])
    offer: list[str] = Field(
        description="Titles the credit would give if the award were rescinded: at its level, then at those below",
        examples=[["PGCert in Interdisciplinary Studies"]],
    )
    words: str = Field(examples=["Spare credit can take the place of what was lost; the title stays."])


class ReviewView(View):
    """An award that lost credit, what the rules would allow, and what a registrar decided; the decision's members
    are null until there is one."""

    review_id: UUID
    award_id: UUID
    learner_id: UUID
    level: str = Field(examples=["pgcert"])
    title: str = Field(examples=["PGCert in Data Science"])
    state: str = Field(description="The award's", examples=["conferred"])
    opened_at: Instant
    proposal: ProposalView | None = Field(description="Null once decided")
    decision: Outcome | None = Field(examples=["substitute"])
    reason_code: str | None = Field(examples=["misconduct"])
    decided_at: Instant | None
    outcome: dict[str, Any] | None = Field(  # Any: JSON
        description="What changed: credit added and removed, the class before, titles offered, awards given back"
    )


class ReviewDecision(RequestModel):
    """What a registrar decides about an award that lost credit."""

    decision: Decisions = Field(examples=["substitute"])
    reason_code: Literal["misconduct", "appeal", "error", "assessment_error", "administrative_error", "refunded"] = (
        Field(
            description="Those for which credit is taken back, what the error was, or that the money went back",
            examples=["misconduct"],
        )
    )
    credit_ids: tuple[UUID, ...] | None = Field(
        default=None,
        max_length=100,
        description="For a substitution: all the credit the award is to stand on; without it, what is proposed",
    )


@router.get("/v1/award-reviews", operation_id="list_award_reviews")
async def list_award_reviews(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    waiting: Annotated[
        bool | None, Query(description="Only those that wait for a decision, or only the others")
    ] = None,
) -> Page[ReviewView]:
    """Reviews of one's own awards; for registrars and examiners everybody's."""
    whose = None if caller.is_staff else caller.own_id
    if caller.is_staff:
        caller.must_own(caller.own_id)
    statement = reviews_query(whose, waiting=waiting)
    rows, cursor = await paginate(session, statement, paging, by=(AwardReview.review_id,))
    return page_of(rows, await _viewer(session, rows), cursor)


@router.get("/v1/award-reviews/{review_id}", operation_id="read_award_review")
async def read_award_review(review_id: UUID, session: ReadSession, caller: CallerOf) -> ReviewView:
    """Read what became of an award that lost credit, and what is proposed."""
    review = await fetch(session, AwardReview, review_id)
    caller.must_own(review.learner_id)
    return await _view(session, review)


@router.post(
    "/v1/award-reviews/{review_id}/decision",
    operation_id="decide_award_review",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        OwnReview, OwnRevocation, OwnRefund, ReviewDecided, NoSubstitute, WrongSubstitute, NotTakenUp
    ),
)
async def decide_award_review(
    review_id: UUID, decision: ReviewDecision, session: Session, caller: CallerOf
) -> ReviewView:
    """Substitute spare credit, or rescind the award: its badge is revoked and what it had superseded stands again.

    One that lost nothing, and shares credit with a higher award, may be superseded by it.
    """
    review = await awards.decide_award_review(
        session,
        review_id,
        Decision(decision.decision),
        Reason(decision.reason_code),
        decision.credit_ids,
        by=caller.own_id,
    )
    return await _view(session, review)


async def _view(session: Session, review: AwardReview) -> ReviewView:
    return view_of(review, await _viewer(session, [review]))


async def _viewer(session: Session, rows: Sequence[AwardReview]) -> Callable[[AwardReview], ReviewView]:
    now = now_of(session)
    reviewed = await awards_by_id(session, [row.award_id for row in rows])
    records = await records_of(session, {row.learner_id for row in rows if row.decided_at is None}, now)
    fields = ("review_id", "award_id", "learner_id", "opened_at", "decision", "reason_code", "decided_at", "outcome")

    def view(row: AwardReview) -> ReviewView:
        award, record = reviewed[row.award_id], records.get(row.learner_id)
        return ReviewView(
            **{name: getattr(row, name) for name in fields},
            level=award.level,
            title=award.title,
            state=award.state,
            proposal=_proposal(reviews.propose(award, record, now)) if record and row.decided_at is None else None,
        )

    return view


def _proposal(proposal: Proposal) -> ProposalView:
    substitute = proposal.substitute
    decisions: dict[Decision, Decisions] = {
        Decision.SUBSTITUTE: "substitute",
        Decision.RESCIND: "rescind",
        Decision.RESCIND_AND_OFFER: "rescind_and_offer",
        Decision.SUPERSEDE: "supersede",
    }
    return ProposalView(
        decision=decisions[proposal.decision],
        lost=[UUID(credit_id) for credit_id in proposal.lost],
        added=[UUID(credit_id) for credit_id in substitute.added] if substitute else [],
        removed=[UUID(credit_id) for credit_id in substitute.removed] if substitute else [],
        classification=substitute.classification.label if substitute else None,
        offer=list(proposal.offer),
        words=proposal.words,
    )
