"""What follows from a learner's facts: badges, awards under review, eligibility, documents.

Derived anew from all facts each time one arrives, one learner at a time, so that the order of arrival never
changes the result and nothing is ever added up.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import and_, case, delete, exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import documents, emails, issuing, reviews
from credentials.domain import eligibility
from credentials.domain.holds import PAYMENT_LOST, REFUNDED
from credentials.queries.courses import known_everywhere
from credentials.queries.holds import is_held, is_unpaid
from credentials.queries.records import Record, record_of
from credentials.tables.awards import Award, CreditHold
from credentials.tables.courses import Enrolment
from credentials.tables.facts import Achievement, Credit, DueDerivation, SubjectName
from credentials.tables.issued import Eligibility
from shared.database import advisory_lock, fetch, shared_advisory_lock
from shared.database import now as now_of
from shared.events.credentials import AwardEligibilityChanged, TitlesChanged
from shared.messaging import publish

Transactions = Callable[[], AbstractAsyncContextManager[AsyncSession]]

SUBJECT_NAMES: Final = ("subject names",)
"""An advisory lock: shared by every rebuild of a learner, exclusive for noting whom a new name concerns."""


async def rebuild(session: AsyncSession, learner_id: UUID) -> Record:
    """Derive everything from the learner's facts, and return these. The caller holds the learner's advisory lock."""
    await session.flush()
    await shared_advisory_lock(session, *SUBJECT_NAMES)
    now = now_of(session)
    held, released = await _settle_holds(session, learner_id, now)
    record = await record_of(session, learner_id, now)
    for line in record.lines:
        if line.hold is not None and line.credit.credit_id in held:
            await emails.email_credit_held(session, line.credit, line.hold)
        if line.credit.credit_id in released:
            await emails.email_credit_released(session, line.credit, released[line.credit.credit_id])
        credit, badge, revocation = line.credit, line.badge, line.revocation
        # Credit recognised from elsewhere has its own institution's certificate, and no badge of ours.
        if badge is None and revocation is None and credit.course_version_id is not None:
            await issuing.order_badge(
                session,
                learner_id,
                credit.course_version_id,
                awarded_at=credit.ratified_at,
                credit_id=credit.credit_id,
            )
        if badge is not None and revocation is not None and badge.revoked_at is None:
            await issuing.revoke_badge(session, badge, revocation.reason_code, now)
    await reviews.review_awards(session, record, now)
    await _announce_eligibility(session, record, now)
    await documents.issue(session, record, now)
    return record


async def _settle_holds(
    session: AsyncSession, learner_id: UUID, now: datetime
) -> tuple[AbstractSet[UUID], Mapping[UUID, CreditHold]]:
    """Hold credit whose money went back, and release credit whose money is there again.

    Returns the ids of the credit that is held now and was not before, and the holds that ended, by credit id.
    """
    credit, enrolment, hold = Credit, Enrolment, CreditHold
    of_unpaid = enrolment.enrolment_id == credit.enrolment_id, credit.learner_id == learner_id, is_unpaid()
    columns = ("credit_id", "learner_id", "reason_code", "held_at", "refund_by")
    why = case((enrolment.end_reason == REFUNDED, REFUNDED), else_=PAYMENT_LOST)
    unpaid = select(credit.credit_id, credit.learner_id, why, enrolment.ended_at, enrolment.refund_by).where(*of_unpaid)
    statement = insert(hold).from_select(columns, unpaid)
    lost_again = hold.released_at.is_not(None), hold.released_by.is_(None)
    begun = await session.execute(
        statement.on_conflict_do_update(
            index_elements=[hold.credit_id],
            set_={
                **{name: statement.excluded[name] for name in ("reason_code", "held_at", "refund_by")},
                **dict.fromkeys(("released_at", "release_reason")),
            },
            where=and_(*lost_again),
        ).returning(hold.credit_id)
    )
    held = set(begun.scalars())
    of_paid = (
        hold.learner_id == learner_id,
        is_held(),
        ~exists().where(credit.credit_id == hold.credit_id, *of_unpaid),
    )
    ended = update(hold).where(*of_paid).values(released_at=now, release_reason="money_restored").returning(hold)
    return held, {row.credit_id: row for row in await session.scalars(ended)}


async def note_holders(session: AsyncSession, subject_id: UUID) -> None:
    """Mark everybody who holds credit of a subject as due, since it has another name.

    Waits until no transaction derives by the old name any more.
    """
    await advisory_lock(session, *SUBJECT_NAMES)
    holders = select(Credit.learner_id).where(Credit.subject_id == subject_id).distinct()
    due = insert(DueDerivation).from_select(["learner_id"], holders)
    await session.execute(due.on_conflict_do_nothing())
    name = SubjectName
    in_force = name.effective_from <= known_everywhere(now_of(session))
    await session.execute(update(name).where(name.subject_id == subject_id, in_force).values(holders_due=False))


async def note_taught(session: AsyncSession, course_version_id: UUID) -> None:
    """Mark everybody who holds credit of a course version as due, since it became known where it is taught."""
    await advisory_lock(session, *SUBJECT_NAMES)
    credit, achievement = Credit, Achievement
    holders = select(credit.learner_id).where(credit.course_version_id == course_version_id).distinct()
    due = insert(DueDerivation).from_select(["learner_id"], holders)
    await session.execute(due.on_conflict_do_nothing())
    noted = update(achievement).where(achievement.achievement_id == course_version_id)
    await session.execute(noted.values(holders_due=False))


async def derive_due(session: AsyncSession, learner_id: UUID) -> None:
    """Rebuild a learner who is marked as due."""
    await advisory_lock(session, "learner", learner_id)
    await shared_advisory_lock(session, *SUBJECT_NAMES)  # before the row, as note_holders does
    due = DueDerivation
    if await session.scalar(delete(due).where(due.learner_id == learner_id).returning(due.learner_id)):
        await rebuild(session, learner_id)


async def look_at(session: AsyncSession, award_id: UUID) -> None:
    """Rebuild the learner of an award that was not looked at yet."""
    award = await fetch(session, Award, award_id)
    await advisory_lock(session, "learner", award.learner_id)
    await session.refresh(award)
    if not award.looked_at:
        await rebuild(session, award.learner_id)


async def _announce_eligibility(session: AsyncSession, record: Record, now: datetime) -> None:
    titles = _titles(record, now)
    announced = await session.get(Eligibility, record.learner_id)
    if announced is None:
        announced = Eligibility(learner_id=record.learner_id, sequence=0, titles={})
        session.add(announced)
    changes = tuple(
        TitlesChanged(
            level=level,
            titles_added=tuple(title for title in titles[level] if title not in announced.titles.get(level, ())),
            titles_removed=tuple(title for title in announced.titles.get(level, ()) if title not in titles[level]),
        )
        for level in titles
        if set(titles[level]) != set(announced.titles.get(level, ()))
    )
    if changes:
        announced.sequence, announced.titles = announced.sequence + 1, titles
        publish(
            session,
            AwardEligibilityChanged(
                learner_id=record.learner_id, sequence=announced.sequence, levels=changes, changed_at=now
            ),
        )


async def differing(session: AsyncSession, transactions: Transactions, learner_ids: Iterable[UUID]) -> list[UUID]:
    """Return those of these learners whose badges, titles or documents are not what their facts give when derived anew.

    Facts arrive between two statements, so a learner who seems to differ is compared once more under their advisory
    lock.
    """
    return [
        learner_id
        for learner_id in learner_ids
        if await _differs(session, learner_id) and await _differs_in_turn(transactions, learner_id)
    ]


async def _differs_in_turn(transactions: Transactions, learner_id: UUID) -> bool:
    async with transactions() as session:
        await advisory_lock(session, "learner", learner_id)
        return await _differs(session, learner_id)


async def _differs(session: AsyncSession, learner_id: UUID) -> bool:
    now = now_of(session)
    record = await record_of(session, learner_id, now)
    misbadged = any(
        (line.badge is not None and line.badge.revoked_at is None) != (line.revocation is None)
        for line in record.lines
        if line.credit.course_version_id is not None  # recognised credit has no badge of ours
    )
    announced = await session.get(Eligibility, learner_id)
    titles = _titles(record, now)
    stale = any(set(titles[level]) != set(announced.titles.get(level, ()) if announced else ()) for level in titles)
    return misbadged or stale or await documents.are_stale(session, record)


def _titles(record: Record, now: datetime) -> dict[str, list[str]]:
    """Return the titles that may be claimed, by level."""
    found = eligibility.by_level(record.facts(), record.live_awards(), record.versions(now))
    return {level: list(titles) for level, titles in found.items()}
