"""Reads of rows, for editors and commands."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.tables import Course, CourseVersion, Institution, Price, Subject, Unit
from shared.database import Unknown


async def course_by_slug(session: AsyncSession, slug: str) -> Course:
    """Return the course with this slug.

    :raises Unknown: 404
    """
    course = await session.scalar(select(Course).where(Course.slug == slug))
    if course is None:
        raise Unknown(f"no course {slug}")
    return course


async def course_ids_of_subject(session: AsyncSession, subject_id: UUID, after: UUID, *, limit: int) -> Sequence[UUID]:
    """Return up to `limit` courses, in the order of ids from `after` on, whose version on sale is of the subject."""
    current = (CourseVersion.course_id == Course.course_id) & (
        CourseVersion.course_version_id == Course.current_version_id
    )
    statement = (
        select(CourseVersion.course_id)
        .join(Course, current)
        .where(CourseVersion.subject_id == subject_id, CourseVersion.course_id > after)
        .order_by(CourseVersion.course_id)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


def renamed_subjects() -> Select[UUID]:
    """Return the statement for subjects some of whose courses have the old name in their listings."""
    return select(Subject.subject_id).where(Subject.renewed_up_to.is_not(None)).order_by(Subject.subject_id)


def drafts() -> Select[Any]:  # Any: rows of CourseVersion
    return select(CourseVersion).where(CourseVersion.published_at.is_(None))


async def draft_of(session: AsyncSession, course_id: UUID) -> CourseVersion | None:
    return await session.scalar(drafts().where(CourseVersion.course_id == course_id))


async def version_of(session: AsyncSession, course_id: UUID, version: int) -> CourseVersion:
    """Return this version of the course.

    :raises Unknown: 404
    """
    found = await session.scalar(
        select(CourseVersion).where(CourseVersion.course_id == course_id, CourseVersion.version == version)
    )
    if found is None:
        raise Unknown(f"no version {version} of course {course_id}")
    return found


async def units_of(session: AsyncSession, course_version_id: UUID) -> Sequence[Unit]:
    statement = select(Unit).where(Unit.course_version_id == course_version_id).order_by(Unit.position)
    return (await session.scalars(statement)).all()


async def prices_of(session: AsyncSession, course_id: UUID) -> Sequence[Price]:
    statement = select(Price).where(Price.course_id == course_id).order_by(Price.valid_from)
    return (await session.scalars(statement)).all()


async def text_of(session: AsyncSession, version: CourseVersion) -> domain.CourseText:
    """Return the whole text of a version as an editor wrote it."""
    subject = await session.get(Subject, version.subject_id) if version.subject_id else None
    institution = await session.get(Institution, version.institution_id) if version.institution_id else None
    return domain.CourseText(
        title=version.title,
        subject=subject.slug if subject else None,
        institution=institution.slug if institution else None,
        summary=version.summary,
        description=version.description,
        credits=version.credits,
        level=version.level,
        weeks=version.weeks,
        hours_min=version.hours_min,
        hours_max=version.hours_max,
        prerequisites=version.prerequisites,
        criteria=version.criteria,
        outcomes=version.outcomes,
        skills=version.skills,
        units=[
            domain.UnitText(unit.position, unit.title, unit.minutes, unit.objectives, unit.text)
            for unit in await units_of(session, version.course_version_id)
        ],
    )
