"""Keep the copy of which courses are on sale, and who studies them, whatever the order of events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, case, func, or_, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.holds import REFUNDED
from credentials.tables.courses import Enrolment, OfferedCourse
from shared.events.catalogue import CoursePublished


async def offer_course(session: AsyncSession, published: CoursePublished) -> None:
    """Store a course version as the one on sale, unless one is that was published later.

    A catalogue that has lost history gives a version's number, too, a second time.
    """
    values = {
        "course_version_id": published.course_version_id,
        "version": published.version,
        "code": published.code,
        "title": published.title,
        "published_at": published.published_at,
        "institution_name": published.institution_name,
        "subject_id": published.subject_id,
        "subject_name": published.subject_name,
        "credits": published.credits,
        "level": published.level,
        "family": published.module_family,
        "weeks": published.weeks,
    }
    offered = OfferedCourse
    statement = insert(OfferedCourse).values(course_id=published.course_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[OfferedCourse.course_id],
            set_=values,
            where=or_(
                tuple_(offered.published_at, offered.version) < tuple_(published.published_at, published.version),
                and_(offered.published_at.is_(None), func.coalesce(offered.version, 0) <= published.version),
            ),
        )
    )


async def stop_offering(session: AsyncSession, course_id: UUID, at: datetime) -> None:
    """Note that a course was withdrawn from sale."""
    statement = insert(OfferedCourse).values(course_id=course_id, withdrawn_at=at)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[OfferedCourse.course_id], set_={"withdrawn_at": statement.excluded.withdrawn_at}
        )
    )


async def note_enrolment(
    session: AsyncSession,
    enrolment_id: UUID,
    learner_id: UUID,
    course_id: UUID,
    **known: datetime | UUID | str | None,
) -> None:
    """Add what is `known` of an enrolment, by column.

    What was stored first stands, except for an end after which the money goes back: it replaces any other end.
    """
    statement = insert(Enrolment).values(
        enrolment_id=enrolment_id,
        learner_id=learner_id,
        course_id=course_id,
        **known,
    )
    first = {name: func.coalesce(getattr(Enrolment, name), statement.excluded[name]) for name in known}
    if known.get("end_reason") == REFUNDED:
        other_end = Enrolment.end_reason.is_distinct_from(REFUNDED)
        first |= {name: case((other_end, statement.excluded[name]), else_=first[name]) for name in known}
    await session.execute(statement.on_conflict_do_update(index_elements=[Enrolment.enrolment_id], set_=first))
