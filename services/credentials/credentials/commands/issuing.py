"""Badges: ordered with a status entry, signed by a job, corrected, revoked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer, Document, StatusListEntry
from credentials.commands import keys, status_entries
from credentials.domain import badges
from credentials.domain.badges import Due
from credentials.queries.issued import DueBadge, achievement_of, badges_before, badges_of, courses_of_badges, holders_of
from credentials.tables.facts import Achievement
from credentials.tables.issued import AssignedStatusEntry, Badge
from shared.clock import CLOCKS_APART
from shared.database import now as now_of
from shared.events.credentials import BadgeIssued, BadgeRevoked, BadgeSuperseded
from shared.ids import id_of
from shared.messaging import publish

_BATCH = 200


async def record_achievement(session: AsyncSession, row: Achievement) -> None:
    """Store what a badge will recognise; it is frozen, so what was stored first stands. Raises NotSignable."""
    # Built once here, so that what cannot be signed fails with the message that brought it.
    badges.achievement_document(
        achievement_of(row, f"urn:uuid:{row.achievement_id}"), badges.Issuer("did:web:x", "", "")
    )
    values = {column.key: getattr(row, column.key) for column in Achievement.__table__.columns}
    values["holders_due"] = row.institution is not None  # documents of credit held already must name it
    await session.execute(insert(Achievement).values(values).on_conflict_do_nothing())


async def order_badge(
    session: AsyncSession,
    learner_id: UUID,
    achievement_id: UUID,
    *,
    awarded_at: datetime,
    credit_id: UUID | None = None,
    award_id: UUID | None = None,
) -> UUID:
    """Order a badge to be signed, with an entry in the newest status list. Returns its id.

    The id follows from what it recognises and from its holder, and its status entry from the id: ordered again, on a
    restored database, it is the same badge. The id of the credit alone does not lead to it, for a learner's id is given
    to nobody. Credit given back after a revocation gets another badge.
    """
    await session.flush()
    number = await badges_before(session, credit_id, award_id)
    badge_id = id_of(f"badge {number}", *(one for one in (credit_id, award_id) if one is not None), learner_id)
    status_entry = await status_entries.draw_for_badge(session, badge_id, version=1)
    session.add(
        Badge(
            badge_id=badge_id,
            learner_id=learner_id,
            achievement_id=achievement_id,
            credit_id=credit_id,
            award_id=award_id,
            subject=f"urn:uuid:{id_of('subject', badge_id)}",
            list_number=status_entry.list_number,
            list_index=status_entry.index,
            version=1,
            due=Due.ISSUE,
            awarded_at=awarded_at,
        )
    )
    await session.flush()
    return badge_id


async def correct_badge(session: AsyncSession, badge: Badge) -> None:
    """Have a badge signed anew because something it says is different now: same id, newer `validFrom`, another status
    entry.

    The old version is revoked once the new one is there. A badge that was not signed yet will say what is right anyway;
    a revoked one stays as it was.
    """
    if badge.document is None or badge.revoked_at is not None:
        return
    status_entry = await status_entries.draw_for_badge(session, badge.badge_id, version=badge.version + 1)
    badge.version, badge.list_number, badge.list_index = badge.version + 1, status_entry.list_number, status_entry.index
    if badge.due is None:
        badge.due = Due.CORRECTION


async def make_badges_out_to(session: AsyncSession, learner_id: UUID, email: str) -> None:
    """Have the learner's badges corrected that do not bear this confirmed address."""
    for badge in await badges_of(session, learner_id):
        if badge.document is not None and not badges.is_made_out_to(badge.document, email):
            await correct_badge(session, badge)


async def erase_holder(session: AsyncSession, learner_id: UUID) -> None:
    """Have the learner's badges that bear a hash of their address signed without it, revoked ones too, since they are
    served.

    Copies already handed out stay valid.
    """
    badge = Badge
    await session.execute(
        update(badge)
        .where(
            badge.learner_id == learner_id,
            badge.document["credentialSubject"].has_key("identifier"),
            badge.due.is_distinct_from(Due.COMPROMISE),  # which signs it without the hash as well
        )
        .values(due=Due.ERASURE)
    )


async def revoke_badge(session: AsyncSession, badge: Badge, reason_code: str, now: datetime) -> None:
    """Revoke a badge for good, and every learner record that may hold it. The bits are published within a minute."""
    badge.revoked_at = now
    await status_entries.retire_records(session, badge.learner_id, now)
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
    """Mark the next badges that a clock which ran fast signed. Returns how many; until it is 0 there are more."""
    badge = Badge
    ahead = (
        select(badge.badge_id)
        .where(badge.signed_at > now_of(session) + CLOCKS_APART, badge.due.is_(None), badge.revoked_at.is_(None))
        .order_by(badge.signed_at)
        .limit(_BATCH)
        .with_for_update(key_share=True, skip_locked=True)  # a learner's badges locked elsewhere are not waited for
    )
    marked = await session.scalars(
        update(badge).where(badge.badge_id.in_(ahead)).values(due=Due.CLOCK).returning(badge.badge_id)
    )
    return len(marked.all())


@dataclass(frozen=True)
class SignedBadge:
    """A version of a badge that is signed, and not stored yet."""

    badge_id: UUID
    version: int
    due: str
    document: Document
    token: str
    valid_from: datetime
    email: str | None
    """The holder's address, whose hash is in it."""


def sign_badges(
    waiting: Sequence[DueBadge], credential_issuer: CredentialIssuer, signers: keys.Signers, now: datetime
) -> list[SignedBadge]:
    """Sign badges. Call it outside any transaction and off the event loop: signing computes, and may ask a vault."""
    return [_sign(one, credential_issuer, signers, now) for one in waiting]


def _sign(one: DueBadge, credential_issuer: CredentialIssuer, signers: keys.Signers, now: datetime) -> SignedBadge:
    badge, row = one.badge, one.achievement
    before = badge.signed_at or badge.issued_at
    # Verifiers tell the newer version by whole seconds. After a clock that ran fast, the newer one may be earlier.
    follows = before is not None and before <= now + CLOCKS_APART
    valid_from = max(now, before + timedelta(seconds=1)) if before is not None and follows else now
    document = credential_issuer.sign_badge(
        achievement_of(row, credential_issuer.achievement_url(row.achievement_id)),
        signers.proof,
        badge_id=badge.badge_id,
        subject=badge.subject,
        status_entry=StatusListEntry(badge.list_number, badge.list_index),
        awarded_at=badge.awarded_at,
        now=valid_from,
        email=one.email,
    )
    token = credential_issuer.badge_token(document, signers.token)
    return SignedBadge(badge.badge_id, badge.version, str(badge.due), document, token, valid_from, one.email)


async def store_badges(
    session: AsyncSession,
    signed: Sequence[SignedBadge],
    credential_issuer: CredentialIssuer,
    signers: keys.Signers,
    now: datetime,
) -> None:
    """Store the new versions in place of the old ones, and announce them.

    A badge that was changed or revoked meanwhile, or whose holder was erased or has another address, is skipped and
    signed again.
    """
    emails = await holders_of(session, [one.badge_id for one in signed])
    theirs = Badge.badge_id.in_([one.badge_id for one in signed])
    statement = select(Badge).where(theirs).order_by(Badge.badge_id)
    rows = await session.scalars(statement.with_for_update(key_share=True).execution_options(populate_existing=True))
    badges_by_id = {badge.badge_id: badge for badge in rows}
    courses = await courses_of_badges(session, list(badges_by_id))
    made: list[keys.Signed] = []
    for one in signed:
        badge = badges_by_id[one.badge_id]
        made += [
            keys.Signed.document(one.document),
            keys.Signed.token(one.document["id"], one.token, signers.token),
        ]
        if badge.version != one.version or badge.due != one.due or emails[one.badge_id] != one.email:
            continue
        if badge.revoked_at is not None and badge.due not in badges.DUE_THOUGH_REVOKED:
            continue
        badge.document, badge.token, badge.due, badge.signed_at = one.document, one.token, None, one.valid_from
        badge.signed_with = signers.proof.verification_method
        badge.token_signed_with = signers.token.verification_method
        _announce(session, badge, one, courses.get(badge.badge_id), credential_issuer, now)
    await keys.log_signatures(session, made, now)
    status_entry = AssignedStatusEntry
    newer = exists().where(Badge.badge_id == status_entry.badge_id, Badge.version > status_entry.version)
    await session.flush()
    await session.execute(
        update(status_entry)
        .where(
            status_entry.badge_id.in_([one.badge_id for one in signed if one.version > 1]),
            status_entry.retired_at.is_(None),
            newer,
        )
        .values(retired_at=now)
    )


def _announce(
    session: AsyncSession,
    badge: Badge,
    signed: SignedBadge,
    course_id: UUID | None,
    credential_issuer: CredentialIssuer,
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
                credential_url=credential_issuer.credential_url(badge.badge_id),
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
