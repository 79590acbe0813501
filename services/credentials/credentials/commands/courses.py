"""Keep the copy of what is on sale, at which price, and of who studies it; whatever is heard last."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from shared.events.catalogue import CoursePublished


async def offer_course(session: AsyncSession, published: CoursePublished) -> None:
    """The newest version is the one on sale."""
    values = {
        "course_version_id": published.course_version_id,
        "version": published.version,
        "code": published.code,
        "title": published.title,
        "institution_name": published.institution_name,
        "subject_id": published.subject_id,
        "subject_name": published.subject_name,
        "credits": published.credits,
        "level": published.level,
        "family": published.module_family,
        "weeks": published.weeks,
    }
    statement = insert(tables.OfferedCourse).values(course_id=published.course_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[tables.OfferedCourse.course_id],
            set_=values,
            where=func.coalesce(tables.OfferedCourse.version, 0) < published.version,
        )
    )


async def stop_offering(session: AsyncSession, course_id: UUID, at: datetime) -> None:
    statement = insert(tables.OfferedCourse).values(course_id=course_id, withdrawn_at=at)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[tables.OfferedCourse.course_id], set_={"withdrawn_at": statement.excluded.withdrawn_at}
        )
    )


async def note_enrolment(
    session: AsyncSession,
    enrolment_id: UUID,
    learner_id: UUID,
    course_id: UUID,
    *,
    activated_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> None:
    """Add what is known of an enrolment."""
    statement = insert(tables.Enrolment).values(
        enrolment_id=enrolment_id,
        learner_id=learner_id,
        course_id=course_id,
        activated_at=activated_at,
        ended_at=ended_at,
    )
    known = {
        name: func.coalesce(column, statement.excluded[name])
        for name, column in (
            ("activated_at", tables.Enrolment.activated_at),
            ("ended_at", tables.Enrolment.ended_at),
        )
    }
    await session.execute(statement.on_conflict_do_update(index_elements=[tables.Enrolment.enrolment_id], set_=known))
