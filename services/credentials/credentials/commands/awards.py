"""Claim awards; withdraw, refuse and confer claims; decide reviews."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import emails, issuing, reviews
from credentials.commands.people import must_be_present
from credentials.commands.projection import rebuild
from credentials.domain import awards, regulations
from credentials.domain.awards import State
from credentials.domain.options import DifferentTitle, NotEligible, Option
from credentials.domain.options import select as select_credit
from credentials.domain.reviews import Decision, Reason
from credentials.queries.records import Record, is_on_hold, record_of
from credentials.tables.awards import Allocation, Award, AwardReview
from credentials.tables.facts import Achievement
from shared.access import refuse_own
from shared.database import advisory_lock, fetch
from shared.database import now as now_of
from shared.errors import DomainError
from shared.events.credentials import (
    AwardClaimed,
    AwardConferred,
    AwardLapsed,
    AwardRefused,
    AwardWithdrawn,
)
from shared.ids import new_id
from shared.messaging import publish


async def claim_award(
    session: AsyncSession, learner_id: UUID, level: str, title: str, credit_ids: Sequence[UUID] | None
) -> Award:
    """Reserve credit for an award: the learner's own selection, or the best one where they name none.

    Raises HolderAnonymised, OnHold, UnknownLevel, NotEligible, NotAvailable, WrongSelection, DifferentTitle,
    TitleAlreadyHeld.
    """
    await must_be_present(session, learner_id)
    now = now_of(session)
    await _lapse(session, now, learner_id)
    if await is_on_hold(session, learner_id):
        raise awards.OnHold("claims wait until a payment or a case is settled")
    record = await record_of(session, learner_id, now)
    option = _option(record, level, title, credit_ids, now)
    version = regulations.find(option.regulations)
    mean = option.classification.mean
    award = Award(
        award_id=new_id(),
        learner_id=learner_id,
        level=level,
        title=option.title,
        rule=option.rule,
        reason=option.reason,
        regulations_version=version.version,
        credits=version.level(level).credits,
        mean=None if mean is None else str(mean),
        mark=option.classification.mark,
        classification=option.classification.label,
        state=State.CLAIMED,
        claimed_at=now,
        reserved_until=awards.reserved_until(now, version),
    )
    session.add(award)
    await session.flush()
    chosen = tuple(UUID(credit.id) for credit in option.selection)
    for credit_id in chosen:
        session.add(Allocation(award_id=award.award_id, credit_id=credit_id, level=level, live=True))
    publish(
        session,
        AwardClaimed(
            award_id=award.award_id,
            learner_id=learner_id,
            level=level,
            title=award.title,
            rule=award.rule,
            credit_ids=chosen,
            regulations_version=version.version,
            claimed_at=now,
        ),
    )
    await rebuild(session, learner_id)
    return award


async def confer_award(session: AsyncSession, award_id: UUID, *, by: UUID) -> Award:
    """Confer a claimed award: give it its certificate number and order its badge, and supersede the lower awards it
    takes up.

    Raises Unknown, OwnAward, NotClaimed, ClaimLapsed, UnderReview, OnHold.
    """
    learner_id = (await fetch(session, Award, award_id)).learner_id
    refuse_own(session, awards.OwnAward("somebody else must confer this award"), learner_id, by)
    await advisory_lock(session, "learner", learner_id)
    award = await fetch(session, Award, award_id, lock=True)
    now = now_of(session)
    awards.check_conferral(
        award.state, award.reserved_until, under_review=award.under_review_since is not None, now=now
    )
    if await is_on_hold(session, learner_id):
        raise awards.OnHold("nothing is conferred until a payment or a case is settled")
    award.state, award.conferred_at, award.conferred_by = State.CONFERRED, now, str(by)
    certificate_number = awards.certificate_number(now, secrets.randbits(50))
    award.certificate_number = certificate_number
    record = await record_of(session, learner_id, now)
    credit_ids = record.allocations[award_id]
    publish(
        session,
        AwardConferred(
            award_id=award_id,
            learner_id=learner_id,
            level=award.level,
            title=award.title,
            credit_ids=tuple(sorted(credit_ids)),
            classification=award.classification,
            certificate_number=certificate_number,
            conferred_at=now,
        ),
    )
    await _supersede_lower(session, award, record, now)
    await _order_badge(session, award, now)
    await emails.email_conferred(session, award)
    await rebuild(session, learner_id)
    return award


async def withdraw_claim(session: AsyncSession, award_id: UUID) -> Award:
    """Take a learner's claim back; its credit is free at once.

    Raises Unknown, NotClaimed, ClaimLapsed, AlreadyConferred.
    """
    award, now = await _lock_claim(session, award_id)
    await _release(session, award, State.WITHDRAWN, now)
    publish(session, AwardWithdrawn(award_id=award_id, learner_id=award.learner_id, withdrawn_at=now))
    await rebuild(session, award.learner_id)
    return award


async def refuse_claim(session: AsyncSession, award_id: UUID, reason: awards.RefusalReason, *, by: UUID) -> Award:
    """Refuse to confer a claim, and e-mail the learner the reason.

    Raises Unknown, OwnAward, NotClaimed, ClaimLapsed, AlreadyConferred.
    """
    award, now = await _lock_claim(session, award_id)
    refuse_own(session, awards.OwnAward("somebody else must decide on this claim"), award.learner_id, by)
    lost = award.under_review_since is not None
    await _release(session, award, State.REFUSED, now)
    award.ended_by, award.end_reason = by, reason
    publish(session, AwardRefused(award_id=award_id, learner_id=award.learner_id, reason_code=reason, refused_at=now))
    await emails.email_refused(session, award, lost=lost)
    await rebuild(session, award.learner_id)
    return award


async def decide_award_review(
    session: AsyncSession,
    review_id: UUID,
    decision: Decision,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    *,
    by: UUID,
) -> AwardReview:
    """Carry out a person's decision on an award under review.

    Raises Unknown, OwnReview, OwnRevocation, OwnRefund, ReviewDecided, NoSubstitute, WrongSubstitute, NotTakenUp.
    """
    learner_id = (await fetch(session, AwardReview, review_id)).learner_id
    await advisory_lock(session, "learner", learner_id)
    review = await fetch(session, AwardReview, review_id, lock=True)
    award = await fetch(session, Award, review.award_id, lock=True)
    record = await record_of(session, learner_id, now_of(session))
    await reviews.carry_out(session, review, award, record, decision, reason, credit_ids, by=by)
    await rebuild(session, learner_id)
    return review


async def lapse_claims(session: AsyncSession, learner_id: UUID) -> None:
    """End the reservations of a learner that have run out, so that their credit is free."""
    await advisory_lock(session, "learner", learner_id)
    await _lapse(session, now_of(session), learner_id)
    await rebuild(session, learner_id)


def _option(record: Record, level: str, title: str, credit_ids: Sequence[UUID] | None, now: datetime) -> Option:
    versions = record.versions(now)
    if not any(one.code == level for version in versions for one in version.levels):
        versions[0].level(level)  # raises UnknownLevel
    if credit_ids is None:
        found = {option.title: option for option in record.options(now)[level]}
        if title not in found:
            raise NotEligible(f"your credit does not give {title} now", titles=list(found))
        return found[title]
    errors: list[DomainError] = []
    titles: list[str] = []
    for version in versions:
        try:
            option = select_credit(
                [str(credit_id) for credit_id in credit_ids],
                version.level(level),
                record.facts(),
                record.live_awards(),
                version,
            )
        except DomainError as refusal:  # another version may allow it; if none does, the first one's error is raised
            errors.append(refusal)
            continue
        if option.title == title:
            return option
        titles.append(option.title)
    if errors and not titles:
        raise errors[0]
    raise DifferentTitle(f"these credits give {titles[0]}", titles=titles)


async def _lapse(session: AsyncSession, now: datetime, learner_id: UUID) -> None:
    """End the learner's reservations that have run out. The caller holds the learner's advisory lock."""
    lapsed = (
        await session.scalars(
            select(Award).where(
                Award.learner_id == learner_id,
                Award.state == State.CLAIMED,
                Award.reserved_until <= now,
            )
        )
    ).all()
    for award in lapsed:
        await _let_lapse(session, award, now)


async def _lock_claim(session: AsyncSession, award_id: UUID) -> tuple[Award, datetime]:
    """Take the advisory lock of the claim's learner, and return the claim if it is still open, with the time.

    Raises Unknown, AlreadyConferred, NotClaimed, ClaimLapsed.
    """
    await advisory_lock(session, "learner", (await fetch(session, Award, award_id)).learner_id)
    award = await fetch(session, Award, award_id, lock=True)
    now = now_of(session)
    awards.check_open(award.state, award.reserved_until, now=now)
    return award, now


async def _let_lapse(session: AsyncSession, award: Award, now: datetime) -> None:
    await _release(session, award, State.LAPSED, now)
    publish(session, AwardLapsed(award_id=award.award_id, learner_id=award.learner_id, lapsed_at=now))


async def _release(session: AsyncSession, award: Award, state: State, now: datetime) -> None:
    award.state, award.ended_at, award.under_review_since = state, now, None
    await session.execute(update(Allocation).where(Allocation.award_id == award.award_id).values(live=False))


async def _supersede_lower(session: AsyncSession, award: Award, record: Record, now: datetime) -> None:
    """Supersede the lower awards whose credit this one takes up; a mere claim among them lapses."""
    for lower in record.awards:
        shares_credit = record.allocations.get(lower.award_id, frozenset()) & record.allocations[award.award_id]
        if lower.credits >= award.credits or not shares_credit:
            continue
        if lower.state == State.CLAIMED:
            await _let_lapse(session, lower, now)
        elif lower.state == State.CONFERRED:
            reviews.supersede(session, lower, award, now)


async def _order_badge(session: AsyncSession, award: Award, now: datetime) -> None:
    version = regulations.find(award.regulations_version)
    level = version.level(award.level)
    achievement = Achievement(
        # One achievement for one title on one ground under one version, shared by everybody who earns it so.
        achievement_id=awards.achievement_id(version.version, level.code, award.title, award.reason),
        course_id=None,
        kind=level.achievement_type,
        name=award.title,
        code=level.label,
        description=f"{award.title}, stacked from credit-bearing courses.",
        criteria=f"{award.reason} Awarded under {version.version}.",
        credits=level.credits,
        level=version.framework_level,
        skills={"items": []},
    )
    await issuing.record_achievement(session, achievement)
    await issuing.order_badge(
        session, award.learner_id, achievement.achievement_id, awarded_at=now, award_id=award.award_id
    )
