"""Badges, their places in the status lists, and the keys they are signed with."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.keys import Signer
from credentials.adapters.notary import Notary, Place
from credentials.domain import badges, status_lists
from shared.database import take_turns
from shared.events.credentials import BadgeIssued, BadgeRevoked
from shared.ids import new_id
from shared.messaging import publish

_DRAWS = 64


async def record_achievement(session: AsyncSession, row: tables.Achievement) -> None:
    """Keep what a badge will recognise; frozen, so the first telling stands. Raises NotSignable."""
    # Built once here, so that what cannot be signed is refused with the message that brought it.
    badges.achievement_document(
        queries.achievement_of(row, f"urn:uuid:{row.achievement_id}"), badges.Issuer("did:web:x", "", "")
    )
    values = {column.key: getattr(row, column.key) for column in tables.Achievement.__table__.columns}
    await session.execute(insert(tables.Achievement).values(values).on_conflict_do_nothing())


async def order_badge(
    session: AsyncSession,
    learner_id: UUID,
    achievement_id: UUID,
    *,
    awarded_at: datetime,
    credit_id: UUID | None = None,
    award_id: UUID | None = None,
) -> UUID:
    """A badge to be signed, with its place in the newest status list, drawn at random so that it tells nothing."""
    await session.flush()
    newest_list = select(func.max(tables.StatusList.number)).scalar_subquery()
    for _ in range(_DRAWS):
        badge_id = await session.scalar(
            insert(tables.Badge)
            .values(
                badge_id=new_id(),
                learner_id=learner_id,
                achievement_id=achievement_id,
                credit_id=credit_id,
                award_id=award_id,
                subject=f"urn:uuid:{uuid4()}",
                list_number=newest_list,
                list_index=secrets.randbelow(status_lists.LENGTH),
                awarded_at=awarded_at,
            )
            .on_conflict_do_nothing(constraint="uq_badges_list_number_list_index")
            .returning(tables.Badge.badge_id)
        )
        if badge_id is not None:
            return badge_id
    raise RuntimeError("the newest status list is full: the job that opens the next one is not running")


def revoke_badge(session: AsyncSession, badge: tables.Badge, reason_code: str, now: datetime) -> None:
    """Final. The bit is published with the next status list, within a minute."""
    badge.revoked_at = now
    publish(
        session,
        BadgeRevoked(
            badge_id=badge.badge_id,
            learner_id=badge.learner_id,
            credit_id=badge.credit_id,
            reason_code=reason_code,
            revoked_at=now,
        ),
    )


async def sign_waiting_badges(session: AsyncSession, notary: Notary, now: datetime, *, limit: int) -> int:
    """Sign what waits, oldest first; how many that were."""
    waiting = await queries.unsigned_badges(session, limit)
    if not waiting:
        return 0
    signer = await _signer(session, notary, now)
    for badge, row in waiting:
        badge.document = notary.sign_badge(
            queries.achievement_of(row, notary.achievement_url(row.achievement_id)),
            signer,
            badge_id=badge.badge_id,
            subject=badge.subject,
            place=Place(badge.list_number, badge.list_index),
            awarded_at=badge.awarded_at,
            now=now,
        )
        badge.issued_at = now
        publish(
            session,
            BadgeIssued(
                badge_id=badge.badge_id,
                learner_id=badge.learner_id,
                credit_id=badge.credit_id,
                award_id=badge.award_id,
                course_id=row.course_id,
                credential_url=notary.credential_url(badge.badge_id),
                issued_at=now,
            ),
        )
    return len(waiting)


async def publish_status_lists(session: AsyncSession, notary: Notary, now: datetime) -> list[int]:
    """Sign anew each list whose bits changed or that nears its end; the numbers of those signed.

    Compared by count, not by time: a revocation may commit after a list that is younger than it.
    """
    revoked = await queries.revoked_counts(session)
    await _open_next_list(session)
    lists = (await session.scalars(select(tables.StatusList).order_by(tables.StatusList.number))).all()
    signed: list[int] = []
    for row in lists:
        fresh = row.valid_until is not None and row.valid_until - now > status_lists.RENEW_BEFORE
        if fresh and row.revoked == revoked.get(row.number, 0):
            continue
        places = await queries.revoked_places(session, row.number)
        valid_until = now + status_lists.VALID_FOR
        unsigned = status_lists.status_list_document(
            notary.status_list_url(row.number),
            notary.issuer.did,
            places,
            valid_from=now - timedelta(seconds=1),  # a verifier's clock may be a little behind ours
            valid_until=valid_until,
            ttl_seconds=status_lists.TTL_SECONDS,
        )
        row.document = orjson.dumps(notary.sign(unsigned, await _signer(session, notary, now), now))
        row.revoked, row.signed_at, row.valid_until = len(places), now, valid_until
        signed.append(row.number)
    return signed


async def _signer(session: AsyncSession, notary: Notary, now: datetime) -> Signer:
    """The active key of this issuer, made on first use."""
    key = await queries.active_key(session, notary.issuer.did)
    if key is None:
        await take_turns(session, "signing key")
        key = await queries.active_key(session, notary.issuer.did)
    if key is None:
        method, made = notary.new_key(f"ed25519-{now:%Y-%m}-{secrets.token_hex(4)}")
        key = tables.SigningKey(
            verification_method=method,
            did=notary.issuer.did,
            suite="eddsa-rdfc-2022",
            public_key=made.public,
            wrapped_key=made.wrapped,
            state="active",
            created_at=now,
        )
        session.add(key)
        await session.flush()
    return notary.signer(key.verification_method, key.wrapped_key)


async def _open_next_list(session: AsyncSession) -> None:
    """Half full is full enough: random draws stay quick, and holders stay hidden among many."""
    newest = await session.scalar(select(func.max(tables.StatusList.number))) or 0
    if await queries.places_taken(session, newest) >= status_lists.LENGTH // 2:
        await session.execute(insert(tables.StatusList).values(number=newest + 1).on_conflict_do_nothing())
