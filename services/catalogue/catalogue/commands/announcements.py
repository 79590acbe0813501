"""Publishing of events about rows of the catalogue."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.tables import Course, CourseVersion, Institution, Price, Subject, Unit
from shared.database import fetch
from shared.events.catalogue import (
    CoursePublished,
    CourseUpdated,
    MaterialsPublished,
    Outcome,
    PriceChanged,
    Skill,
)
from shared.events.catalogue import Unit as StudyUnit
from shared.messaging.outbox import publish


async def announce_version(session: AsyncSession, course: Course, version: CourseVersion, *, first: bool) -> None:
    """Publish CoursePublished for the first version of a course, CourseUpdated for a later one."""
    subject = await fetch(session, Subject, version.subject_id)
    institution = await fetch(session, Institution, version.institution_id)
    assert version.published_at is not None
    kind = CoursePublished if first else CourseUpdated
    publish(
        session,
        kind(
            course_id=course.course_id,
            course_version_id=version.course_version_id,
            version=version.version,
            slug=course.slug,
            code=course.code,
            title=version.title,
            description=version.description,
            subject_id=subject.subject_id,
            subject_name=subject.award_name,
            institution_id=institution.institution_id,
            institution_name=institution.name,
            credits=version.credits,
            level=version.level,
            module_family=course.module_family,
            weeks=version.weeks,
            criteria=version.criteria,
            outcomes=tuple(Outcome.model_validate(outcome) for outcome in version.outcomes),
            skills=tuple(Skill.model_validate(skill) for skill in version.skills),
            published_at=version.published_at,
        ),
    )


def announce_materials(session: AsyncSession, version: CourseVersion, units: Iterable[Unit]) -> None:
    publish(
        session,
        MaterialsPublished(
            course_id=version.course_id,
            course_version_id=version.course_version_id,
            units=tuple(
                StudyUnit(
                    unit_id=unit.unit_id,
                    position=unit.position,
                    title=unit.title,
                    minutes=unit.minutes,
                    objectives=tuple(unit.objectives),
                    text=unit.text,
                )
                for unit in units
            ),
        ),
    )


def announce_price(session: AsyncSession, price: Price) -> None:
    publish(
        session,
        PriceChanged(
            course_id=price.course_id,
            price_id=price.price_id,
            amount_minor=price.amount_minor,
            currency=price.currency,
            valid_from=price.valid_from,
            set_by=price.set_by,
        ),
    )
