"""From a paid order line to an enrolment, and the status of that enrolment as all facts together have it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from enrolment.domain.facts import Fact, Kind, of_kind, revocations
from enrolment.domain.regulations import Regulations
from shared.errors import Conflict, Forbidden


class MaterialsClosed(Forbidden):
    """The materials are open to an active enrolment, and to others only where the regulations say so."""

    remedy = "Read the enrolment: its state says whether and when the materials open."


class EnrolmentNotOpen(Conflict):
    """Only an enrolment that is still under way can be withdrawn from."""

    remedy = "Nothing is left to withdraw from."


class OwnEnrolment(Forbidden):
    """Finance decides nothing about an enrolment of their own: somebody else does."""

    remedy = "Leave it to a colleague."


class EnrolmentNotSuspended(Conflict):
    """Only a suspended enrolment can be reinstated."""

    remedy = "Check which enrolment is meant: this one is not suspended."


class EnrolmentStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"


OPEN = frozenset({EnrolmentStatus.ACTIVE, EnrolmentStatus.SUSPENDED})
"""Under way: no second enrolment in the course or its module family is given beside it."""


DISPUTED = "payment_disputed"
CHARGEBACK = "chargeback"
LOST = "lost"
"""The outcome of a dispute that took the money."""


@dataclass(frozen=True, slots=True)
class Standing:
    status: EnrolmentStatus
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What an enrolment stands on: the ids its facts are found by."""

    enrolment_id: UUID
    order_id: UUID
    order_line_id: UUID


def standing(ground: Ground, facts: Collection[Fact]) -> Standing:
    """The status that the facts give, in whatever order they arrived.

    A cancellation is final. Missing or disputed money suspends, even after the credit (which stays: that is the
    board's to decide). Credit completes, and the last failed attempt fails. Source: the saga table
    and chargeback policy of the domain rules.
    """
    ended = _first_end(ground, facts)
    if ended is not None:
        return Standing(EnrolmentStatus.CANCELLED, ended)
    lost = _lost_money(ground, facts)
    if lost is not None:
        return Standing(EnrolmentStatus.SUSPENDED, str(lost.data.get("reason_code", CHARGEBACK)))
    if _is_disputed(ground, facts):
        return Standing(EnrolmentStatus.SUSPENDED, DISPUTED)
    mine = [fact for fact in facts if fact.id("enrolment_id") == ground.enrolment_id]
    if of_kind(mine, Kind.CREDIT_AWARDED):
        return Standing(EnrolmentStatus.COMPLETED)
    if of_kind(mine, Kind.ATTEMPTS_EXHAUSTED):
        return Standing(EnrolmentStatus.FAILED, "attempts_exhausted")
    return Standing(EnrolmentStatus.ACTIVE)


def _first_end(ground: Ground, facts: Iterable[Fact]) -> str | None:
    for fact in of_kind(facts, Kind.REFUND_REQUESTED, Kind.WITHDRAWAL, Kind.PAYMENT_LOST):
        if fact.kind is Kind.REFUND_REQUESTED and fact.id("order_line_id") == ground.order_line_id:
            return "refunded"
        if fact.kind is Kind.WITHDRAWAL and fact.subject == ground.enrolment_id:
            return "withdrawn"
        if fact.kind is Kind.PAYMENT_LOST and fact.subject == ground.enrolment_id:
            return "payment_lost"
    return None


def lost_since(ground: Ground, facts: Collection[Fact]) -> datetime | None:
    """Since when the order's money is gone; None while it is there, or only disputed."""
    lost = _lost_money(ground, facts)
    return lost.at if lost is not None else None


def ended_without_need(ground: Ground, family: str, facts: Collection[Fact]) -> bool:
    """Whether the enrolment ended because its money was gone, and the money is there after all. Where the course was
    passed it was given."""
    return (
        _first_end(ground, facts) == "payment_lost"
        and _lost_money(ground, facts) is None
        and family not in passed_families(facts)
    )


def has_failed(ground: Ground, facts: Collection[Fact]) -> bool:
    """Whether the last attempt was used up, whatever has become of the money since."""
    return any(fact.id("enrolment_id") == ground.enrolment_id for fact in of_kind(facts, Kind.ATTEMPTS_EXHAUSTED))


def _lost_money(ground: Ground, facts: Collection[Fact]) -> Fact | None:
    """The last loss of the order's money, unless it came back afterwards or staff let it pass."""
    of_order = [fact for fact in facts if fact.id("order_id") == ground.order_id]
    losses = [
        fact
        for fact in of_kind(of_order, Kind.PAYMENT_REVERSED, Kind.DISPUTE_CLOSED)
        if fact.kind is Kind.PAYMENT_REVERSED or fact.data["outcome"] == LOST
    ]
    if not losses:
        return None
    last = losses[-1]
    returned = any(fact.at > last.at for fact in of_kind(of_order, Kind.PAYMENT_SETTLED, Kind.PAYMENT_RESTORED))
    return None if returned or _is_forgiven(ground, facts, last) else last


def _is_disputed(ground: Ground, facts: Collection[Fact]) -> bool:
    """Whether the payer's bank has yet to decide about the order's money, and staff did not let it pass."""
    of_order = [fact for fact in facts if fact.id("order_id") == ground.order_id]
    closed = {fact.subject for fact in of_kind(of_order, Kind.DISPUTE_CLOSED)}
    return any(
        fact.subject not in closed and not _is_forgiven(ground, facts, fact)
        for fact in of_kind(of_order, Kind.DISPUTE_OPENED)
    )


def _is_forgiven(ground: Ground, facts: Collection[Fact], trouble: Fact) -> bool:
    return any(
        fact.subject == ground.enrolment_id and fact.at >= trouble.at for fact in of_kind(facts, Kind.REINSTATEMENT)
    )


@dataclass(frozen=True, slots=True)
class PaidLine:
    course_id: UUID
    confirmed_at: datetime
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides about a paid line, as known now."""

    eligible: bool
    """The learner has registered, which includes certifying both admission criteria."""
    module_family: str | None
    """Of the course version that was bought; None while we have not heard of it."""
    withdrawn_at: datetime | None
    open_courses: Collection[UUID]
    open_families: Collection[str]
    passed_families: Collection[str]


class Decision(StrEnum):
    """The names of refusals are the reason codes of ActivationRefused."""

    ACTIVATE = "activate"
    WAIT = "wait"
    NOT_REGISTERED = "not_registered"
    UNKNOWN_COURSE = "unknown_course"
    COURSE_WITHDRAWN = "course_withdrawn"
    ALREADY_ENROLLED = "already_enrolled"
    ALREADY_PASSED = "already_passed"
    ENROLMENT_ENDED = "enrolment_ended"
    """The money came back after the enrolment had ended for want of it."""


NOT_IN_TIME = frozenset({Decision.NOT_REGISTERED, Decision.UNKNOWN_COURSE})
"""What was waited for has not arrived: concluded from the time alone."""


def decide(line: PaidLine, situation: Situation, regulations: Regulations, at: datetime) -> Decision:
    """What becomes of a paid line. What may still arrive is waited for, but not for ever."""
    patient = at < line.heard_at + regulations.activation_wait
    withdrawn = situation.withdrawn_at
    if withdrawn is not None and withdrawn <= line.confirmed_at:
        return Decision.COURSE_WITHDRAWN
    if not situation.eligible:
        return Decision.WAIT if patient else Decision.NOT_REGISTERED
    if situation.module_family is None:
        return Decision.WAIT if patient else Decision.UNKNOWN_COURSE
    if situation.module_family in situation.passed_families:
        return Decision.ALREADY_PASSED
    if line.course_id in situation.open_courses or situation.module_family in situation.open_families:
        return Decision.ALREADY_ENROLLED
    return Decision.ACTIVATE


def passed_families(facts: Collection[Fact]) -> frozenset[str]:
    """Module families the learner holds credit for: awarded and not revoked."""
    revoked = revocations(facts)
    return frozenset(
        str(fact.data["module_family"])
        for fact in of_kind(facts, Kind.CREDIT_AWARDED)
        if fact.id("credit_id") not in revoked
    )


def is_refunded(order_line_id: UUID, facts: Iterable[Fact]) -> bool:
    return any(fact.id("order_line_id") == order_line_id for fact in of_kind(facts, Kind.REFUND_REQUESTED))


def must_open(entitlement: str, status: str, regulations: Regulations) -> None:
    """Raises MaterialsClosed unless an enrolment of that status opens it."""
    if entitlement not in regulations.opened_by(status):
        raise MaterialsClosed(f"this enrolment is {status}", status_of_enrolment=status)
