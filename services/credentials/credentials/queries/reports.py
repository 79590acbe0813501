"""Reports on regulations, and the learners they compare."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.tables.facts import Credit
from credentials.tables.reports import RegulationReport


def unfinished_reports() -> Select[UUID]:
    """Select reports under way, the oldest first."""
    report = RegulationReport
    return select(report.report_id).where(report.finished_at.is_(None)).order_by(report.report_id)


async def credited_learners(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Return learners with credit, in the order of their ids."""
    learner_id = Credit.learner_id
    statement = select(learner_id).distinct().order_by(learner_id).limit(limit)
    return (await session.scalars(statement if after is None else statement.where(learner_id > after))).all()


async def count_credited_learners(session: AsyncSession) -> int:
    return await session.scalar(select(func.count(Credit.learner_id.distinct()))) or 0
