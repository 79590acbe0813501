"""The life of an enrolment: every fact is stored, then everything about its learner is decided anew."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.adapters.stored_facts import digest, kind_of
from enrolment.domain import enrolments, regulations
from enrolment.domain.enrolments import Decision, DerivedState, EnrolmentStatus
from enrolment.domain.facts import Fact, PaymentLost, Reinstatement, Withdrawal
from enrolment.tables import CourseVersion, Enrolment, EnrolmentState, OrderLine, StoredEvent, WithdrawnCourse
from shared.access import refuse_own
from shared.database import RawStatement, advisory_lock, fetch, now, record_of
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
from shared.ids import id_of
from shared.messaging import history, publish


async def keep_event(session: AsyncSession, event: Event, at: datetime) -> UUID:
    """Append an event to its learner's facts, once however often it arrives; return the learner's id. Holds the
    learner's lock until the transaction ends."""
    row = event_row(event, at, now(session))
    await _keep(session, row)
    return row.learner_id


def event_row(event: Event, at: datetime, kept_at: datetime) -> StoredEvent:
    """Return an event, true since `at`, as a row of facts."""
    data = event.model_dump(mode="json")
    return _row(UUID(event.partition_key), event.type, UUID(event.aggregate_id), at, data, kept_at)


def _row(
    learner_id: UUID,
    kind: str,
    subject: UUID,
    at: datetime,
    data: dict[str, Any],
    kept_at: datetime,  # Any: JSON
) -> StoredEvent:
    return StoredEvent(
        fact_id=digest(kind, subject, data),
        learner_id=learner_id,
        type=kind,
        subject=subject,
        at=at,
        data=data,
        kept_at=kept_at,
    )


async def _keep(session: AsyncSession, fact: StoredEvent) -> None:
    await advisory_lock(session, "learner", fact.learner_id)
    row = record_of(fact)
    await _KEEP.within(session, **row | {"data": json.dumps(row["data"])})


_KEEP: Final = RawStatement("""
    insert into facts (fact_id, learner_id, type, subject, at, data, kept_at)
    values (:fact_id, :learner_id, :type, :subject, :at, :data::jsonb, :kept_at)
    on conflict do nothing
""")


async def keep_paid_lines(session: AsyncSession, confirmed: PaymentConfirmed) -> None:
    """Store the paid lines of an order. Each is decided by itself: one that waits or is refused does not hold up the
    others."""
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
                    "received_at": now(session),
                }
                for position, line in enumerate(confirmed.lines)
            ]
        )
        .on_conflict_do_nothing()
    )


async def withdraw_enrolment(session: AsyncSession, enrolment_id: UUID) -> Enrolment:
    """Cancel an enrolment that the learner gives up, without a refund. Raises EnrolmentNotOpen."""
    enrolment = await _take(session, enrolment_id)
    enrolments.check_withdrawal(queries.ground_of(enrolment), await queries.facts_of(session, enrolment.learner_id))
    await _decide_on(session, enrolment, Withdrawal)
    return enrolment


async def reinstate_enrolment(session: AsyncSession, enrolment_id: UUID, *, by: str, reason_code: str) -> Enrolment:
    """Reinstate a suspended enrolment, as staff saw that the money is there. Raises OwnEnrolment,
    EnrolmentNotSuspended."""
    enrolment = await _take(session, enrolment_id)
    own = enrolments.OwnEnrolment("somebody else decides about your own enrolment")
    refuse_own(session, own, enrolment.learner_id, by)
    if enrolment.status != EnrolmentStatus.SUSPENDED:
        raise enrolments.EnrolmentNotSuspended(f"this enrolment is {enrolment.status}")
    facts = await queries.facts_of(session, enrolment.learner_id)
    forgives = [str(fact.fact_id) for fact in enrolments.troubles(queries.ground_of(enrolment), facts)]
    await _decide_on(session, enrolment, Reinstatement, by=by, reason_code=reason_code, forgives=forgives)
    return enrolment


async def end_unpaid_enrolment(session: AsyncSession, enrolment_id: UUID) -> None:
    """Cancel an enrolment whose money did not come back in time; do nothing if it did meanwhile."""
    enrolment = await _take(session, enrolment_id)
    repayment = regulations.find(enrolment.regulations_version).repayment
    facts = await queries.facts_of(session, enrolment.learner_id)
    lost_at = enrolments.lost_since(queries.ground_of(enrolment), facts)
    if enrolment.status != EnrolmentStatus.SUSPENDED or lost_at is None:
        return
    # The loss may be announced late, or follow a dispute for which the enrolment was suspended long before.
    if max(lost_at, enrolment.changed_at) + repayment <= now(session):
        await _decide_on(session, enrolment, PaymentLost)


async def _take(session: AsyncSession, enrolment_id: UUID) -> Enrolment:
    """Take the learner's lock, and return the enrolment as it is then."""
    enrolment = await fetch(session, Enrolment, enrolment_id)
    await advisory_lock(session, "learner", enrolment.learner_id)
    return await fetch(session, Enrolment, enrolment_id, lock=True)


async def _decide_on(
    session: AsyncSession, enrolment: Enrolment, decision: type[Fact], **data: str | list[str]
) -> None:
    at, subject = now(session), enrolment.enrolment_id
    data |= {"enrolment_id": str(subject), "at": at.isoformat()}
    await _keep(session, _row(enrolment.learner_id, kind_of(decision), subject, at, data, at))
    await settle(session, enrolment.learner_id)


async def settle(session: AsyncSession, learner_id: UUID, *, refuse: bool = False) -> None:
    """Decide everything about a learner anew from all facts, and announce what has changed.

    `refuse` lines only where all events that others have published were handled, and this database has lost no history.
    """
    await advisory_lock(session, "learner", learner_id)
    facts = await queries.facts_of(session, learner_id)
    rows = await queries.enrolments_of(session, learner_id)
    for enrolment in rows:
        await _move(session, enrolment, enrolments.derived_state(queries.ground_of(enrolment), facts))
        if enrolments.ended_without_need(queries.ground_of(enrolment), enrolment.module_family, facts):
            await _give_back(session, enrolment, facts)
    lines = await queries.undecided_lines(session, learner_id)
    if not lines:
        return
    eligible = await queries.is_eligible(session, learner_id)
    passed = enrolments.passed_families(facts)
    accepted = await history.accepted_at(session)
    for line in lines:
        course = await session.get(CourseVersion, line.course_version_id)
        withdrawn = await session.get(WithdrawnCourse, line.course_id)
        known = course is not None and course.course_id == line.course_id
        under_way = [
            row
            for row in rows
            if row.status in enrolments.OPEN and not enrolments.has_failed(queries.ground_of(row), facts)
        ]
        # Learners whose registration was lost with history have the time to register again.
        waiting_since = max(line.received_at, accepted or line.received_at)
        paid = enrolments.PaidLine(line.order_line_id, line.course_id, line.confirmed_at, waiting_since)
        others = {enrolment_of(other.order_line_id) for other in lines if other is not line}
        situation = enrolments.Situation(
            eligible=eligible,
            module_family=course.module_family if course is not None and known else None,
            withdrawn_at=withdrawn.withdrawn_at if withdrawn else None,
            open_courses={row.course_id for row in under_way},
            open_families={row.module_family for row in under_way},
            passed_families=passed,
            earned=enrolments.earned_by(paid, facts, {*(row.enrolment_id for row in rows), *others}),
        )
        at = now(session)
        decision = enrolments.decide(paid, situation, regulations.in_force(at), at)
        if decision is Decision.WAIT or (decision is not Decision.ACTIVATE and not refuse):
            continue
        if decision is Decision.ACTIVATE and course is not None:
            enrolment = await _activate(session, line, course, at, situation.earned or enrolment_of(line.order_line_id))
            rows.append(enrolment)
            target = enrolments.derived_state(queries.ground_of(enrolment), facts)
            if target.status is EnrolmentStatus.ACTIVE:
                _announce_access(session, enrolment, before=(), reason_code="activated", at=at)
            await _move(session, enrolment, target, granted=False)
        else:
            _refuse(session, line, decision, at, refunded=enrolments.is_refunded(line.order_line_id, facts))
        await session.flush()


def enrolment_of(order_line_id: UUID) -> UUID:
    """Return the id of a paid line's one enrolment."""
    return id_of("enrolment", order_line_id)


async def _activate(
    session: AsyncSession, line: OrderLine, course: CourseVersion, at: datetime, enrolment_id: UUID
) -> Enrolment:
    enrolment = Enrolment(
        enrolment_id=enrolment_id,
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
    """Refuse to activate a paid line, so that its money goes back; where it goes back already, nothing is announced."""
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
    """Have money go back, once, that came after the enrolment had ended without it."""
    line = await session.get(OrderLine, enrolment.order_line_id, with_for_update={"key_share": True})
    if line is not None and line.outcome == "activated":
        refunded = enrolments.is_refunded(line.order_line_id, facts)
        _refuse(session, line, Decision.ENROLMENT_ENDED, now(session), refunded=refunded)


async def _move(session: AsyncSession, enrolment: Enrolment, target: DerivedState, *, granted: bool = True) -> None:
    """Give the enrolment its status, once; `granted`: whether access by the status before was announced."""
    before, reason = enrolment.status, enrolment.reason_code
    enrolment.reason_code = target.reason_code
    # A fact that arrives late may give a better reason for the same status: nothing to announce, but that the money of
    # an enrolment that had ended goes back, which holds its credit.
    if before == target.status and (target.reason_code != enrolments.REFUNDED or reason == enrolments.REFUNDED):
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
    announcement = _announcement(enrolment, at, target.decided_by)
    if announcement is not None:
        publish(session, announcement)
    rules = regulations.find(enrolment.regulations_version)
    opened_before = rules.opened_by(before) if granted else ()
    _announce_access(session, enrolment, before=opened_before, reason_code=target.reason_code or target.status, at=at)


def _announcement(enrolment: Enrolment, at: datetime, decided_by: str | None) -> Event | None:
    """Return the event that announces the enrolment's present status; None where that is no event of its own."""
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
                **who,
                course_id=course_id,
                order_id=enrolment.order_id,
                reason_code=reason_code,
                decided_by=decided_by,
                sequence=sequence,
                cancelled_at=at,
            )
        case EnrolmentStatus.COMPLETED:
            return EnrolmentCompleted(**who, course_id=course_id, sequence=sequence, completed_at=at)
        case EnrolmentStatus.FAILED:
            return EnrolmentFailed(**who, course_id=course_id, sequence=sequence, failed_at=at)
        case EnrolmentStatus.ACTIVE:
            return None


def _announce_access(
    session: AsyncSession, enrolment: Enrolment, *, before: tuple[str, ...], reason_code: str, at: datetime
) -> None:
    """Announce the entitlements that the status gives and takes, by the regulations pinned to the enrolment."""
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
                sequence=enrolment.sequence,
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
                sequence=enrolment.sequence,
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
