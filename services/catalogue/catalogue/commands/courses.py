"""Commands on courses: draft, publish in frozen versions, set prices, withdraw.

Each locks the course's row first, so that two editors' commands on one course run one after the other.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.commands.announcements import announce_materials, announce_price, announce_version
from catalogue.commands.listings import renew_listings
from catalogue.commands.writing import write
from catalogue.queries.rows import course_by_slug, draft_of, prices_of, text_of, units_of
from catalogue.tables import Course, CourseVersion, Institution, Price, Subject, Unit
from shared.clock import instant_after
from shared.database import fetch, now
from shared.events.catalogue import CourseWithdrawn
from shared.ids import new_id
from shared.messaging.history import restored_at
from shared.messaging.outbox import publish


async def create_course(
    session: AsyncSession, *, slug: str, code: str, module_family: str, written: domain.CourseText
) -> CourseVersion:
    """Create a course with its first draft.

    :raises SlugTaken: 409, with the id and state of the course that has the slug, so that a loader can go on
    :raises CodeTaken: 409
    """
    domain.check_course_slug(slug)
    course = Course(
        course_id=new_id(),
        slug=slug,
        code=code,
        module_family=module_family,
        state="draft",
        created_at=now(session),
    )
    try:
        await write(
            session,
            course,
            {
                "uq_courses_slug": domain.SlugTaken(f'another course is called "{slug}"'),
                "uq_courses_code": domain.CodeTaken(f'another course has the code "{code}"'),
            },
        )
    except domain.SlugTaken as taken:
        existing = await course_by_slug(session, slug)
        taken.extras |= {"course_id": str(existing.course_id), "state": existing.state}
        raise
    return await _new_draft(session, course.course_id, 1, written)


async def start_version(session: AsyncSession, course_id: UUID) -> CourseVersion:
    """Begin a draft as a copy of the version on sale.

    :raises NotPublished: 409
    :raises CourseIsWithdrawn: 409
    :raises DraftExists: 409
    :raises NotOfferedAtThatSize: 422, the regulations have changed since
    """
    course = await fetch(session, Course, course_id, lock=True)
    if course.current_version_id is None:
        raise domain.NotPublished("the course still has its first draft")
    _refuse_withdrawn(course)
    if await draft_of(session, course_id) is not None:
        raise domain.DraftExists("the course already has a draft")
    on_sale = await fetch(session, CourseVersion, course.current_version_id)
    written = await text_of(session, on_sale)
    return await _new_draft(session, course_id, on_sale.version + 1, written)


async def revise_draft(
    session: AsyncSession, course_id: UUID, written: domain.CourseText, *, revision: int | None = None
) -> CourseVersion:
    """Replace all of the draft's text.

    :raises NoDraft: 409
    :raises DraftChanged: 412, `revision` is given and not the draft's present one
    """
    await fetch(session, Course, course_id, lock=True)
    draft = await draft_of(session, course_id)
    if draft is None:
        raise domain.NoDraft("there is no draft; start a new version")
    if revision is not None and revision != draft.revision:
        raise domain.DraftChanged("the draft was saved meanwhile; read it again", revision=draft.revision)
    await _write(session, draft, written)
    draft.revision += 1
    await session.execute(delete(Unit).where(Unit.course_version_id == draft.course_version_id))
    _add_units(session, draft.course_version_id, written.units)
    await session.flush()
    return draft


async def publish_course(session: AsyncSession, course_id: UUID, *, by: str) -> CourseVersion:
    """Freeze the draft, put it on sale and publish the events about it.

    :raises CourseIsWithdrawn: 409
    :raises NoDraft: 409
    :raises Conflict: 409, as `domain.check_ready` raises
    :raises NotOfferedAtThatSize: 422, history was lost since the draft was begun, and the regulations changed
    """
    course = await fetch(session, Course, course_id, lock=True)
    _refuse_withdrawn(course)
    draft = await draft_of(session, course_id)
    if draft is None:
        raise domain.NoDraft("there is no draft to publish")
    draft = await _never_announced(session, draft)
    if (
        draft.subject_id is not None
    ):  # locked against a renaming until this is committed; the renaming then sees this course
        await session.get(Subject, draft.subject_id, with_for_update={"read": True}, populate_existing=True)
    at = now(session)
    units = await units_of(session, draft.course_version_id)
    prices = await prices_of(session, course_id)
    offered = [domain.PriceText(price.amount_minor, price.currency, price.valid_from) for price in prices]
    domain.check_ready(
        domain.Readiness(
            units=len(units),
            outcomes=len(draft.outcomes),
            has_price=domain.price_at(offered, at) is not None,
            has_subject=draft.subject_id is not None,
            has_institution=draft.institution_id is not None,
        ),
        domain.in_force(at),
    )
    first = course.current_version_id is None
    before = None if first else (await fetch(session, CourseVersion, course.current_version_id)).published_at
    draft.published_at, draft.published_by = instant_after(before, at), by
    await session.flush()
    course.state, course.current_version_id = "published", draft.course_version_id
    await announce_version(session, course, draft, first=first)
    announce_materials(session, draft, units)
    if first:  # prices set after the first publication are announced at once
        for price in prices:
            announce_price(session, price)
    await renew_listings(session, [course_id])
    return draft


async def withdraw_course(session: AsyncSession, course_id: UUID, *, by: str) -> Course:
    """End a course's sale for good; learners who bought it go on.

    :raises NotPublished: 409
    :raises CourseIsWithdrawn: 409
    """
    course = await fetch(session, Course, course_id, lock=True)
    if course.state == "draft":
        raise domain.NotPublished("a course that is not on sale cannot be withdrawn")
    _refuse_withdrawn(course)
    course.state, course.withdrawn_at, course.withdrawn_by = "withdrawn", now(session), by
    publish(session, CourseWithdrawn(course_id=course_id, withdrawn_at=now(session)))
    await renew_listings(session, [course_id])
    return course


async def set_price(session: AsyncSession, course_id: UUID, price: domain.PriceText, *, by: str) -> Price:
    """Set the price of a course from an instant on.

    :raises CourseIsWithdrawn: 409
    :raises OtherCurrency: 422
    :raises PriceInThePast: 409
    :raises PriceDateTaken: 409
    """
    course = await fetch(session, Course, course_id, lock=True)
    _refuse_withdrawn(course)
    at = now(session)
    published = course.state == "published"
    domain.check_price(domain.in_force(at), price.currency)
    domain.check_price_date(price.valid_from, at, published=published)
    row = Price(
        price_id=new_id(),
        course_id=course_id,
        amount_minor=price.amount_minor,
        currency=price.currency,
        valid_from=price.valid_from,
        set_at=at,
        set_by=by,
    )
    taken = domain.PriceDateTaken("the course already has a price from that instant on")
    await write(session, row, {"uq_prices_course_id_valid_from": taken})
    if published:
        announce_price(session, row)
    return row


def _refuse_withdrawn(course: Course) -> None:
    if course.state == "withdrawn":
        raise domain.CourseIsWithdrawn("the course has been withdrawn from sale")


async def _new_draft(session: AsyncSession, course_id: UUID, version: int, written: domain.CourseText) -> CourseVersion:
    draft = CourseVersion(
        course_version_id=new_id(),
        course_id=course_id,
        version=version,
        revision=1,
        created_at=now(session),
    )
    await _write(session, draft, written)
    session.add(draft)
    await session.flush()
    _add_units(session, draft.course_version_id, written.units)
    await session.flush()
    return draft


async def _never_announced(session: AsyncSession, draft: CourseVersion) -> CourseVersion:
    """Return the draft, or, where history was lost since it was begun, a copy with an id of its own in its place.

    It may have been published in what is lost, and others keep what they were told then of its id for good.
    """
    lost = await restored_at(session)
    if lost is None or lost < draft.created_at:
        return draft
    written = await text_of(session, draft)
    await session.execute(delete(Unit).where(Unit.course_version_id == draft.course_version_id))
    await session.delete(draft)
    await session.flush()
    return await _new_draft(session, draft.course_id, draft.version, written)


async def _write(session: AsyncSession, draft: CourseVersion, written: domain.CourseText) -> None:
    domain.check_text(written, domain.in_force(now(session)))
    draft.subject_id = await _subject_id(session, written.subject)
    draft.institution_id = await _institution_id(session, written.institution)
    draft.title, draft.summary, draft.description = written.title, written.summary, written.description
    draft.credits, draft.level, draft.weeks = written.credits, written.level, written.weeks
    draft.hours_min, draft.hours_max = written.hours_min, written.hours_max
    draft.prerequisites, draft.criteria = written.prerequisites, written.criteria
    draft.outcomes = [dict(outcome) for outcome in written.outcomes]
    draft.skills = [dict(skill) for skill in written.skills]


async def _subject_id(session: AsyncSession, slug: str | None) -> UUID | None:
    if slug is None:
        return None
    found = await session.scalar(select(Subject.subject_id).where(Subject.slug == slug))
    if found is None:
        raise domain.UnknownSubject(f'there is no subject "{slug}"')
    return found


async def _institution_id(session: AsyncSession, slug: str | None) -> UUID | None:
    if slug is None:
        return None
    found = await session.scalar(select(Institution.institution_id).where(Institution.slug == slug))
    if found is None:
        raise domain.UnknownInstitution(f'there is no institution "{slug}"')
    return found


def _add_units(session: AsyncSession, version_id: UUID, units: Iterable[domain.UnitText]) -> None:
    session.add_all(
        Unit(
            unit_id=new_id(),
            course_version_id=version_id,
            position=unit.position,
            title=unit.title,
            minutes=unit.minutes,
            objectives=list(unit.objectives),
            text=unit.text,
        )
        for unit in units
    )
