"""Shares, their viewings, and what a shared record shows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.awards import State
from credentials.exchange.domain.sharing import Document, Held, Line
from credentials.queries.documents import signed_badges
from credentials.queries.records import Record, record_of
from credentials.tables.facts import Achievement
from credentials.tables.partners import Partner
from credentials.tables.sharing import Share, Viewing
from openbadges.signable import instant

READING, DECIDING = "transcripts:read", "transfers:decide"

SHAREABLE = (State.CONFERRED, State.SUPERSEDED, State.RESCINDED)


def shares_of(learner_id: UUID) -> Select[Share]:
    return select(Share).where(Share.learner_id == learner_id)


def shares_for(client_id: str) -> Select[Share]:
    """Select a partner's shares, from when it redeemed the code or was asked for a transfer."""
    return select(Share).where(Share.client_id == client_id, Share.redeemed_at.is_not(None))


async def share_by_secret(session: AsyncSession, digests: tuple[bytes, ...], *, lock: bool = False) -> Share | None:
    """Return the share whose link or code has one of these digests."""
    statement = select(Share).where(Share.secret_sha256.in_(digests))
    if lock:  # read as it is once the lock is held
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return await session.scalar(statement)


def viewings_of(share_id: UUID) -> Select[Viewing]:
    return select(Viewing).where(Viewing.share_id == share_id)


def recipients() -> Select[Partner]:
    """Select partners that may read records."""
    partner = Partner
    return select(partner).where(partner.closed_at.is_(None), partner.scopes.contains([READING]))


async def is_redeemed(session: AsyncSession, share_id: UUID) -> bool:
    """Return whether the partner knows of the share."""
    share = Share
    return bool(
        await session.scalar(select(exists().where(share.share_id == share_id, share.redeemed_at.is_not(None))))
    )


async def live_shares_with_partners(
    session: AsyncSession, learner_id: UUID, now: datetime, redeemed_by: datetime
) -> Sequence[Share]:
    """Return the live shares that partners knew of by an instant; a code that was not redeemed does not count."""
    share = Share
    statement = select(share).where(
        share.learner_id == learner_id,
        share.client_id.is_not(None),
        share.withdrawn_at.is_(None),
        share.redeemed_at <= redeemed_by,
        share.expires_at > now,
    )
    statement = statement.order_by(share.share_id)
    return (await session.scalars(statement)).all()


async def shareable(session: AsyncSession, learner_id: UUID, now: datetime) -> tuple[list[Line], list[Held], Record]:
    """Return every credit and award of a learner that could be shown, as it stands now."""
    record = await record_of(session, learner_id, now)
    version_ids = {line.credit.course_version_id for line in record.lines}
    taught = {
        row.achievement_id: row
        for row in await session.scalars(
            select(Achievement).where(Achievement.achievement_id.in_(version_ids - {None}))
        )
    }
    status = {fact.id: fact.status.value for fact in record.facts()}
    badge_of = {badge.award_id: str(badge.badge_id) for badge in await signed_badges(session, learner_id)}
    lines: list[Line] = []
    for line in sorted(record.lines, key=lambda line: (line.credit.ratified_at, line.credit.course_code)):
        credit = line.credit
        achievement = taught.get(credit.course_version_id) if credit.course_version_id else None
        issued = line.badge is not None and line.badge.issued_at is not None and line.badge.revoked_at is None
        entry: Document = {
            "credit_id": str(credit.credit_id),
            "course_code": credit.course_code,
            "course_title": credit.course_title,
            "subject": credit.subject_name,
            "credits": credit.credits,
            "level": {"framework": "FHEQ", "level": credit.level},
            "source": credit.source,
            "status": status[str(credit.credit_id)],
            "ratified_at": instant(credit.ratified_at),
            "revoked_at": instant(line.revocation.revoked_at) if line.revocation else None,
            "module": None if achievement is None else _descriptor(achievement),
            "badge_id": str(line.badge.badge_id) if line.badge is not None and issued else None,
        }
        mark = None if credit.mark is None else f"{credit.mark.normalize():f}"
        lines.append(Line(credit.credit_id, entry, mark, credit.attempt_no))
    held = [
        Held(
            award.award_id,
            {
                "award_id": str(award.award_id),
                "title": award.title,
                "level": award.level,
                "credits": award.credits,
                "status": award.state,
                "under_review_since": instant(award.under_review_since) if award.under_review_since else None,
                "certificate_number": award.certificate_number,
                "conferred_at": instant(award.conferred_at) if award.conferred_at else None,
                "badge_id": badge_of.get(award.award_id),
            },
            award.classification,
        )
        for award in record.awards
        if award.state in SHAREABLE
    ]
    return lines, held, record


def _descriptor(achievement: Achievement) -> Document:
    return {
        "name": achievement.name,
        "code": achievement.code,
        "description": achievement.description,
        "criteria": achievement.criteria,
        "skills": achievement.skills["items"],
    }
