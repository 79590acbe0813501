"""Who the learners are, and whose copy here is older than what enrolment has."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables


async def outdated_people(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Learners after this one, in the order of their ids, whose name or address is not here as it is in use."""
    learner = tables.Learner
    statement = (
        select(learner.learner_id)
        .where(learner.unread, learner.anonymised_at.is_(None))
        .order_by(learner.learner_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(learner.learner_id > after)
    return (await session.scalars(statement)).all()
