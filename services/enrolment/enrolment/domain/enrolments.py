"""Whether a paid order line becomes an enrolment, and the status of an enrolment as it follows from all facts."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from enrolment.domain.facts import (
    AttemptsExhausted,
    CreditAwarded,
    DisputeClosed,
    DisputeOpened,
    EnrolmentFact,
    Fact,
    MoneyFact,
    PaymentConfirmed,
    PaymentLost,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    RefundRequested,
    Reinstatement,
    Withdrawal,
    of_kind,
    revocations,
)
from enrolment.domain.regulations import Regulations
from shared.clock import later
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


class StudiesSameModule(Forbidden):
    """Who studies a module is no staff of it: they read no study record, with its results, of others on it."""

    remedy = "Leave it to a colleague who does not study this module."


class EnrolmentNotSuspended(Conflict):
    """Only a suspended enrolment can be reinstated."""

    remedy = "Check which enrolment is meant: this one is not suspended."


class EnrolmentStatus(StrEnum):
    """Where an enrolment stands.

    - `active`: the learner studies.
    - `suspended`: the money is missing or disputed, and access is closed.
    - `cancelled`: it ended by refund, withdrawal or lost money.
    - `completed`: the course led to credit.
    - `failed`: the last attempt was a fail.
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"


OPEN = frozenset({EnrolmentStatus.ACTIVE, EnrolmentStatus.SUSPENDED})
"""Under way: the learner gets no second enrolment in the course or its module family beside it."""


DISPUTED = "payment_disputed"
CHARGEBACK = "chargeback"
REFUNDED = "refunded"
LOST = "lost"
"""The outcome of a dispute that took the money."""


@dataclass(frozen=True, slots=True)
class DerivedState:
    """The status of an enrolment as the facts have it, and why."""

    status: EnrolmentStatus
    reason_code: str | None = None
    decided_by: str | None = None
    """Who granted the refund that ended it, where staff did."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The ids by which an enrolment's facts are found."""

    enrolment_id: UUID
    order_id: UUID
    order_line_id: UUID


def derived_state(ground: Ground, facts: Collection[Fact]) -> DerivedState:
    """Return the status of an enrolment that follows from the facts, in whatever order they arrived.

    A cancellation is final. Missing or disputed money suspends, even after the credit (which stays: that is the
    board's to decide). Credit completes, and the last failed attempt fails. Source: docs/rules.md,
    "Enrolment" and "Money that is taken back".
    """
    ended = _end(ground, facts)
    if ended is not None:
        return ended
    lost = _lost_money(ground, facts)
    if lost is not None:
        return DerivedState(
            EnrolmentStatus.SUSPENDED, lost.reason_code if isinstance(lost, PaymentReversed) else CHARGEBACK
        )
    if _is_disputed(ground, facts):
        return DerivedState(EnrolmentStatus.SUSPENDED, DISPUTED)
    return _of_study(ground, facts)


def _of_study(ground: Ground, facts: Collection[Fact]) -> DerivedState:
    """Return the status that the enrolment has where nothing is to be said about its money."""
    mine = [fact for fact in facts if isinstance(fact, EnrolmentFact) and fact.enrolment_id == ground.enrolment_id]
    if of_kind(mine, CreditAwarded):
        return DerivedState(EnrolmentStatus.COMPLETED)
    if of_kind(mine, AttemptsExhausted):
        return DerivedState(EnrolmentStatus.FAILED, "attempts_exhausted")
    return DerivedState(EnrolmentStatus.ACTIVE)


def check_withdrawal(ground: Ground, facts: Collection[Fact]) -> None:
    """Check that the course is under way; who has passed gets rid of a suspension by paying. Raises
    EnrolmentNotOpen."""
    state = derived_state(ground, facts)
    if state.status is EnrolmentStatus.SUSPENDED:
        state = _of_study(ground, facts)
    if state.status is not EnrolmentStatus.ACTIVE:
        raise EnrolmentNotOpen(f"this enrolment is {state.status}")


def _end(ground: Ground, facts: Collection[Fact]) -> DerivedState | None:
    """Return how the enrolment has ended; None where it has not.

    Where there is a refund, by that: consumers of the end must know of money that goes back after another end, as
    finance may grant it, or as it was lost and came again.
    """
    cancelled = EnrolmentStatus.CANCELLED
    for fact in of_kind(facts, RefundRequested):
        if fact.order_line_id == ground.order_line_id:
            return DerivedState(cancelled, REFUNDED, fact.decided_by)
    for fact in of_kind(facts, Withdrawal, PaymentLost):
        if fact.subject == ground.enrolment_id:
            return DerivedState(cancelled, "withdrawn" if isinstance(fact, Withdrawal) else "payment_lost")
    return None


def lost_since(ground: Ground, facts: Collection[Fact]) -> datetime | None:
    """Return since when the order's money is lost; None while it is there, or only disputed."""
    lost = _lost_money(ground, facts)
    return lost.at if lost is not None else None


def ended_without_need(ground: Ground, family: str, facts: Collection[Fact]) -> bool:
    """Return whether money is there that came after the enrolment had ended: for want of it, or given up while it was
    lost or before another payment paid the order. Where the course was passed, it was given for the money."""
    ends = of_kind(facts, Withdrawal, PaymentLost)
    end = next((fact for fact in ends if fact.subject == ground.enrolment_id), None)
    if (
        end is None
        or is_refunded(ground.order_line_id, facts)
        or _lost_money(ground, facts) is not None
        or family in passed_families(facts)
    ):
        return False
    before = [fact for fact in facts if fact.at < end.at]
    another = _paid_by(ground, before) != _paid_by(ground, facts)
    return isinstance(end, PaymentLost) or another or _lost_money(ground, before) is not None


def has_failed(ground: Ground, facts: Collection[Fact]) -> bool:
    """Return whether the last attempt was used up, whatever has become of the money since."""
    return any(fact.enrolment_id == ground.enrolment_id for fact in of_kind(facts, AttemptsExhausted))


M = TypeVar("M", bound=MoneyFact)


def _of_its_money(ground: Ground, facts: Iterable[Fact], *kinds: type[M]) -> list[M]:
    """Return the facts about the payment that pays the order now: the one that confirmed it, or the one restored last.
    Facts about another payment, whenever they come, change nothing."""
    of_order = [fact for fact in facts if isinstance(fact, MoneyFact) and fact.order_id == ground.order_id]
    paying = _paid_by(ground, of_order)
    return [fact for fact in of_kind(of_order, *kinds) if paying in {None, fact.payment_id}]


def _paid_by(ground: Ground, facts: Iterable[Fact]) -> UUID | None:
    """Return the payment that pays the order by these facts; None where none does yet."""
    of_order = [fact for fact in facts if isinstance(fact, MoneyFact) and fact.order_id == ground.order_id]
    paid = of_kind(of_order, PaymentRestored) or of_kind(of_order, PaymentConfirmed)
    return paid[-1].payment_id if paid else None


def _lost_money(ground: Ground, facts: Collection[Fact]) -> PaymentReversed | DisputeClosed | None:
    """Return the last fact about the loss of the order's money; None where it came back afterwards or staff let it
    pass.

    The instants of these facts are all given by payments, each later than those before (`Order.announced_at`).
    """
    came = _of_its_money(ground, facts, PaymentSettled, PaymentRestored)
    # Money that did not come back between two facts about its loss was lost once.
    words = [loss for loss in _losses(ground, facts) if not any(fact.at > loss.at for fact in came)]
    return words[-1] if words and not _is_forgiven(ground, facts, *words) else None


def _losses(ground: Ground, facts: Collection[Fact]) -> list[PaymentReversed | DisputeClosed]:
    return [
        fact
        for fact in _of_its_money(ground, facts, PaymentReversed, DisputeClosed)
        if isinstance(fact, PaymentReversed) or fact.outcome == LOST
    ]


def troubles(ground: Ground, facts: Collection[Fact]) -> list[Fact]:
    """Return the facts about losses of the order's money and disputes about it: those that a reinstatement lets
    pass."""
    return [*_losses(ground, facts), *_of_its_money(ground, facts, DisputeOpened)]


def _is_disputed(ground: Ground, facts: Collection[Fact]) -> bool:
    """Return whether the payer's bank has yet to decide about the order's money, and staff did not let that pass."""
    closed = {fact.subject for fact in _of_its_money(ground, facts, DisputeClosed)}
    return any(
        fact.subject not in closed and not _is_forgiven(ground, facts, fact)
        for fact in _of_its_money(ground, facts, DisputeOpened)
    )


def _is_forgiven(ground: Ground, facts: Collection[Fact], *words: Fact) -> bool:
    """Return whether staff knew one of these facts about one loss or dispute, and let it pass."""
    known = {word.fact_id for word in words}
    decisions = [fact for fact in of_kind(facts, Reinstatement) if fact.subject == ground.enrolment_id]
    return any(
        not known.isdisjoint(fact.forgives)
        if fact.forgives is not None
        else fact.at >= words[-1].at  # decided under a release that did not note what it knew of
        for fact in decisions
    )


@dataclass(frozen=True, slots=True)
class PaidLine:
    """A paid order line that may become an enrolment."""

    order_line_id: UUID
    course_id: UUID
    confirmed_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides about a paid line, as it is known now."""

    eligible: bool
    """The learner has registered, which includes certifying both admission criteria."""
    module_family: str | None
    """That of the course version that was bought; None while the version is not known here."""
    withdrawn_at: datetime | None
    open_courses: Collection[UUID]
    open_families: Collection[str]
    passed_families: Collection[str]
    earned: UUID | None = None
    """The enrolment this line had before, which is not known here and earned its credit (`earned_by`)."""


class Decision(StrEnum):
    """What becomes of a paid line. The names of errors are the reason codes of ActivationRefused."""

    ACTIVATE = "activate"
    WAIT = "wait"
    NOT_REGISTERED = "not_registered"
    UNKNOWN_COURSE = "unknown_course"
    COURSE_WITHDRAWN = "course_withdrawn"
    ALREADY_ENROLLED = "already_enrolled"
    ALREADY_PASSED = "already_passed"
    ENROLMENT_ENDED = "enrolment_ended"
    """The money came after the enrolment had ended for want of it, or had been given up meanwhile."""


def decide(line: PaidLine, situation: Situation, regulations: Regulations, at: datetime) -> Decision:
    """Decide what becomes of a paid line. It waits for what may still arrive, but not for ever."""
    withdrawn = situation.withdrawn_at
    if situation.earned is not None and situation.module_family is not None:
        return Decision.ACTIVATE
    if withdrawn is not None and withdrawn <= line.confirmed_at:
        return Decision.COURSE_WITHDRAWN
    obstacle = _obstacle(line, situation)
    if obstacle is None:
        return Decision.ACTIVATE
    return Decision.WAIT if at < later(line.received_at, regulations.activation_wait) else obstacle


def _obstacle(line: PaidLine, situation: Situation) -> Decision | None:
    """Return what stands in the way of an enrolment, and may be removed by an event that is yet to arrive, also by the
    refund or revocation that made room for the purchase."""
    if not situation.eligible:
        return Decision.NOT_REGISTERED
    if situation.module_family is None:
        return Decision.UNKNOWN_COURSE
    if situation.module_family in situation.passed_families:
        return Decision.ALREADY_PASSED
    under_way = line.course_id in situation.open_courses or situation.module_family in situation.open_families
    return Decision.ALREADY_ENROLLED if under_way else None


def passed_families(facts: Collection[Fact]) -> frozenset[str]:
    """Return the module families the learner holds credit for: awarded and not revoked."""
    revoked = revocations(facts)
    return frozenset(fact.module_family for fact in of_kind(facts, CreditAwarded) if fact.credit_id not in revoked)


def earned_by(line: PaidLine, facts: Collection[Fact], known: Collection[UUID]) -> UUID | None:
    """Return the enrolment of a line that was activated before this database lost it: credit was awarded for the course
    since it was paid, to an enrolment that is none of the `known` ones. None where there is none."""
    if is_refunded(line.order_line_id, facts):
        return None
    for fact in of_kind(facts, CreditAwarded):
        if fact.enrolment_id not in known and fact.course_id == line.course_id and fact.at >= line.confirmed_at:
            return fact.enrolment_id
    return None


def is_refunded(order_line_id: UUID, facts: Iterable[Fact]) -> bool:
    """Return whether a refund of an order line was requested."""
    return any(fact.order_line_id == order_line_id for fact in of_kind(facts, RefundRequested))


def must_open(entitlement: str, status: str, regulations: Regulations) -> None:
    """Check that an enrolment of that status opens this entitlement. Raises MaterialsClosed."""
    if entitlement not in regulations.opened_by(status):
        raise MaterialsClosed(f"this enrolment is {status}", status_of_enrolment=status)
