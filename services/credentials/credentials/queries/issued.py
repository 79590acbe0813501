"""What is issued: badges, transcripts, status lists, keys."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.domain.badges import Achievement, skills


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


async def latest_transcript(session: AsyncSession, learner_id: UUID) -> tables.Transcript | None:
    return await session.scalar(
        select(tables.Transcript)
        .where(tables.Transcript.learner_id == learner_id)
        .order_by(tables.Transcript.version.desc())
        .limit(1)
    )


async def unsigned_badges(session: AsyncSession, limit: int) -> list[tuple[tables.Badge, tables.Achievement]]:
    """Badges to sign, with what they recognise; those whose course is not known here yet wait."""
    rows = await session.execute(
        select(tables.Badge, tables.Achievement)
        .join(tables.Achievement, tables.Achievement.achievement_id == tables.Badge.achievement_id)
        .where(tables.Badge.document.is_(None), tables.Badge.revoked_at.is_(None))
        .order_by(tables.Badge.badge_id)
        .limit(limit)
        .with_for_update(of=tables.Badge, skip_locked=True)
    )
    return [(row[0], row[1]) for row in rows]


async def revoked_places(session: AsyncSession, list_number: int) -> Sequence[int]:
    statement = select(tables.Badge.list_index).where(
        tables.Badge.list_number == list_number, tables.Badge.revoked_at.is_not(None)
    )
    return (await session.scalars(statement)).all()


async def revoked_counts(session: AsyncSession) -> dict[int, int]:
    rows = await session.execute(
        select(tables.Badge.list_number, func.count())
        .where(tables.Badge.revoked_at.is_not(None))
        .group_by(tables.Badge.list_number)
    )
    return {row[0]: row[1] for row in rows}


async def places_taken(session: AsyncSession, list_number: int) -> int:
    statement = select(func.count()).where(tables.Badge.list_number == list_number)
    return await session.scalar(statement) or 0


async def published_keys(session: AsyncSession, did: str) -> list[tuple[str, bytes]]:
    """Every key that still vouches for something: retired ones stay as long as their credentials live."""
    rows = await session.execute(
        select(tables.SigningKey.verification_method, tables.SigningKey.public_key)
        .where(tables.SigningKey.did == did)
        .order_by(tables.SigningKey.created_at)
    )
    return [(row.verification_method, row.public_key) for row in rows]


async def active_key(session: AsyncSession, did: str) -> tables.SigningKey | None:
    return await session.scalar(
        select(tables.SigningKey).where(tables.SigningKey.did == did, tables.SigningKey.state == "active")
    )


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
