"""What is issued: badges, transcripts, status lists, keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials import tables
from credentials.domain.badges import Achievement, Due, skills
from credentials.queries.people import confirmed_email
from shared.database import Database, HotStatement

# PostgreSQL's own names of a row's version: whoever writes the row, in whatever way, changes them.
_REVISION: Final = HotStatement("""
select concat_ws(' ', badge.xmin, badge.ctid, award.xmin, award.ctid, place.xmin, place.ctid, (
  select max(greatest(created_at, activated_at, retired_at, compromised_at)) from signing_keys
), (
  select concat_ws(' ', other.xmin, other.ctid, its_place.xmin, its_place.ctid)
  from badges other
  join badge_places its_place on its_place.list_number = other.list_number and its_place.list_index = other.list_index
  where badge.revoked_at is not null and other.credit_id = badge.credit_id and other.revoked_at is null
)) as revision
from badges badge
left join awards award on award.award_id = badge.award_id
left join badge_places place on place.list_number = badge.list_number and place.list_index = badge.list_index
where badge.badge_id = :badge_id
""")


@dataclass(frozen=True)
class DueBadge:
    """A badge to sign, what it recognises, and its holder's confirmed address; None where there is none."""

    badge: tables.Badge
    achievement: tables.Achievement
    email: str | None


@dataclass(frozen=True)
class Waiting:
    for_course: int
    for_holder: int
    since: datetime | None


async def badge_revision(database: Database, badge_id: UUID) -> str | None:
    """Differs once anything was written that a badge's verification page tells of; None for no badge."""
    found = await _REVISION.row(database, badge_id=badge_id)
    return None if found is None else found["revision"]


async def badge_of_credit_given_back(session: AsyncSession, badge_id: UUID) -> tables.Badge | None:
    """The signed badge that the credit of a revoked one has by now; None where that was not given back."""
    revoked, badge = aliased(tables.Badge), tables.Badge
    statement = (
        select(badge)
        .join(revoked, revoked.credit_id == badge.credit_id)
        .where(
            revoked.badge_id == badge_id,
            revoked.revoked_at.is_not(None),
            badge.revoked_at.is_(None),
            badge.document.is_not(None),
        )
    )
    return await session.scalar(statement)


async def badges_of(session: AsyncSession, learner_id: UUID) -> Sequence[tables.Badge]:
    statement = (
        select(tables.Badge)
        .where(tables.Badge.learner_id == learner_id)
        .order_by(tables.Badge.awarded_at, tables.Badge.badge_id)
    )
    return (await session.scalars(statement)).all()


async def badge_names(session: AsyncSession, badges: Sequence[tables.Badge]) -> dict[UUID, str]:
    """Achievement id -> its name, for those known."""
    wanted = {badge.achievement_id for badge in badges}
    rows = await session.execute(
        select(tables.Achievement.achievement_id, tables.Achievement.name).where(
            tables.Achievement.achievement_id.in_(wanted)
        )
    )
    return {row.achievement_id: row.name for row in rows}


async def award_states(session: AsyncSession, badges: Sequence[tables.Badge]) -> dict[UUID, str]:
    wanted = [badge.award_id for badge in badges if badge.award_id is not None]
    rows = await session.execute(
        select(tables.Award.award_id, tables.Award.state).where(tables.Award.award_id.in_(wanted))
    )
    return {row.award_id: row.state for row in rows}


def due_badges() -> Select[UUID]:
    """Badges to sign, oldest first. Those whose course or holder is not known here yet wait; they hold up nobody."""
    badge, learner, person = tables.Badge, tables.Learner, tables.Person
    return (
        select(badge.badge_id)
        .join(tables.Achievement, tables.Achievement.achievement_id == badge.achievement_id)
        .join(learner, learner.learner_id == badge.learner_id)
        .outerjoin(person, person.learner_id == badge.learner_id)
        .where(is_due(), or_(person.learner_id.is_not(None), learner.anonymised_at.is_not(None)))
        .order_by(badge.badge_id)
    )


async def badges_to_sign(session: AsyncSession, badge_ids: Sequence[UUID]) -> list[DueBadge]:
    """Those of these that are due."""
    badge = tables.Badge
    rows = await session.execute(
        select(badge, tables.Achievement, confirmed_email())
        .join(tables.Achievement, tables.Achievement.achievement_id == badge.achievement_id)
        .outerjoin(tables.Person, tables.Person.learner_id == badge.learner_id)
        .where(badge.badge_id.in_(badge_ids), badge.badge_id.in_(due_badges()))
        .order_by(badge.badge_id)
    )
    return [DueBadge(row[0], row[1], row[2]) for row in rows]


async def holders_of(session: AsyncSession, badge_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Badge -> its holder's confirmed address as it is now. Until the transaction ends nobody of them moves."""
    badge, learner, person = tables.Badge, tables.Learner, tables.Person
    held = select(badge.learner_id).where(badge.badge_id.in_(badge_ids))
    lock = select(learner.learner_id).where(learner.learner_id.in_(held)).order_by(learner.learner_id)
    await session.execute(lock.with_for_update(read=True))
    rows = await session.execute(
        select(badge.badge_id, confirmed_email())
        .outerjoin(person, person.learner_id == badge.learner_id)
        .where(badge.badge_id.in_(badge_ids))
    )
    return {row[0]: row[1] for row in rows}


async def courses_of_badges(session: AsyncSession, badge_ids: Sequence[UUID]) -> dict[UUID, UUID | None]:
    """Badge -> the course it recognises; None for an award."""
    rows = await session.execute(
        select(tables.Badge.badge_id, tables.Achievement.course_id)
        .join(tables.Achievement, tables.Achievement.achievement_id == tables.Badge.achievement_id)
        .where(tables.Badge.badge_id.in_(badge_ids))
    )
    return {row.badge_id: row.course_id for row in rows}


def is_due() -> ColumnElement[bool]:
    """Nothing more is signed of a revoked badge, except what a lost key makes worthless: then it must say revoked."""
    badge = tables.Badge
    return and_(badge.due.is_not(None), or_(badge.revoked_at.is_(None), badge.due == Due.COMPROMISE))


async def waiting_badges(session: AsyncSession) -> Waiting:
    """Badges that cannot be signed yet, and since when the oldest waits."""
    badge, learner, person = tables.Badge, tables.Learner, tables.Person
    unknown_course = select(tables.Achievement).where(tables.Achievement.achievement_id == badge.achievement_id)
    known_holder = (
        select(learner.learner_id)
        .outerjoin(person, person.learner_id == learner.learner_id)
        .where(
            learner.learner_id == badge.learner_id,
            or_(person.learner_id.is_not(None), learner.anonymised_at.is_not(None)),
        )
    )
    row = (
        await session.execute(
            select(
                func.count().filter(~unknown_course.exists()),
                func.count().filter(~known_holder.exists()),
                func.min(badge.awarded_at).filter(or_(~unknown_course.exists(), ~known_holder.exists())),
            ).where(is_due())
        )
    ).one()
    return Waiting(row[0], row[1], row[2])


def _set_bits() -> CompoundSelect[int, int]:
    """(list, index) of every bit that is set: all places of revoked badges, and what corrections and records left."""
    badge, place = tables.Badge, tables.BadgePlace
    revoked = (
        select(place.list_number, place.list_index)
        .join(badge, badge.badge_id == place.badge_id)
        .where(badge.revoked_at.is_not(None))
    )
    return revoked.union(select(place.list_number, place.list_index).where(place.retired_at.is_not(None)))


async def revoked_places(session: AsyncSession, list_number: int) -> Sequence[int]:
    bits = _set_bits().subquery()
    return (await session.scalars(select(bits.c.list_index).where(bits.c.list_number == list_number))).all()


async def revoked_counts(session: AsyncSession) -> dict[int, int]:
    bits = _set_bits().subquery()
    rows = await session.execute(select(bits.c.list_number, func.count()).group_by(bits.c.list_number))
    return {row[0]: row[1] for row in rows}


async def is_taken_back(session: AsyncSession, list_number: int, index: int) -> bool:
    """Whether the bit of this place is set, or will be in the next list that is signed."""
    badge, place = tables.Badge, tables.BadgePlace
    statement = (
        select(or_(place.retired_at.is_not(None), badge.revoked_at.is_not(None)))
        .outerjoin(badge, badge.badge_id == place.badge_id)
        .where(place.list_number == list_number, place.list_index == index)
    )
    return bool(await session.scalar(statement))


async def live_place_of_record(session: AsyncSession, edition_id: UUID, record_id: UUID) -> tables.BadgePlace | None:
    """Of a learner record that stands."""
    place = tables.BadgePlace
    statement = select(place).where(
        place.edition_id == edition_id, place.record_id == record_id, place.retired_at.is_(None)
    )
    return await session.scalar(statement.execution_options(populate_existing=True))


async def places_taken(session: AsyncSession, list_number: int) -> int:
    statement = select(func.count()).where(tables.BadgePlace.list_number == list_number)
    return await session.scalar(statement) or 0


def achievement_of(row: tables.Achievement, url: str) -> Achievement:
    return Achievement(
        url=url,
        kind=row.kind,
        name=row.name,
        code=row.code,
        description=row.description,
        criteria=row.criteria,
        credits=row.credits,
        level=row.level,
        skills=skills(row.skills["items"]),
    )
