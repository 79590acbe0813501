"""Reports on regulations, and the learners they compare."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables


async def unfinished_report(session: AsyncSession) -> tables.RegulationReport | None:
    report = tables.RegulationReport
    statement = select(report).where(report.finished_at.is_(None)).order_by(report.report_id).limit(1)
    return await session.scalar(statement.with_for_update(skip_locked=True))


async def credited_learners(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Learners with credit, in the order of their ids."""
    learner_id = tables.Credit.learner_id
    statement = select(learner_id).distinct().order_by(learner_id).limit(limit)
    return (await session.scalars(statement if after is None else statement.where(learner_id > after))).all()


async def count_credited_learners(session: AsyncSession) -> int:
    return await session.scalar(select(func.count(tables.Credit.learner_id.distinct()))) or 0
