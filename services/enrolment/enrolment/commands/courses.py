"""Copies of what the catalogue announced."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.commands.enrolments import settle
from enrolment.domain.study import Course
from enrolment.tables import CourseVersion, Unit, WithdrawnCourse
from shared.events.catalogue import CoursePublished
from shared.events.catalogue import Unit as PublishedUnit


async def keep_course_version(session: AsyncSession, published: CoursePublished) -> None:
    """Store a course version, and settle the learners who have paid for its course. A version is frozen: its first copy
    stays."""
    values = {name: getattr(published, name) for name in Course.__dataclass_fields__}
    await session.execute(insert(CourseVersion).values(values).on_conflict_do_nothing())
    for learner_id in await queries.learners_waiting_for(session, published.course_id):
        await settle(session, learner_id)


async def keep_units(session: AsyncSession, course_version_id: UUID, units: Sequence[PublishedUnit]) -> None:
    """Store the units of a course version; the first copy stays."""
    if units:
        rows = [
            {**unit.model_dump(), "objectives": list(unit.objectives), "course_version_id": course_version_id}
            for unit in units
        ]
        await session.execute(insert(Unit).values(rows).on_conflict_do_nothing())


async def keep_course_withdrawal(session: AsyncSession, course_id: UUID, withdrawn_at: datetime) -> None:
    """Store when a course was withdrawn, the earliest time that was announced."""
    statement = insert(WithdrawnCourse).values(course_id=course_id, withdrawn_at=withdrawn_at)
    earliest = func.least(WithdrawnCourse.withdrawn_at, statement.excluded.withdrawn_at)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["course_id"], set_={"withdrawn_at": earliest})
    )
