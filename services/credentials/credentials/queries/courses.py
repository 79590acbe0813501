"""What can be studied: courses on sale at their present price, and what a learner studies now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from credentials.domain.planner import Course
from credentials.tables.courses import Enrolment, OfferedCourse, Price
from credentials.tables.facts import Achievement, Credit, DueDerivation, SubjectName

Subject = InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None]
_CLOCKS_APART: Final = timedelta(minutes=1)
"""More than the clocks of two replicas ever differ."""
_NO_AMOUNT, _NO_CURRENCY = literal(0), literal("")


@dataclass(frozen=True)
class CourseOnFile:
    """A course as a plan needs it and as a person recognises it. `currency` is None where it has no price now."""

    course: Course
    course_id: UUID
    code: str
    title: str
    institution_name: str
    currency: str | None


async def on_sale(session: AsyncSession, at: datetime) -> list[CourseOnFile]:
    """Return every course that can be bought at that instant, at its price, under the subjects' present names."""
    offered, price = OfferedCourse, Price
    latest = (
        select(price.amount_minor, price.currency)
        .where(price.course_id == offered.course_id, price.valid_from <= at)
        .order_by(price.valid_from.desc(), price.price_id.desc())
        .limit(1)
        .lateral()
    )
    statement = (
        _courses(at, latest.c.amount_minor, latest.c.currency)
        .join(latest, latest.c.amount_minor > 0)
        .where(offered.withdrawn_at.is_(None))
    )
    rows = await session.execute(statement)
    return [_on_file(row[0], row[1], row[2], row[3]) for row in rows]


async def studied_by(session: AsyncSession, learner_id: UUID, at: datetime) -> list[CourseOnFile]:
    """Return the courses of the learner's enrolments that neither ended nor gave credit yet, each course once."""
    offered, enrolment = OfferedCourse, Enrolment
    credited = select(Credit.enrolment_id).where(Credit.learner_id == learner_id, Credit.enrolment_id.is_not(None))
    statement = _courses(at).where(
        offered.course_id.in_(
            select(enrolment.course_id).where(
                enrolment.learner_id == learner_id,
                enrolment.activated_at.is_not(None),
                enrolment.ended_at.is_(None),
                enrolment.enrolment_id.not_in(credited),
            )
        )
    )
    return [_on_file(row[0], row[1], row[2], row[3], enrolled=True) for row in await session.execute(statement)]


async def courses_by_id(session: AsyncSession, ids: Iterable[UUID], at: datetime) -> Mapping[UUID, CourseOnFile]:
    """Return those of the courses that are known, on sale or not, by id."""
    statement = _courses(at).where(OfferedCourse.course_id.in_(list(ids)))
    return {row[0].course_id: _on_file(row[0], row[1], row[2], row[3]) for row in await session.execute(statement)}


async def subjects_there_are(session: AsyncSession, at: datetime) -> set[str]:
    """Return the present names of all subjects in which a course was ever offered."""
    offered = OfferedCourse
    one = (
        select(offered.subject_id, offered.subject_name).where(offered.course_version_id.is_not(None)).distinct().cte()
    )
    renamed = SubjectName
    named = (
        select(renamed.award_name)
        .where(renamed.subject_id == one.c.subject_id, renamed.effective_from <= at)
        .order_by(renamed.effective_from.desc())
        .limit(1)
        .scalar_subquery()
    )
    return set(await session.scalars(select(func.coalesce(named, one.c.subject_name))))


def known_everywhere(now: datetime) -> datetime:
    """Return an instant that has passed by the clock of every replica."""
    return now - _CLOCKS_APART


def renamed_subjects(now: datetime) -> Select[UUID]:
    """Select subjects with a new name whose holders are not marked as due yet."""
    name = SubjectName
    due = select(name.subject_id).where(name.holders_due, name.effective_from <= known_everywhere(now))
    return due.order_by(name.subject_id)


def courses_to_note() -> Select[UUID]:
    """Select course versions whose holders are not marked as due yet."""
    achievement = Achievement
    return select(achievement.achievement_id).where(achievement.holders_due).order_by(achievement.achievement_id)


def due_derivations() -> Select[UUID]:
    """Select learners who are marked as due to be derived anew."""
    return select(DueDerivation.learner_id).order_by(DueDerivation.learner_id)


def present_name(subject_id: Subject, at: datetime) -> ScalarSelect[str]:
    """Select the award name that a subject has by now, if it was renamed."""
    renamed = SubjectName
    return (
        select(renamed.award_name)
        .where(renamed.subject_id == subject_id, renamed.effective_from <= at)
        .order_by(renamed.effective_from.desc())
        .limit(1)
        .scalar_subquery()
    )


def _courses(
    at: datetime, amount_minor: ColumnElement[int] = _NO_AMOUNT, currency: ColumnElement[str] = _NO_CURRENCY
) -> Select[OfferedCourse, str, int, str]:
    offered = OfferedCourse
    subject = func.coalesce(present_name(offered.subject_id, at), offered.subject_name)
    return select(offered, subject, amount_minor, currency).where(offered.course_version_id.is_not(None))


def _on_file(
    row: OfferedCourse, subject: str, amount_minor: int, currency: str, *, enrolled: bool = False
) -> CourseOnFile:
    return CourseOnFile(
        course=Course(
            id=str(row.course_id),
            family=row.family or "",
            subject=subject,
            credits=row.credits or 0,
            level=row.level or 0,
            price_minor=amount_minor,
            weeks=row.weeks or 0,
            enrolled=enrolled,
            on_sale=not enrolled,
        ),
        course_id=row.course_id,
        code=row.code or "",
        title=row.title or "",
        institution_name=row.institution_name or "",
        currency=currency or None,
    )
