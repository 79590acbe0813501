"""Awards, their reviews, and the badges issued for them."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.awards import State
from credentials.tables.awards import Award, AwardReview
from credentials.tables.issued import Badge


async def live_badge_of_award(session: AsyncSession, award_id: UUID) -> Badge | None:
    """Return the award's badge that is not revoked, or None."""
    return await session.scalar(select(Badge).where(Badge.award_id == award_id, Badge.revoked_at.is_(None)))


def lapsing_learners(now: datetime) -> Select[UUID]:
    """Select learners with a reservation that has run out."""
    award = Award
    due = award.state == State.CLAIMED, award.reserved_until <= now
    return select(award.learner_id).where(*due).group_by(award.learner_id).order_by(award.learner_id)


async def awards_by_id(session: AsyncSession, award_ids: Collection[UUID]) -> dict[UUID, Award]:
    rows = await session.scalars(select(Award).where(Award.award_id.in_(award_ids)))
    return {row.award_id: row for row in rows}


async def open_reviews(session: AsyncSession, learner_id: UUID) -> dict[UUID, AwardReview]:
    """Return the reviews of a learner that wait for a decision, by award id."""
    rows = await session.scalars(
        select(AwardReview).where(AwardReview.learner_id == learner_id, AwardReview.decided_at.is_(None))
    )
    return {row.award_id: row for row in rows}


def awards_to_look_at() -> Select[UUID]:
    """Select awards whose credit was not checked yet for being shared with another award."""
    award = Award
    return select(award.award_id).where(~award.looked_at).order_by(award.award_id)


def reviews_query(learner_id: UUID | None, *, waiting: bool | None) -> Select[AwardReview]:
    """Select reviews; with `waiting`, those that do or do not wait for a decision."""
    statement = select(AwardReview)
    if learner_id is not None:
        statement = statement.where(AwardReview.learner_id == learner_id)
    if waiting is not None:
        undecided = AwardReview.decided_at.is_(None)
        statement = statement.where(undecided if waiting else ~undecided)
    return statement
