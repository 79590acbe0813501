"""The copy of what is on sale and of who studies it, whatever the order of arrival."""

import itertools
from datetime import timedelta

from sqlalchemy import update

from credentials.queries import courses
from credentials.tables.courses import OfferedCourse
from shared.events.catalogue import CourseUpdated, CourseWithdrawn
from shared.events.enrolment import EnrolmentCancelled
from shared.ids import new_id

from .announcements import BEFORE, DS, LAW, activated, consume, course, credit, named, renamed
from .courses import priced


def withdrawn(code: str) -> CourseWithdrawn:
    return CourseWithdrawn(course_id=named("course", code), withdrawn_at=BEFORE)


async def on_sale(session, clock) -> dict[str, tuple[str, int]]:
    found = await courses.on_sale(session, clock())
    return {one.code: (one.course.subject, one.course.price_minor) for one in found}


async def test_a_course_is_on_sale_once_it_has_a_price(service, session, clock) -> None:
    for order in itertools.permutations([course("DS01", DS), priced("DS01"), priced("DS01", 59500, clock.at)]):
        await consume(session, *order)
        assert await on_sale(session, clock) == {"DS01": (DS, 59500)}
    await consume(session, priced("DS01", 1, clock.at + timedelta(days=1)), course("FREE01", DS))
    assert await on_sale(session, clock) == {"DS01": (DS, 59500)}


async def test_a_withdrawn_course_is_not_planned_with_whatever_arrives_last(service, session, clock) -> None:
    for order in itertools.permutations([course("LAW01", LAW), priced("LAW01"), withdrawn("LAW01")]):
        await consume(session, *order)
        assert await on_sale(session, clock) == {}


async def test_the_newest_version_is_the_one_on_sale(service, session, clock) -> None:
    newer = CourseUpdated(
        **(dict(course("DS01", DS)) | {"version": 2, "title": "Newer", "course_version_id": new_id()})
    )
    await consume(session, newer, course("DS01", DS), priced("DS01"))
    (found,) = await courses.on_sale(session, clock())
    assert found.title == "Newer"


async def test_what_a_catalogue_publishes_after_it_lost_history_is_on_sale_and_not_what_was_lost(
    service, session, clock
) -> None:
    """Versions 2 and 3 were lost; then another version 2 was published."""

    def version(number: int, title: str, days: int) -> CourseUpdated:
        changes = {"version": number, "title": title, "published_at": BEFORE + timedelta(days=days)}
        return CourseUpdated.model_validate(dict(course("DS01", DS)) | changes | {"course_version_id": new_id()})

    events = [version(2, "Lost", 1), version(3, "Lost, too", 2), version(2, "Anew", 3)]
    await consume(session, priced("DS01"))
    for number, order in enumerate(itertools.permutations(events)):
        await consume(session, *order)
        (found,) = await courses.on_sale(session, clock())
        assert found.title == "Anew", number
        await session.execute(update(OfferedCourse).values(version=1, published_at=BEFORE, title="First"))


async def test_subjects_are_called_by_their_present_names(service, session, clock) -> None:
    await consume(session, course("LAW01", LAW), priced("LAW01"), renamed(LAW, "Law & Society"))
    assert await on_sale(session, clock) == {"LAW01": ("Law & Society", 49500)}


async def test_what_is_studied_counts_until_it_ends_or_brings_credit(service, session, clock) -> None:
    learner = new_id()

    async def studied() -> list[str]:
        return [one.code for one in await courses.studied_by(session, learner, clock())]

    begun = activated(learner, "mc-regs-2026.2", code="DS01")
    await consume(session, course("DS01", DS), begun)
    assert await studied() == ["DS01"]
    await consume(session, credit(learner, "DS01", DS, enrolment_id=begun.enrolment_id))
    assert await studied() == []
    other = activated(learner, "mc-regs-2026.2", code="DS02")
    end = EnrolmentCancelled(
        enrolment_id=other.enrolment_id,
        learner_id=learner,
        course_id=other.course_id,
        reason_code="refunded",
        sequence=2,
        cancelled_at=BEFORE,
    )
    await consume(session, course("DS02", DS), end, other)
    assert await studied() == []
