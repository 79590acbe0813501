"""What follows from a learner's facts: badges, awards under review, eligibility, documents.

Derived anew from all facts each time one arrives, one learner at a time, so that the order of arrival never
changes the result and nothing is ever added up.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import documents, issuing, reviews
from credentials.domain import eligibility
from credentials.queries import Record
from shared.database import now as now_of
from shared.database import share_turns, take_turns
from shared.events.credentials import AwardEligibilityChanged, TitlesChanged
from shared.messaging import publish

SUBJECT_NAMES: Final = ("subject names",)
"""A turn shared by all that derive, and taken alone by who notes whom a new name concerns."""


async def derive(session: AsyncSession, learner_id: UUID) -> Record:
    """Draw every conclusion from the learner's facts, and give those. The caller has taken its turn on the learner."""
    await session.flush()
    await share_turns(session, *SUBJECT_NAMES)
    now = now_of(session)
    record = await queries.record_of(session, learner_id, now)
    for line in record.lines:
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


async def note_holders(session: AsyncSession, subject_id: UUID) -> None:
    """A subject has another name: whoever holds its credit is due. Waits for all that derive by the old one."""
    await take_turns(session, *SUBJECT_NAMES)
    holders = select(tables.Credit.learner_id).where(tables.Credit.subject_id == subject_id).distinct()
    due = insert(tables.DueDerivation).from_select(["learner_id"], holders)
    await session.execute(due.on_conflict_do_nothing())
    name = tables.SubjectName
    in_force = name.effective_from <= queries.known_everywhere(now_of(session))
    await session.execute(update(name).where(name.subject_id == subject_id, in_force).values(holders_due=False))


async def derive_due(session: AsyncSession, learner_id: UUID) -> None:
    """Derive a learner anew who is due."""
    await take_turns(session, "learner", learner_id)
    await share_turns(session, *SUBJECT_NAMES)  # before the row: who notes holders waits for both
    due = tables.DueDerivation
    if await session.scalar(delete(due).where(due.learner_id == learner_id).returning(due.learner_id)):
        await derive(session, learner_id)


async def _announce_eligibility(session: AsyncSession, record: Record, now: datetime) -> None:
    titles = _titles(record, now)
    told = await session.get(tables.Eligibility, record.learner_id)
    if told is None:
        told = tables.Eligibility(learner_id=record.learner_id, sequence=0, titles={})
        session.add(told)
    changes = tuple(
        TitlesChanged(
            level=level,
            titles_added=tuple(title for title in titles[level] if title not in told.titles.get(level, ())),
            titles_removed=tuple(title for title in told.titles.get(level, ()) if title not in titles[level]),
        )
        for level in titles
        if set(titles[level]) != set(told.titles.get(level, ()))
    )
    if changes:
        told.sequence, told.titles = told.sequence + 1, titles
        publish(
            session,
            AwardEligibilityChanged(
                learner_id=record.learner_id, sequence=told.sequence, levels=changes, changed_at=now
            ),
        )


async def differing(session: AsyncSession, learner_ids: Iterable[UUID]) -> list[UUID]:
    """Those of these learners whose badges, titles or documents are not what their facts give when derived anew."""
    return [learner_id for learner_id in learner_ids if await _differs(session, learner_id)]


async def _differs(session: AsyncSession, learner_id: UUID) -> bool:
    now = now_of(session)
    record = await queries.record_of(session, learner_id, now)
    misbadged = any(
        (line.badge is not None and line.badge.revoked_at is None) != (line.revocation is None) for line in record.lines
    )
    told = await session.get(tables.Eligibility, learner_id)
    titles = _titles(record, now)
    stale = any(set(titles[level]) != set(told.titles.get(level, ()) if told else ()) for level in titles)
    return misbadged or stale or await documents.are_stale(session, record)


def _titles(record: Record, now: datetime) -> dict[str, list[str]]:
    """What may be claimed, by level."""
    found = eligibility.by_level(record.facts(), record.standing_awards(), record.versions(now))
    return {level: list(titles) for level, titles in found.items()}
