"""Reviews of awards that lost credit: opened because of the facts, decided by a person."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import emails, issuing
from credentials.domain import options, regulations, reviews
from credentials.domain.awards import State
from credentials.domain.credit import Credit, CreditStatus
from credentials.domain.holds import OwnRefund
from credentials.domain.reviews import Decision, Proposal, Reason, Substitute
from credentials.queries.awards import live_badge_of_award, open_reviews
from credentials.queries.records import Record
from credentials.tables.awards import Allocation, Award, AwardReview
from shared.access import refuse_own
from shared.database import now as now_of
from shared.errors import DomainError
from shared.events.credentials import (
    AwardRescinded,
    AwardRestored,
    AwardReviewClosed,
    AwardReviewOpened,
    AwardSuperseded,
)
from shared.ids import new_id
from shared.messaging import publish


async def review_awards(session: AsyncSession, record: Record, now: datetime) -> None:
    """Open a review of each award that lost credit, or shares it with a higher award; close it once the credit is its
    own.

    Credit is lost that was revoked, or whose money went back. Nothing is rescinded by itself. A mere claim is only
    held, and the learner e-mailed: it cannot be conferred, and lapses.
    """
    waiting = await open_reviews(session, record.learner_id)
    for award in record.awards:
        award.looked_at = True
        if award.state not in (State.CLAIMED, State.CONFERRED, State.SUPERSEDED):
            continue
        lost, shared = lost_by(award, record), taken_up(award, record)
        unpaid = record.revoked.isdisjoint(lost)
        review = waiting.get(award.award_id)
        if lost and award.under_review_since is None:
            award.under_review_since = now
            if award.state == State.CLAIMED:
                await emails.email_claim_held(session, award, now, unpaid=unpaid)
        elif not lost:
            award.under_review_since = None
        if award.state == State.CLAIMED:
            continue
        if (lost or shared) and review is None:
            await _open(session, award, lost, shared, now, unpaid=unpaid)
        elif not (lost or shared) and review is not None:
            await _close(session, review, award, record.allocations[award.award_id], now, Decision.CREDIT_REINSTATED)
            await emails.email_review_ended(session, review, award)


def lost_by(award: Award, record: Record) -> frozenset[UUID]:
    """Return the credit of an award that was revoked, or whose money went back."""
    return record.allocations.get(award.award_id, frozenset()) & (record.revoked | record.held)


def taken_up(award: Award, record: Record) -> frozenset[UUID]:
    """Return the credit of a conferred award on which a higher award stands as well."""
    if award.state != State.CONFERRED:
        return frozenset()
    held = frozenset[UUID]().union(*(record.allocations[one.award_id] for one in _holding(award, record)))
    return record.allocations.get(award.award_id, frozenset()) & held


def _holding(award: Award, record: Record) -> list[Award]:
    """Return the higher awards that stand on credit of this one, the lowest first."""
    credit_ids = record.allocations.get(award.award_id, frozenset())
    found = (
        one
        for one in record.awards
        if one.state in (State.CONFERRED, State.SUPERSEDED)
        and one.credits > award.credits
        and credit_ids & record.allocations[one.award_id]
    )
    return sorted(found, key=lambda one: (one.credits, one.award_id))


def _facts(award: Award, record: Record) -> list[Credit]:
    """Return the learner's credit as the rules see it, with what a higher award took up as consumed for this one."""
    gone = frozenset(map(str, taken_up(award, record)))
    return [replace(credit, status=CreditStatus.CONSUMED) if credit.id in gone else credit for credit in record.facts()]


def propose(award: Award, record: Record, now: datetime) -> Proposal:
    """Return what we propose for an award under review."""
    own, others = _own_and_others(award, record)
    return reviews.propose(
        own,
        [str(credit_id) for credit_id in lost_by(award, record)],
        _facts(award, record),
        others,
        _chain(award, record),
        regulations.find(award.regulations_version),
        record.versions(now),
    )


async def carry_out(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    record: Record,
    decision: Decision,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    *,
    by: UUID,
) -> None:
    """Carry out a person's decision. The caller holds the learner's advisory lock, and rebuilds the learner afterwards.

    Raises OwnReview, OwnRevocation, OwnRefund, ReviewDecided, NoSubstitute, WrongSubstitute, NotTakenUp.
    """
    now = now_of(session)
    refuse_own(session, reviews.OwnReview("somebody else must decide on this award"), award.learner_id, by)
    if review.decided_at is not None:
        raise reviews.ReviewDecided(f"this review was decided: {review.decision}")
    lost = lost_by(award, record)
    taken = [line.revocation for line in record.lines if line.credit.credit_id in lost and line.revocation is not None]
    if any(revocation.decided_by == str(by) for revocation in taken):
        raise reviews.OwnRevocation("whoever took the credit away does not decide on the award")
    given = [line.hold for line in record.lines if line.credit.credit_id in lost and line.hold is not None]
    if any(hold.refund_by == str(by) for hold in given):
        raise OwnRefund("whoever gave the money back does not decide on the award")
    review.decided_by = by
    if decision == Decision.SUBSTITUTE:
        await _substitute(session, review, award, record, reason, credit_ids, now)
    elif credit_ids is not None:
        raise reviews.WrongSubstitute("only a substitution names credit")
    elif decision == Decision.SUPERSEDE:
        await _supersede(session, review, award, record, reason, now)
    else:
        await _rescind(session, review, award, record, decision, reason, now)


async def _open(
    session: AsyncSession,
    award: Award,
    lost: Collection[UUID],
    shared: Collection[UUID],
    now: datetime,
    *,
    unpaid: bool,
) -> None:
    review = AwardReview(review_id=new_id(), award_id=award.award_id, learner_id=award.learner_id, opened_at=now)
    session.add(review)
    await session.flush()
    publish(
        session,
        AwardReviewOpened(
            award_id=award.award_id,
            review_id=review.review_id,
            learner_id=award.learner_id,
            credit_ids=tuple(sorted({*lost, *shared})),
            opened_at=now,
        ),
    )
    if lost:
        await emails.email_review_opened(session, review, award, unpaid=unpaid)


async def _supersede(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    record: Record,
    reason: Reason,
    now: datetime,
) -> None:
    holding = _holding(award, record)
    if lost_by(award, record) or award.state != State.CONFERRED or not holding:
        raise reviews.NotTakenUp("no higher award holds its credit, or it has lost some")
    supersede(session, award, holding[0], now)
    await _close(session, review, award, record.allocations[award.award_id], now, Decision.SUPERSEDE, reason)
    await emails.email_superseded(session, review, award, holding[0])


async def _substitute(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    record: Record,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    now: datetime,
) -> None:
    substitute = _chosen(award, record, credit_ids)
    await session.execute(
        delete(Allocation).where(
            Allocation.award_id == award.award_id,
            Allocation.credit_id.in_([UUID(credit_id) for credit_id in substitute.removed]),
        )
    )
    for credit_id in substitute.added:
        session.add(Allocation(award_id=award.award_id, credit_id=UUID(credit_id), level=award.level, live=True))
    before = {"mean": award.mean, "mark": award.mark, "classification": award.classification}
    known = substitute.classification
    award.mean, award.mark = None if known.mean is None else str(known.mean), known.mark
    award.classification, award.under_review_since = known.label, None
    outcome = {"added": list(substitute.added), "removed": list(substitute.removed), "before": before}
    stands_on = [UUID(credit.id) for credit in substitute.selection]
    await _close(session, review, award, stands_on, now, Decision.SUBSTITUTE, reason, outcome)
    await emails.email_substituted(session, review, award)


async def _rescind(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    record: Record,
    decision: Decision,
    reason: Reason,
    now: datetime,
) -> None:
    """Revoke the badge, rescind the award, and let the awards it had superseded stand again."""
    offer = propose(award, record, now).offer if decision == Decision.RESCIND_AND_OFFER else ()
    badge = await live_badge_of_award(session, award.award_id)
    if badge is not None:
        await issuing.revoke_badge(session, badge, reason, now)
    award.state, award.superseded_by, award.superseded_at = State.RESCINDED, None, None
    award.ended_at, award.ended_by, award.end_reason, award.under_review_since = now, review.decided_by, reason, None
    await session.execute(update(Allocation).where(Allocation.award_id == award.award_id).values(live=False))
    publish(
        session,
        AwardRescinded(
            award_id=award.award_id,
            learner_id=award.learner_id,
            level=award.level,
            title=award.title,
            certificate_number=award.certificate_number or "",
            reason_code=reason,
            rescinded_at=now,
        ),
    )
    restored = _give_back(session, award, record, now)
    outcome = {"offer": list(offer), "restored": [str(lower.award_id) for lower in restored]}
    await _close(session, review, award, (), now, decision, reason, outcome)
    await emails.email_rescinded(session, review, award, offer, restored)


def supersede(session: AsyncSession, lower: Award, by: Award, now: datetime) -> None:
    """Supersede the lower award by the other; it verifies as superseded from now on."""
    lower.state, lower.superseded_by, lower.superseded_at = State.SUPERSEDED, by.award_id, now
    publish(
        session,
        AwardSuperseded(
            award_id=lower.award_id, learner_id=lower.learner_id, superseded_by=by.award_id, superseded_at=now
        ),
    )


def _give_back(session: AsyncSession, award: Award, record: Record, now: datetime) -> Sequence[Award]:
    """Confer again the awards that a rescinded one had superseded, and return them.

    Those that share credit with yet another standing award are superseded by it, the lowest of them. Where one lost
    credit too, its own review goes on.
    """
    restored: list[Award] = []
    for lower in [one for one in record.awards if one.superseded_by == award.award_id]:
        if holding := _holding(lower, record):
            supersede(session, lower, holding[0], now)
            continue
        lower.state, lower.superseded_by, lower.superseded_at = State.CONFERRED, None, None
        restored.append(lower)
        publish(
            session,
            AwardRestored(
                award_id=lower.award_id,
                learner_id=lower.learner_id,
                rescinded_award_id=award.award_id,
                restored_at=now,
            ),
        )
    return restored


def _chosen(award: Award, record: Record, credit_ids: Sequence[UUID] | None) -> Substitute:
    own, others = _own_and_others(award, record)
    chain, facts = _chain(award, record), _facts(award, record)
    others = [other for other in others if other.id not in chain]
    version = regulations.find(award.regulations_version)
    if credit_ids is None:
        found = reviews.substitution(own, facts, others, version)
        if found is None:
            raise reviews.NoSubstitute(f"no spare credit gives {award.title}")
        return found
    level = version.level(award.level)
    try:
        spare = reviews.spare(own, facts, others)
        chosen = options.select([str(one) for one in credit_ids], level, spare, (), version)
    except DomainError as refusal:
        raise reviews.WrongSubstitute(refusal.detail) from refusal
    if chosen.title != reviews.present_title(own, facts, version):
        raise reviews.WrongSubstitute(f"these credits give {chosen.title}")
    return reviews.replacing(own, chosen.selection, version)


def _own_and_others(award: Award, record: Record) -> tuple[options.Award, list[options.Award]]:
    standing = {one.id: one for one in record.live_awards()}
    return standing.pop(str(award.award_id)), list(standing.values())


def _chain(award: Award, record: Record) -> set[str]:
    """Return the ids of the awards that superseded this one, however many steps up, and of those it superseded."""
    by = {one.award_id: one.superseded_by for one in record.awards}

    def above(award_id: UUID | None) -> Iterator[UUID]:
        while award_id is not None and (award_id := by.get(award_id)) is not None:
            yield award_id

    below = (one for one in by if award.award_id in above(one))
    return {str(award_id) for award_id in (*above(award.award_id), *below)}


async def _close(
    session: AsyncSession,
    review: AwardReview,
    award: Award,
    stands_on: Collection[UUID],
    now: datetime,
    decision: Decision,
    reason: str = "",
    outcome: Mapping[str, object] | None = None,
) -> None:
    """Close a review.

    Its instant is later than that of every earlier review of this award, whichever replica's clock gave those, since
    consumers go by the latest.
    """
    of_award = select(func.max(AwardReview.decided_at)).where(AwardReview.award_id == award.award_id)
    if (before := await session.scalar(of_award)) is not None:
        now = max(now, before + timedelta(microseconds=1))
    review.decided_at, review.decision, review.reason_code = now, decision, reason or decision
    review.outcome = dict(outcome or {})
    publish(
        session,
        AwardReviewClosed(
            award_id=award.award_id,
            review_id=review.review_id,
            learner_id=award.learner_id,
            decision=decision,
            reason_code=reason or decision,
            credit_ids=tuple(sorted(stands_on)),
            classification=award.classification if stands_on else None,
            closed_at=now,
        ),
    )
