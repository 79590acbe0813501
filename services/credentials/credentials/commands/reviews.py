"""Awards that lost credit: opened by the facts, decided by a person."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import issuing, letters
from credentials.domain import options, regulations, reviews
from credentials.domain.awards import State
from credentials.domain.reviews import Decision, Proposal, Reason, Substitute
from credentials.queries import Record
from shared.database import now as now_of
from shared.errors import Refusal
from shared.events.credentials import AwardRescinded, AwardRestored, AwardReviewClosed, AwardReviewOpened
from shared.ids import new_id
from shared.messaging import publish


async def review_awards(session: AsyncSession, record: Record, now: datetime) -> None:
    """Open a review of each award that stands on revoked credit; close it where the credit was given back.

    Nothing is rescinded by itself. A mere claim is only held: it cannot be conferred, and lapses.
    """
    waiting = await queries.open_reviews(session, record.learner_id)
    for award in record.awards:
        if award.state not in (State.CLAIMED, State.CONFERRED, State.SUPERSEDED):
            continue
        lost = lost_by(award, record)
        review = waiting.get(award.award_id)
        if lost and award.under_review_since is None:
            award.under_review_since = now
        elif not lost:
            award.under_review_since = None
        if award.state == State.CLAIMED:
            continue
        if lost and review is None:
            await _open(session, award, lost, now)
        elif not lost and review is not None:
            _close(session, review, award, record.allocations[award.award_id], now, Decision.CREDIT_REINSTATED)
            await letters.tell_review_ended(session, review, award)


def lost_by(award: tables.Award, record: Record) -> frozenset[UUID]:
    """The credit an award stands on that was revoked."""
    return record.allocations.get(award.award_id, frozenset()) & record.revoked


def propose(award: tables.Award, record: Record, now: datetime) -> Proposal:
    """What we would decide."""
    own, others, above = _own_and_others(award, record)
    return reviews.propose(
        own,
        [str(credit_id) for credit_id in lost_by(award, record)],
        record.facts(),
        others,
        above,
        regulations.find(award.regulations_version),
        record.versions(now),
    )


async def carry_out(
    session: AsyncSession,
    review: tables.AwardReview,
    award: tables.Award,
    record: Record,
    decision: Decision,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    *,
    by: UUID,
) -> None:
    """What a person decided; the caller has taken its turn on the learner and derives afterwards.

    Raises OwnReview, OwnRevocation, ReviewDecided, NoSubstitute, WrongSubstitute.
    """
    now = now_of(session)
    if award.learner_id == by:
        raise reviews.OwnReview("somebody else must decide on this award")
    if review.decided_at is not None:
        raise reviews.ReviewDecided(f"this review was decided: {review.decision}")
    lost = lost_by(award, record)
    taken = [line.revocation for line in record.lines if line.credit.credit_id in lost and line.revocation is not None]
    if any(revocation.decided_by == str(by) for revocation in taken):
        raise reviews.OwnRevocation("whoever took the credit away does not decide on the award")
    review.decided_by = by
    if decision == Decision.SUBSTITUTE:
        await _substitute(session, review, award, record, reason, credit_ids, now)
    elif credit_ids is not None:
        raise reviews.WrongSubstitute("only a substitution names credit")
    else:
        await _rescind(session, review, award, record, decision, reason, now)


async def _open(session: AsyncSession, award: tables.Award, lost: Collection[UUID], now: datetime) -> None:
    review = tables.AwardReview(review_id=new_id(), award_id=award.award_id, learner_id=award.learner_id, opened_at=now)
    session.add(review)
    await session.flush()
    publish(
        session,
        AwardReviewOpened(
            award_id=award.award_id,
            review_id=review.review_id,
            learner_id=award.learner_id,
            credit_ids=tuple(sorted(lost)),
            opened_at=now,
        ),
    )
    await letters.tell_review_opened(session, review, award)


async def _substitute(
    session: AsyncSession,
    review: tables.AwardReview,
    award: tables.Award,
    record: Record,
    reason: Reason,
    credit_ids: Sequence[UUID] | None,
    now: datetime,
) -> None:
    substitute = _chosen(award, record, credit_ids)
    await session.execute(
        delete(tables.Allocation).where(
            tables.Allocation.award_id == award.award_id,
            tables.Allocation.credit_id.in_([UUID(credit_id) for credit_id in substitute.removed]),
        )
    )
    for credit_id in substitute.added:
        session.add(tables.Allocation(award_id=award.award_id, credit_id=UUID(credit_id), level=award.level, live=True))
    before = {"mean": award.mean, "mark": award.mark, "classification": award.classification}
    known = substitute.classification
    award.mean, award.mark = None if known.mean is None else str(known.mean), known.mark
    award.classification, award.under_review_since = known.label, None
    outcome = {"added": list(substitute.added), "removed": list(substitute.removed), "before": before}
    stands_on = [UUID(credit.id) for credit in substitute.selection]
    _close(session, review, award, stands_on, now, Decision.SUBSTITUTE, reason, outcome)
    await letters.tell_substituted(session, review, award)


async def _rescind(
    session: AsyncSession,
    review: tables.AwardReview,
    award: tables.Award,
    record: Record,
    decision: Decision,
    reason: Reason,
    now: datetime,
) -> None:
    """Badge, then award; then the awards it had superseded stand again."""
    offer = propose(award, record, now).offer if decision == Decision.RESCIND_AND_OFFER else ()
    badge = await queries.live_badge_of_award(session, award.award_id)
    if badge is not None:
        await issuing.revoke_badge(session, badge, reason, now)
    award.state, award.superseded_by, award.superseded_at = State.RESCINDED, None, None
    award.ended_at, award.ended_by, award.end_reason, award.under_review_since = now, review.decided_by, reason, None
    await session.execute(
        update(tables.Allocation).where(tables.Allocation.award_id == award.award_id).values(live=False)
    )
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
    restored = await _give_back(session, award, now)
    outcome = {"offer": list(offer), "restored": [str(lower.award_id) for lower in restored]}
    _close(session, review, award, (), now, decision, reason, outcome)
    await letters.tell_rescinded(session, review, award, offer, restored)


async def _give_back(session: AsyncSession, award: tables.Award, now: datetime) -> Sequence[tables.Award]:
    """What it had superseded stands by itself again; where that lost credit too, its own review goes on."""
    lower = await queries.superseded_by(session, award.award_id)
    for one in lower:
        one.state, one.superseded_by, one.superseded_at = State.CONFERRED, None, None
        publish(
            session,
            AwardRestored(
                award_id=one.award_id,
                learner_id=one.learner_id,
                rescinded_award_id=award.award_id,
                restored_at=now,
            ),
        )
    return lower


def _chosen(award: tables.Award, record: Record, credit_ids: Sequence[UUID] | None) -> Substitute:
    own, others, _ = _own_and_others(award, record)
    version = regulations.find(award.regulations_version)
    if credit_ids is None:
        found = reviews.substitution(own, record.facts(), others, version)
        if found is None:
            raise reviews.NoSubstitute(f"no spare credit gives {award.title}")
        return found
    level = version.level(award.level)
    try:
        chosen = options.select([str(one) for one in credit_ids], level, record.facts(), others, version)
    except Refusal as refusal:
        raise reviews.WrongSubstitute(refusal.detail) from refusal
    if chosen.title != award.title:
        raise reviews.WrongSubstitute(f"these credits give {chosen.title}")
    return reviews.replacing(own, chosen.selection, version)


def _own_and_others(
    award: tables.Award, record: Record
) -> tuple[options.Award, list[options.Award], list[options.Award]]:
    """The award, those whose credit it cannot take, and the one that superseded it, which shares its credit."""
    standing = {one.id: one for one in record.standing_awards()}
    own = standing.pop(str(award.award_id))
    above = standing.pop(str(award.superseded_by), None)
    return own, list(standing.values()), [] if above is None else [above]


def _close(
    session: AsyncSession,
    review: tables.AwardReview,
    award: tables.Award,
    stands_on: Collection[UUID],
    now: datetime,
    decision: Decision,
    reason: str = "",
    outcome: Mapping[str, object] | None = None,
) -> None:
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
