"""Badges: ordered with a place in a status list, signed by a job, corrected, revoked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.notary import Document, Notary, Place
from credentials.commands import keys, places
from credentials.domain import badges
from credentials.domain.badges import Due
from credentials.queries import DueBadge
from shared.clock import CLOCKS_APART
from shared.database import now as now_of
from shared.events.credentials import BadgeIssued, BadgeRevoked, BadgeSuperseded
from shared.ids import new_id
from shared.messaging import publish

_BATCH = 200


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
    """A badge to be signed, with its place in the newest status list."""
    await session.flush()
    badge_id = new_id()
    place = await places.draw_for_badge(session, badge_id, version=1)
    session.add(
        tables.Badge(
            badge_id=badge_id,
            learner_id=learner_id,
            achievement_id=achievement_id,
            credit_id=credit_id,
            award_id=award_id,
            subject=f"urn:uuid:{uuid4()}",
            list_number=place.list_number,
            list_index=place.index,
            version=1,
            due=Due.ISSUE,
            awarded_at=awarded_at,
        )
    )
    await session.flush()
    return badge_id


async def correct_badge(session: AsyncSession, badge: tables.Badge) -> None:
    """Have it signed anew because something it says is different now: same id, newer `validFrom`, another place.

    The old version is revoked when the new one is there. A badge that was not signed yet says what is right anyway;
    a revoked one stays as it was.
    """
    if badge.document is None or badge.revoked_at is not None:
        return
    place = await places.draw_for_badge(session, badge.badge_id, version=badge.version + 1)
    badge.version, badge.list_number, badge.list_index = badge.version + 1, place.list_number, place.index
    if badge.due is None:
        badge.due = Due.CORRECTION


async def make_badges_out_to(session: AsyncSession, learner_id: UUID, email: str) -> None:
    """Have those of somebody's corrected that do not bear this confirmed address."""
    for badge in await queries.badges_of(session, learner_id):
        if badge.document is not None and not badges.is_made_out_to(badge.document, email):
            await correct_badge(session, badge)


async def erase_holder(session: AsyncSession, learner_id: UUID) -> None:
    """Have somebody's badges signed without the hash of their address. Copies that are out there stand."""
    badge = tables.Badge
    await session.execute(
        update(badge)
        .where(badge.learner_id == learner_id, badge.document.is_not(None), badge.due.is_(None))
        .values(due=Due.ERASURE)
    )


async def revoke_badge(session: AsyncSession, badge: tables.Badge, reason_code: str, now: datetime) -> None:
    """Final, and with it goes every learner record that may hold it. The bits are published within a minute."""
    badge.revoked_at = now
    await places.retire_records(session, badge.learner_id, now)
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


async def order_what_was_signed_ahead(session: AsyncSession) -> int:
    """Mark the next badges that a clock signed which stood ahead; how many. Until it is 0 there are more."""
    badge = tables.Badge
    ahead = (
        select(badge.badge_id)
        .where(badge.signed_at > now_of(session) + CLOCKS_APART, badge.due.is_(None), badge.revoked_at.is_(None))
        .order_by(badge.signed_at)
        .limit(_BATCH)
    )
    marked = await session.scalars(
        update(badge).where(badge.badge_id.in_(ahead)).values(due=Due.CLOCK).returning(badge.badge_id)
    )
    return len(marked.all())


@dataclass(frozen=True)
class SignedBadge:
    """A version of a badge as it was signed, not stored yet."""

    badge_id: UUID
    version: int
    due: str
    document: Document
    token: str
    valid_from: datetime
    email: str | None
    """The holder's address, whose hash is in it."""


def sign_badges(waiting: Sequence[DueBadge], notary: Notary, signers: keys.Signers, now: datetime) -> list[SignedBadge]:
    """Outside any transaction, off the event loop: signing computes, and may ask a vault."""
    return [_sign(one, notary, signers, now) for one in waiting]


def _sign(one: DueBadge, notary: Notary, signers: keys.Signers, now: datetime) -> SignedBadge:
    badge, row = one.badge, one.achievement
    before = badge.signed_at or badge.issued_at
    # The newer of two versions is told by whole seconds, unless a clock that stood ahead signed the older.
    follows = before is not None and before <= now + CLOCKS_APART
    valid_from = max(now, before + timedelta(seconds=1)) if before is not None and follows else now
    document = notary.sign_badge(
        queries.achievement_of(row, notary.achievement_url(row.achievement_id)),
        signers.proof,
        badge_id=badge.badge_id,
        subject=badge.subject,
        place=Place(badge.list_number, badge.list_index),
        awarded_at=badge.awarded_at,
        now=valid_from,
        email=one.email,
    )
    token = notary.badge_token(document, signers.token)
    return SignedBadge(badge.badge_id, badge.version, str(badge.due), document, token, valid_from, one.email)


async def store_badges(
    session: AsyncSession, signed: Sequence[SignedBadge], notary: Notary, signers: keys.Signers, now: datetime
) -> None:
    """Put the new versions in the place of the old ones, unless a badge was changed or revoked meanwhile, or its holder
    erased or moved: then it is signed again."""
    emails = await queries.holders_of(session, [one.badge_id for one in signed])
    statement = select(tables.Badge).where(tables.Badge.badge_id.in_([one.badge_id for one in signed]))
    rows = await session.scalars(statement.with_for_update().execution_options(populate_existing=True))
    badges_by_id = {badge.badge_id: badge for badge in rows}
    courses = await queries.courses_of_badges(session, list(badges_by_id))
    made: list[keys.Signed] = []
    for one in signed:
        badge = badges_by_id[one.badge_id]
        made += [
            keys.Signed.document(one.document),
            keys.Signed.token(one.document["id"], one.token, signers.token),
        ]
        if badge.version != one.version or badge.due != one.due or emails[one.badge_id] != one.email:
            continue
        if badge.revoked_at is not None and badge.due != Due.COMPROMISE:
            continue
        badge.document, badge.token, badge.due, badge.signed_at = one.document, one.token, None, one.valid_from
        badge.signed_with = signers.proof.verification_method
        badge.token_signed_with = signers.token.verification_method
        _announce(session, badge, one, courses.get(badge.badge_id), notary, now)
    await keys.log_signatures(session, made, now)
    place = tables.BadgePlace
    newer = exists().where(tables.Badge.badge_id == place.badge_id, tables.Badge.version > place.version)
    await session.flush()
    await session.execute(
        update(place)
        .where(
            place.badge_id.in_([one.badge_id for one in signed if one.version > 1]), place.retired_at.is_(None), newer
        )
        .values(retired_at=now)
    )


def _announce(
    session: AsyncSession,
    badge: tables.Badge,
    signed: SignedBadge,
    course_id: UUID | None,
    notary: Notary,
    now: datetime,
) -> None:
    if badge.issued_at is None:
        badge.issued_at = now
        publish(
            session,
            BadgeIssued(
                badge_id=badge.badge_id,
                learner_id=badge.learner_id,
                credit_id=badge.credit_id,
                award_id=badge.award_id,
                course_id=course_id,
                credential_url=notary.credential_url(badge.badge_id),
                issued_at=now,
            ),
        )
    elif badge.revoked_at is None and signed.due != Due.ERASURE:
        publish(
            session,
            BadgeSuperseded(
                badge_id=badge.badge_id,
                learner_id=badge.learner_id,
                reason_code=signed.due,
                valid_from=signed.valid_from,
                superseded_at=now,
            ),
        )
