"""Claim awards; withdraw, refuse and confer claims."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import issuing, letters, reviews
from credentials.commands.people import must_be_present
from credentials.commands.standing import derive
from credentials.domain import awards, regulations
from credentials.domain.awards import State
from credentials.domain.options import DifferentTitle, NotEligible, Option
from credentials.domain.options import select as select_credit
from credentials.domain.reviews import Decision, Reason
from credentials.queries import Record
from shared.database import fetch, take_turns
from shared.database import now as now_of
from shared.errors import Refusal
from shared.events.credentials import (
    AwardClaimed,
    AwardConferred,
    AwardLapsed,
    AwardRefused,
    AwardSuperseded,
    AwardWithdrawn,
)
from shared.ids import new_id
from shared.messaging import publish


async def claim_award(
    session: AsyncSession, learner_id: UUID, level: str, title: str, credit_ids: Sequence[UUID] | None
) -> tables.Award:
    """Reserve credit for an award: the learner's selection, or ours where they leave it to us.

    Raises HolderAnonymised, OnHold, UnknownLevel, NotEligible, NotAvailable, WrongSelection, DifferentTitle,
    TitleAlreadyHeld.
    """
    await must_be_present(session, learner_id)
    now = now_of(session)
    await _lapse(session, now, learner_id)
    if await queries.is_on_hold(session, learner_id):
        raise awards.OnHold("a payment came back; claims wait until it is settled")
    record = await queries.record_of(session, learner_id, now)
    option = _option(record, level, title, credit_ids, now)
    version = regulations.find(option.regulations)
    mean = option.classification.mean
    award = tables.Award(
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
        session.add(tables.Allocation(award_id=award.award_id, credit_id=credit_id, level=level, live=True))
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
    await derive(session, learner_id)
    return award


async def confer_award(session: AsyncSession, award_id: UUID, *, by: UUID) -> tables.Award:
    """The registrar's decision: certificate, badge, and every lower award it takes up superseded, all at once.

    Raises Unknown, OwnAward, NotClaimed, ClaimLapsed, UnderReview, OnHold.
    """
    learner_id = (await fetch(session, tables.Award, award_id)).learner_id
    if learner_id == by:
        raise awards.OwnAward("somebody else must confer this award")
    await take_turns(session, "learner", learner_id)
    award = await fetch(session, tables.Award, award_id, lock=True)
    now = now_of(session)
    awards.check_conferral(
        award.state, award.reserved_until, under_review=award.under_review_since is not None, now=now
    )
    if await queries.is_on_hold(session, learner_id):
        raise awards.OnHold("a payment came back; nothing is conferred until it is settled")
    award.state, award.conferred_at, award.conferred_by = State.CONFERRED, now, str(by)
    certificate_number = awards.certificate_number(now, secrets.randbits(50))
    award.certificate_number = certificate_number
    record = await queries.record_of(session, learner_id, now)
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
    await letters.tell_conferred(session, award)
    await derive(session, learner_id)
    return award


async def withdraw_claim(session: AsyncSession, award_id: UUID) -> tables.Award:
    """The learner takes the claim back; its credit is free at once.

    Raises Unknown, NotClaimed, ClaimLapsed, AlreadyConferred.
    """
    award, now = await _claim_in_turn(session, award_id)
    await _release(session, award, State.WITHDRAWN, now)
    publish(session, AwardWithdrawn(award_id=award_id, learner_id=award.learner_id, withdrawn_at=now))
    await derive(session, award.learner_id)
    return award


async def refuse_claim(session: AsyncSession, award_id: UUID, reason: awards.Refusal, *, by: UUID) -> tables.Award:
    """The registrar does not confer it; the learner is told why.

    Raises Unknown, OwnAward, NotClaimed, ClaimLapsed, AlreadyConferred.
    """
    award, now = await _claim_in_turn(session, award_id)
    if award.learner_id == by:
        raise awards.OwnAward("somebody else must decide on this claim")
    await _release(session, award, State.REFUSED, now)
    award.ended_by, award.end_reason = by, reason
    publish(session, AwardRefused(award_id=award_id, learner_id=award.learner_id, reason_code=reason, refused_at=now))
    await letters.tell_refused(session, award)
    await derive(session, award.learner_id)
    return award


async def decide_award_review(
    session: AsyncSession,
    review_id: UUID,
    decision: Decision,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    *,
    by: UUID,
) -> tables.AwardReview:
    """What becomes of an award that lost credit.

    Raises Unknown, OwnReview, OwnRevocation, ReviewDecided, NoSubstitute, WrongSubstitute.
    """
    learner_id = (await fetch(session, tables.AwardReview, review_id)).learner_id
    await take_turns(session, "learner", learner_id)
    review = await fetch(session, tables.AwardReview, review_id, lock=True)
    award = await fetch(session, tables.Award, review.award_id, lock=True)
    record = await queries.record_of(session, learner_id, now_of(session))
    await reviews.carry_out(session, review, award, record, decision, reason, credit_ids, by=by)
    await derive(session, learner_id)
    return review


async def lapse_claims(session: AsyncSession, learner_id: UUID) -> None:
    """End the reservations of a learner that have run out, so that their credit is free."""
    await take_turns(session, "learner", learner_id)
    await _lapse(session, now_of(session), learner_id)
    await derive(session, learner_id)


def _option(record: Record, level: str, title: str, credit_ids: Sequence[UUID] | None, now: datetime) -> Option:
    versions = record.versions(now)
    versions[0].level(level)  # refuses an unknown level in words
    if credit_ids is None:
        found = {option.title: option for option in record.options(now)[level]}
        if title not in found:
            raise NotEligible(f"your credit does not give {title} now", titles=list(found))
        return found[title]
    refusals: list[Refusal] = []
    titles: list[str] = []
    for version in versions:
        try:
            option = select_credit(
                [str(credit_id) for credit_id in credit_ids],
                version.level(level),
                record.facts(),
                record.standing_awards(),
                version,
            )
        except Refusal as refusal:  # another version may allow it; if none does, the first one's reason is told
            refusals.append(refusal)
            continue
        if option.title == title:
            return option
        titles.append(option.title)
    if refusals and not titles:
        raise refusals[0]
    raise DifferentTitle(f"these credits give {titles[0]}", titles=titles)


async def _lapse(session: AsyncSession, now: datetime, learner_id: UUID) -> None:
    """The learner's reservations that have run out. The caller has taken its turn on the learner."""
    lapsed = (
        await session.scalars(
            select(tables.Award).where(
                tables.Award.learner_id == learner_id,
                tables.Award.state == State.CLAIMED,
                tables.Award.reserved_until <= now,
            )
        )
    ).all()
    for award in lapsed:
        await _let_lapse(session, award, now)


async def _claim_in_turn(session: AsyncSession, award_id: UUID) -> tuple[tables.Award, datetime]:
    """The claim, still open, in its learner's turn."""
    await take_turns(session, "learner", (await fetch(session, tables.Award, award_id)).learner_id)
    award = await fetch(session, tables.Award, award_id, lock=True)
    now = now_of(session)
    awards.check_open(award.state, award.reserved_until, now=now)
    return award, now


async def _let_lapse(session: AsyncSession, award: tables.Award, now: datetime) -> None:
    await _release(session, award, State.LAPSED, now)
    publish(session, AwardLapsed(award_id=award.award_id, learner_id=award.learner_id, lapsed_at=now))


async def _release(session: AsyncSession, award: tables.Award, state: State, now: datetime) -> None:
    award.state, award.ended_at, award.under_review_since = state, now, None
    await session.execute(
        update(tables.Allocation).where(tables.Allocation.award_id == award.award_id).values(live=False)
    )


async def _supersede_lower(session: AsyncSession, award: tables.Award, record: Record, now: datetime) -> None:
    """Awards of a lower level whose credit this one takes up. A mere claim among them ends."""
    version = regulations.find(award.regulations_version)
    rank = version.level(award.level).rank
    for lower in record.awards:
        shares_credit = record.allocations.get(lower.award_id, frozenset()) & record.allocations[award.award_id]
        if version.level(lower.level).rank >= rank or not shares_credit:
            continue
        if lower.state == State.CLAIMED:
            await _let_lapse(session, lower, now)
        elif lower.state == State.CONFERRED:
            lower.state, lower.superseded_by, lower.superseded_at = State.SUPERSEDED, award.award_id, now
            publish(
                session,
                AwardSuperseded(
                    award_id=lower.award_id,
                    learner_id=award.learner_id,
                    superseded_by=award.award_id,
                    superseded_at=now,
                ),
            )


async def _order_badge(session: AsyncSession, award: tables.Award, now: datetime) -> None:
    version = regulations.find(award.regulations_version)
    level = version.level(award.level)
    achievement = tables.Achievement(
        # One achievement for one title under one version: the same for everybody who earns it.
        achievement_id=uuid5(NAMESPACE_URL, f"urn:award:{version.version}:{level.code}:{award.title}"),
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
