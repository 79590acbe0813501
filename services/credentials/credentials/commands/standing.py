"""What follows from a learner's facts: badges, awards under review, eligibility, transcript.

Derived anew from all facts each time one arrives, one learner at a time, so that the order of arrival never
changes the result and nothing is ever added up.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import issuing, reviews
from credentials.domain import transcripts
from credentials.domain.awards import State
from credentials.domain.badges import instant
from credentials.queries import Record
from shared.database import now as now_of
from shared.events.credentials import AwardEligibilityChanged, TitlesChanged, TranscriptIssued
from shared.ids import new_id
from shared.messaging import publish

_ON_TRANSCRIPT = (State.CONFERRED, State.SUPERSEDED)


async def derive(session: AsyncSession, learner_id: UUID) -> None:
    """Draw every conclusion from the learner's facts. The caller has taken its turn on the learner."""
    await session.flush()
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
            issuing.revoke_badge(session, badge, revocation.reason_code, now)
    await reviews.review_awards(session, record, now)
    await _announce_eligibility(session, record, now)
    await _issue_transcript(session, record, now)


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


async def _issue_transcript(session: AsyncSession, record: Record, now: datetime) -> None:
    """A new version where the content is another than in the last one."""
    said = _said(record)
    content_sha256 = transcripts.hash_of(said)
    last = await queries.latest_transcript(session, record.learner_id)
    if last is not None and last.content_sha256 == content_sha256:
        return
    version = 1 if last is None else last.version + 1
    document = transcripts.issue(said, version, now)
    transcript = tables.Transcript(
        transcript_id=new_id(),
        learner_id=record.learner_id,
        version=version,
        document=document,
        content_sha256=content_sha256,
        sha256=transcripts.hash_of(document),
        as_at=now,
    )
    session.add(transcript)
    publish(
        session,
        TranscriptIssued(
            transcript_id=transcript.transcript_id,
            learner_id=record.learner_id,
            version=version,
            sha256=transcript.sha256,
            as_at=now,
        ),
    )


async def differing(session: AsyncSession, learner_ids: Iterable[UUID]) -> list[UUID]:
    """Those of these learners whose badges, titles or transcript are not what their facts give when derived anew."""
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
    last = await queries.latest_transcript(session, learner_id)
    said = _said(record)
    if last is None:
        untold = bool(said["credits"] or said["awards"])
    else:
        untold = last.content_sha256 != transcripts.hash_of(said)
    return misbadged or stale or untold


def _titles(record: Record, now: datetime) -> dict[str, list[str]]:
    """What may be claimed, by level."""
    return {level: [option.title for option in found] for level, found in record.options(now).items()}


def _said(record: Record) -> transcripts.Document:
    return transcripts.content(
        str(record.learner_id),
        [_credit_entry(line.credit) for line in record.lines if line.revocation is None],
        [_award_entry(award) for award in record.awards if award.state in _ON_TRANSCRIPT],
    )


def _credit_entry(credit: tables.Credit) -> dict[str, object]:
    return {
        "credit_id": str(credit.credit_id),
        "course_code": credit.course_code,
        "course_title": credit.course_title,
        "subject": credit.subject_name,
        "credits": credit.credits,
        "level": credit.level,
        "mark": None if credit.mark is None else f"{credit.mark.normalize():f}",
        "attempt": credit.attempt_no,
        "ratified_at": instant(credit.ratified_at),
    }


def _award_entry(award: tables.Award) -> dict[str, object]:
    return {
        "award_id": str(award.award_id),
        "title": award.title,
        "level": award.level,
        "credits": award.credits,
        "classification": award.classification,
        "state": award.state,
        "certificate_number": award.certificate_number,
        "conferred_at": instant(award.conferred_at) if award.conferred_at else None,
    }
