"""The life of an enrolment: every fact is kept, then everything about its learner is decided anew."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.domain import enrolments, regulations
from enrolment.domain.enrolments import Decision, EnrolmentStatus, Standing
from enrolment.domain.facts import Fact, Kind
from enrolment.tables import CourseVersion, Enrolment, EnrolmentState, KeptFact, OrderLine, WithdrawnCourse
from shared.database import HotStatement, fetch, now, record_of, take_turns
from shared.events import Event
from shared.events.enrolment import (
    AccessGranted,
    AccessRevoked,
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentCompleted,
    EnrolmentFailed,
    EnrolmentReinstated,
    EnrolmentSuspended,
)
from shared.events.payments import PaymentConfirmed
from shared.ids import new_id
from shared.messaging import publish


async def keep_fact(session: AsyncSession, learner_id: UUID, fact: Fact) -> None:
    """Append it, once however often it arrives. The learner's turn is held until the transaction ends."""
    await take_turns(session, "learner", learner_id)
    row = record_of(kept_fact(learner_id, fact, now(session)))
    await _KEEP.within(session, **row | {"data": json.dumps(row["data"])})


def kept_fact(learner_id: UUID, fact: Fact, kept_at: datetime) -> KeptFact:
    return KeptFact(
        fact_id=fact.fact_id,
        learner_id=learner_id,
        type=fact.kind.value,
        subject=fact.subject,
        at=fact.at,
        data=dict(fact.data),
        kept_at=kept_at,
    )


_KEEP: Final = HotStatement("""
    insert into facts (fact_id, learner_id, type, subject, at, data, kept_at)
    values (:fact_id, :learner_id, :type, :subject, :at, :data::jsonb, :kept_at)
    on conflict do nothing
""")


async def keep_paid_lines(session: AsyncSession, confirmed: PaymentConfirmed) -> None:
    """Each line is decided for itself: one that waits or is refused does not hold up its siblings."""
    await session.execute(
        insert(OrderLine)
        .values(
            [
                {
                    "order_line_id": line.order_line_id,
                    "order_id": confirmed.order_id,
                    "position": position,
                    "learner_id": confirmed.learner_id,
                    "course_id": line.course_id,
                    "course_version_id": line.course_version_id,
                    "confirmed_at": confirmed.confirmed_at,
                    "heard_at": now(session),
                }
                for position, line in enumerate(confirmed.lines)
            ]
        )
        .on_conflict_do_nothing()
    )


async def withdraw_enrolment(session: AsyncSession, enrolment_id: UUID) -> Enrolment:
    """The learner gives the course up, without a refund. Raises EnrolmentNotOpen."""
    enrolment = await _take(session, enrolment_id)
    if enrolment.status not in enrolments.OPEN:
        raise enrolments.EnrolmentNotOpen(f"this enrolment is {enrolment.status}")
    await _decide_on(session, enrolment, Kind.WITHDRAWAL)
    return enrolment


async def reinstate_enrolment(session: AsyncSession, enrolment_id: UUID, *, by: str, reason_code: str) -> Enrolment:
    """Staff saw that the money is there. Raises OwnEnrolment, EnrolmentNotSuspended."""
    enrolment = await _take(session, enrolment_id)
    if str(enrolment.learner_id) == by:
        raise enrolments.OwnEnrolment("somebody else decides about your own enrolment")
    if enrolment.status != EnrolmentStatus.SUSPENDED:
        raise enrolments.EnrolmentNotSuspended(f"this enrolment is {enrolment.status}")
    await _decide_on(session, enrolment, Kind.REINSTATEMENT, by=by, reason_code=reason_code)
    return enrolment


async def end_unpaid_enrolment(session: AsyncSession, enrolment_id: UUID) -> None:
    """Cancel an enrolment whose money did not come back in time; nothing, if it did meanwhile."""
    enrolment = await _take(session, enrolment_id)
    repayment = regulations.find(enrolment.regulations_version).repayment
    facts = await queries.facts_of(session, enrolment.learner_id)
    lost_at = enrolments.lost_since(queries.ground_of(enrolment), facts)
    if enrolment.status != EnrolmentStatus.SUSPENDED or lost_at is None:
        return
    # The loss may be heard of late, or follow a dispute for which the enrolment was suspended long before.
    if max(lost_at, enrolment.changed_at) + repayment <= now(session):
        await _decide_on(session, enrolment, Kind.PAYMENT_LOST)


async def _take(session: AsyncSession, enrolment_id: UUID) -> Enrolment:
    """The enrolment in its learner's turn, as the turns before left it."""
    enrolment = await fetch(session, Enrolment, enrolment_id)
    await take_turns(session, "learner", enrolment.learner_id)
    return await fetch(session, Enrolment, enrolment_id, lock=True)


async def _decide_on(session: AsyncSession, enrolment: Enrolment, kind: Kind, **data: str) -> None:
    at = now(session)
    fact = Fact.of(
        kind, enrolment.enrolment_id, at, {"enrolment_id": str(enrolment.enrolment_id), "at": at.isoformat(), **data}
    )
    await keep_fact(session, enrolment.learner_id, fact)
    await settle(session, enrolment.learner_id)


async def settle(session: AsyncSession, learner_id: UUID, *, refuse: bool = False) -> None:
    """Decide everything about a learner anew from all facts, and announce what is different now.

    Only who knows that all was heard that others have announced may `refuse` a line for what has not arrived in time.
    """
    await take_turns(session, "learner", learner_id)
    facts = await queries.facts_of(session, learner_id)
    rows = await queries.enrolments_of(session, learner_id)
    for enrolment in rows:
        await _move(session, enrolment, enrolments.standing(queries.ground_of(enrolment), facts))
        if enrolments.ended_without_need(queries.ground_of(enrolment), enrolment.module_family, facts):
            await _give_back(session, enrolment, facts)
    lines = await queries.undecided_lines(session, learner_id)
    if not lines:
        return
    eligible = await queries.is_eligible(session, learner_id)
    passed = enrolments.passed_families(facts)
    for line in lines:
        course = await session.get(CourseVersion, line.course_version_id)
        withdrawn = await session.get(WithdrawnCourse, line.course_id)
        known = course is not None and course.course_id == line.course_id
        under_way = [
            row
            for row in rows
            if row.status in enrolments.OPEN and not enrolments.has_failed(queries.ground_of(row), facts)
        ]
        situation = enrolments.Situation(
            eligible=eligible,
            module_family=course.module_family if course is not None and known else None,
            withdrawn_at=withdrawn.withdrawn_at if withdrawn else None,
            open_courses={row.course_id for row in under_way},
            open_families={row.module_family for row in under_way},
            passed_families=passed,
        )
        at = now(session)
        paid = enrolments.PaidLine(line.course_id, line.confirmed_at, line.heard_at)
        decision = enrolments.decide(paid, situation, regulations.in_force(at), at)
        if decision is Decision.WAIT or (decision in enrolments.NOT_IN_TIME and not refuse):
            continue
        if decision is Decision.ACTIVATE and course is not None:
            enrolment = await _activate(session, line, course, at)
            rows.append(enrolment)
            target = enrolments.standing(queries.ground_of(enrolment), facts)
            if target.status is EnrolmentStatus.ACTIVE:
                _announce_access(session, enrolment, before=(), reason_code="activated", at=at)
            await _move(session, enrolment, target, granted=False)
        else:
            _refuse(session, line, decision, at, refunded=enrolments.is_refunded(line.order_line_id, facts))
        await session.flush()


async def _activate(session: AsyncSession, line: OrderLine, course: CourseVersion, at: datetime) -> Enrolment:
    enrolment = Enrolment(
        enrolment_id=new_id(),
        learner_id=line.learner_id,
        course_id=line.course_id,
        course_version_id=line.course_version_id,
        module_family=course.module_family,
        order_id=line.order_id,
        order_line_id=line.order_line_id,
        regulations_version=regulations.in_force(line.confirmed_at).version,
        status=EnrolmentStatus.ACTIVE.value,
        reason_code=None,
        sequence=1,
        activated_at=at,
        changed_at=at,
    )
    session.add(enrolment)
    line.outcome, line.decided_at = "activated", at
    await session.flush()
    _note_state(session, enrolment)
    publish(
        session,
        EnrolmentActivated(
            enrolment_id=enrolment.enrolment_id,
            learner_id=enrolment.learner_id,
            course_id=enrolment.course_id,
            course_version_id=enrolment.course_version_id,
            order_id=enrolment.order_id,
            order_line_id=enrolment.order_line_id,
            regulations_version=enrolment.regulations_version,
            activated_at=at,
        ),
    )
    return enrolment


def _refuse(session: AsyncSession, line: OrderLine, decision: Decision, at: datetime, *, refunded: bool) -> None:
    """The money goes back; where it is on its way already, there is nothing to say."""
    line.decided_at = at
    if refunded:
        line.outcome = "refunded"
        return
    line.outcome, line.reason_code = "refused", decision.value
    publish(
        session,
        ActivationRefused(
            order_id=line.order_id,
            order_line_id=line.order_line_id,
            learner_id=line.learner_id,
            course_id=line.course_id,
            reason_code=decision.value,
            refused_at=at,
        ),
    )


async def _give_back(session: AsyncSession, enrolment: Enrolment, facts: Collection[Fact]) -> None:
    """What was paid again too late goes back, once."""
    line = await session.get(OrderLine, enrolment.order_line_id, with_for_update=True)
    if line is not None and line.outcome == "activated":
        refunded = enrolments.is_refunded(line.order_line_id, facts)
        _refuse(session, line, Decision.ENROLMENT_ENDED, now(session), refunded=refunded)


async def _move(session: AsyncSession, enrolment: Enrolment, target: Standing, *, granted: bool = True) -> None:
    """Give the enrolment its status, once; `granted` tells whether the one before opened anything yet."""
    before = enrolment.status
    # A fact that arrives late may give a better reason for the same status: nothing to announce.
    enrolment.reason_code = target.reason_code
    if before == target.status:
        return
    at = now(session)
    enrolment.status = target.status.value
    enrolment.sequence += 1
    enrolment.changed_at = at
    await session.flush()
    _note_state(session, enrolment)
    if before == EnrolmentStatus.SUSPENDED and target.status is not EnrolmentStatus.CANCELLED:
        publish(
            session,
            EnrolmentReinstated(
                enrolment_id=enrolment.enrolment_id,
                learner_id=enrolment.learner_id,
                sequence=enrolment.sequence,
                reinstated_at=at,
            ),
        )
    announcement = _announcement(enrolment, at)
    if announcement is not None:
        publish(session, announcement)
    rules = regulations.find(enrolment.regulations_version)
    opened_before = rules.opened_by(before) if granted else ()
    _announce_access(session, enrolment, before=opened_before, reason_code=target.reason_code or target.status, at=at)


def _announcement(enrolment: Enrolment, at: datetime) -> Event | None:
    """What the status it has now is announced with."""
    who: dict[str, Any] = {  # Any: fields of several events
        "enrolment_id": enrolment.enrolment_id,
        "learner_id": enrolment.learner_id,
    }
    course_id, sequence, reason_code = enrolment.course_id, enrolment.sequence, enrolment.reason_code or ""
    match EnrolmentStatus(enrolment.status):
        case EnrolmentStatus.SUSPENDED:
            return EnrolmentSuspended(**who, reason_code=reason_code, sequence=sequence, suspended_at=at)
        case EnrolmentStatus.CANCELLED:
            return EnrolmentCancelled(
                **who, course_id=course_id, reason_code=reason_code, sequence=sequence, cancelled_at=at
            )
        case EnrolmentStatus.COMPLETED:
            return EnrolmentCompleted(**who, course_id=course_id, completed_at=at)
        case EnrolmentStatus.FAILED:
            return EnrolmentFailed(**who, course_id=course_id, failed_at=at)
        case EnrolmentStatus.ACTIVE:
            return None


def _announce_access(
    session: AsyncSession, enrolment: Enrolment, *, before: tuple[str, ...], reason_code: str, at: datetime
) -> None:
    """Entitlements follow the status, as the regulations pinned to the enrolment say."""
    after = regulations.find(enrolment.regulations_version).opened_by(enrolment.status)
    gained = tuple(name for name in after if name not in before)
    lost = tuple(name for name in before if name not in after)
    if gained:
        publish(
            session,
            AccessGranted(
                enrolment_id=enrolment.enrolment_id,
                learner_id=enrolment.learner_id,
                entitlements=gained,
                granted_at=at,
            ),
        )
    if lost:
        publish(
            session,
            AccessRevoked(
                enrolment_id=enrolment.enrolment_id,
                learner_id=enrolment.learner_id,
                entitlements=lost,
                reason_code=reason_code,
                revoked_at=at,
            ),
        )


def _note_state(session: AsyncSession, enrolment: Enrolment) -> None:
    session.add(
        EnrolmentState(
            enrolment_id=enrolment.enrolment_id,
            sequence=enrolment.sequence,
            status=enrolment.status,
            reason_code=enrolment.reason_code,
            at=enrolment.changed_at,
        )
    )
