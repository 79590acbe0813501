"""What is issued: badges, status entries and status lists."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials.domain.badges import DUE_THOUGH_REVOKED, Achievement, skills
from credentials.queries.people import confirmed_email, keep_as_they_are
from credentials.tables import facts
from credentials.tables.awards import Award
from credentials.tables.issued import AssignedStatusEntry, Badge
from credentials.tables.people import Learner, Person
from shared.database import Database, RawStatement

# xmin and ctid name a row's version in PostgreSQL: any write to the row changes them.
_REVISION: Final = RawStatement("""
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
    """A badge to sign, what it recognises, and its holder's confirmed address (None where there is none)."""

    badge: Badge
    achievement: facts.Achievement
    email: str | None


@dataclass(frozen=True)
class Waiting:
    """How many badges wait for their course, how many for their holder's name, and since when the oldest waits."""

    for_course: int
    for_holder: int
    since: datetime | None


async def badge_revision(database: Database, badge_id: UUID) -> str | None:
    """Return a text that changes when anything a badge's verification page shows is written; None where there is no
    badge."""
    found = await _REVISION.row(database, badge_id=badge_id)
    return None if found is None else found["revision"]


async def badge_of_reinstated_credit(session: AsyncSession, badge_id: UUID) -> Badge | None:
    """Return the signed badge by which the credit of a revoked badge was given back; None where it was not."""
    revoked, badge = aliased(Badge), Badge
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


async def reviews_of_badges(session: AsyncSession, badge_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """Return since when the awards of these badges are under review, by badge id, for those that are."""
    badge, award = Badge, Award
    statement = (
        select(badge.badge_id, award.under_review_since)
        .join(award, award.award_id == badge.award_id)
        .where(badge.badge_id.in_(badge_ids), award.under_review_since.is_not(None))
    )
    return {badge_id: since for badge_id, since in await session.execute(statement) if since is not None}


async def badges_of(session: AsyncSession, learner_id: UUID) -> Sequence[Badge]:
    """Return a learner's badges, the oldest award first."""
    statement = select(Badge).where(Badge.learner_id == learner_id).order_by(Badge.awarded_at, Badge.badge_id)
    return (await session.scalars(statement)).all()


async def badge_names(session: AsyncSession, badges: Sequence[Badge]) -> dict[UUID, str]:
    """Return the names of the badges' achievements by achievement id, for those known."""
    wanted = {badge.achievement_id for badge in badges}
    rows = await session.execute(
        select(facts.Achievement.achievement_id, facts.Achievement.name).where(
            facts.Achievement.achievement_id.in_(wanted)
        )
    )
    return {row.achievement_id: row.name for row in rows}


async def award_states(session: AsyncSession, badges: Sequence[Badge]) -> dict[UUID, str]:
    """Return the states of the awards that these badges are for, by award id."""
    wanted = [badge.award_id for badge in badges if badge.award_id is not None]
    rows = await session.execute(select(Award.award_id, Award.state).where(Award.award_id.in_(wanted)))
    return {row.award_id: row.state for row in rows}


def due_badges() -> Select[UUID]:
    """Select badges to sign, oldest first. Those whose course or holder is not known here yet wait, and hold up no
    other."""
    badge, learner, person = Badge, Learner, Person
    return (
        select(badge.badge_id)
        .join(facts.Achievement, facts.Achievement.achievement_id == badge.achievement_id)
        .join(learner, learner.learner_id == badge.learner_id)
        .outerjoin(person, person.learner_id == badge.learner_id)
        .where(is_due(), or_(person.learner_id.is_not(None), learner.anonymised_at.is_not(None)))
        .order_by(badge.badge_id)
    )


async def badges_to_sign(session: AsyncSession, badge_ids: Sequence[UUID]) -> list[DueBadge]:
    """Return those of these badges that are due."""
    badge = Badge
    rows = await session.execute(
        select(badge, facts.Achievement, confirmed_email())
        .join(facts.Achievement, facts.Achievement.achievement_id == badge.achievement_id)
        .outerjoin(Person, Person.learner_id == badge.learner_id)
        .where(badge.badge_id.in_(badge_ids), badge.badge_id.in_(due_badges()))
        .order_by(badge.badge_id)
    )
    return [DueBadge(row[0], row[1], row[2]) for row in rows]


async def holders_of(session: AsyncSession, badge_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Return the confirmed address of each badge's holder, by badge id, and lock it until the transaction ends."""
    badge, person = Badge, Person
    await keep_as_they_are(session, select(badge.learner_id).where(badge.badge_id.in_(badge_ids)))
    rows = await session.execute(
        select(badge.badge_id, confirmed_email())
        .outerjoin(person, person.learner_id == badge.learner_id)
        .where(badge.badge_id.in_(badge_ids))
    )
    return {row[0]: row[1] for row in rows}


async def courses_of_badges(session: AsyncSession, badge_ids: Sequence[UUID]) -> dict[UUID, UUID | None]:
    """Return the course each badge recognises, by badge id; None for an award."""
    rows = await session.execute(
        select(Badge.badge_id, facts.Achievement.course_id)
        .join(facts.Achievement, facts.Achievement.achievement_id == Badge.achievement_id)
        .where(Badge.badge_id.in_(badge_ids))
    )
    return {row.badge_id: row.course_id for row in rows}


def is_due() -> ColumnElement[bool]:
    """Return a condition on badges: one is to be signed. A revoked one is only for the reasons in
    `DUE_THOUGH_REVOKED`."""
    badge = Badge
    return and_(badge.due.is_not(None), or_(badge.revoked_at.is_(None), badge.due.in_(DUE_THOUGH_REVOKED)))


async def waiting_badges(session: AsyncSession) -> Waiting:
    """Count the badges that cannot be signed yet."""
    badge, learner, person = Badge, Learner, Person
    unknown_course = select(facts.Achievement).where(facts.Achievement.achievement_id == badge.achievement_id)
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
    """Select (list, index) of every bit that is set: all status entries of revoked badges, and those that were
    retired."""
    badge, status_entry = Badge, AssignedStatusEntry
    revoked = (
        select(status_entry.list_number, status_entry.list_index)
        .join(badge, badge.badge_id == status_entry.badge_id)
        .where(badge.revoked_at.is_not(None))
    )
    return revoked.union(
        select(status_entry.list_number, status_entry.list_index).where(status_entry.retired_at.is_not(None))
    )


async def revoked_indices(session: AsyncSession, list_number: int) -> Sequence[int]:
    """Return the indices of the bits that are to be set in a list."""
    bits = _set_bits().subquery()
    return (await session.scalars(select(bits.c.list_index).where(bits.c.list_number == list_number))).all()


async def revoked_counts(session: AsyncSession) -> dict[int, int]:
    """Return how many bits are to be set, by list number."""
    bits = _set_bits().subquery()
    rows = await session.execute(select(bits.c.list_number, func.count()).group_by(bits.c.list_number))
    return {row[0]: row[1] for row in rows}


async def badges_before(session: AsyncSession, credit_id: UUID | None, award_id: UUID | None) -> int:
    """Return how many badges this credit or award has had: those stored here or, if more, as many as it was revoked."""
    badge, revocation = Badge, facts.Revocation
    of_ground = badge.credit_id == credit_id if credit_id is not None else badge.award_id == award_id
    had = select(func.count()).where(of_ground).scalar_subquery()
    revoked = select(func.count()).where(revocation.credit_id == credit_id).scalar_subquery()
    return await session.scalar(select(func.greatest(had, revoked))) or 0


async def is_taken_back(session: AsyncSession, list_number: int, index: int, badge_id: UUID | None) -> bool | None:
    """Return whether the bit of a status entry is set, or will be in the next list that is signed.

    None where the entry is not known as that of this badge or, without a badge, of a record.
    """
    badge, status_entry = Badge, AssignedStatusEntry
    statement = (
        select(status_entry.badge_id, or_(status_entry.retired_at.is_not(None), badge.revoked_at.is_not(None)))
        .outerjoin(badge, badge.badge_id == status_entry.badge_id)
        .where(status_entry.list_number == list_number, status_entry.list_index == index)
    )
    found = (await session.execute(statement)).one_or_none()
    return None if found is None or found[0] != badge_id else bool(found[1])


async def live_entry_of_record(session: AsyncSession, edition_id: UUID, record_id: UUID) -> AssignedStatusEntry | None:
    """Return the status entry of a learner record that is not retired, or None."""
    status_entry = AssignedStatusEntry
    statement = select(status_entry).where(
        status_entry.edition_id == edition_id, status_entry.record_id == record_id, status_entry.retired_at.is_(None)
    )
    return await session.scalar(statement.execution_options(populate_existing=True))


async def indices_taken(session: AsyncSession, list_number: int) -> int:
    """Return how many entries of a status list were ever drawn."""
    statement = select(func.count()).where(AssignedStatusEntry.list_number == list_number)
    return await session.scalar(statement) or 0


def achievement_of(row: facts.Achievement, url: str) -> Achievement:
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
