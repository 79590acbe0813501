"""Facts: what others published and what was decided here about a learner. All else about their studies is derived.

A class has the name of the event it is read from, and those of its fields that this service needs; what former releases
left out has a default. Our own decisions have names of their own (`DECISIONS`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One event or decision about a learner. `at` is the instant it became true, not that at which it arrived.
    `fact_id` is the same however often the same fact arrives."""

    fact_id: UUID
    subject: UUID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFact(Fact):
    """About the payment of an order."""

    order_id: UUID
    payment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentConfirmed(MoneyFact):
    """The payment that paid an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettled(MoneyFact):
    """Its money is there for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReversed(MoneyFact):
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRestored(MoneyFact):
    """Money that was taken back is there again, by this payment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeOpened(MoneyFact):
    """The payer's bank is asked to take the money back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeClosed(MoneyFact):
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequested(Fact):
    order_line_id: UUID | None = None
    """None for money that paid no line."""
    decided_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentFact(Fact):
    """About the assessment of one enrolment."""

    enrolment_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionReceived(EnrolmentFact):
    window_id: UUID
    attempt_no: int
    sha256: str
    replaces: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionVoided(EnrolmentFact):
    """The submission never counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentPassed(EnrolmentFact):
    attempt_no: int
    mark: Decimal
    capped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentFailed(EnrolmentFact):
    attempt_no: int
    mark: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FailRatified(EnrolmentFact):
    submission_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MisconductOpened(EnrolmentFact):
    submission_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class MisconductDecided(EnrolmentFact):
    """The case is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptsExhausted(EnrolmentFact):
    """The last attempt was failed, and the board has ratified it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditAwarded(EnrolmentFact):
    credit_id: UUID
    submission_id: UUID
    course_id: UUID
    course_code: str
    course_title: str
    module_family: str
    subject_name: str
    credits: int
    level: int
    mark: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditRevoked(Fact):
    reason_code: str
    revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditReinstated(Fact):
    revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadgeIssued(Fact):
    credential_url: str
    credit_id: UUID | None = None
    award_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadgeRevoked(Fact):
    """The badge is valid no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TitlesChanged:
    """Titles of one level that came to be on offer, and that no longer are."""

    level: str
    titles_added: tuple[str, ...]
    titles_removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardEligibilityChanged(Fact):
    sequence: int
    levels: tuple[TitlesChanged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardClaimed(Fact):
    level: str
    title: str
    credit_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardConferred(Fact):
    level: str
    title: str
    credit_ids: tuple[UUID, ...]
    classification: str
    certificate_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardLapsed(Fact):
    """Nobody conferred the award in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardWithdrawn(Fact):
    """The learner took the claim back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardRefused(Fact):
    """The registrar refused the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardReviewOpened(Fact):
    review_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardReviewClosed(Fact):
    review_id: UUID
    credit_ids: tuple[UUID, ...]
    """The credit the award stands on from now on; empty where nothing was substituted."""
    classification: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardRescinded(Fact):
    """The award was taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardRestored(Fact):
    rescinded_award_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardSuperseded(Fact):
    superseded_by: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequested(Fact):
    programme_id: UUID
    credit_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDecided:
    """What a partner makes of one credit."""

    credit_id: UUID
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferDecided(Fact):
    decisions: tuple[LineDecided, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCompleted(Fact):
    """The degree elsewhere was conferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReturned(Fact):
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferWithdrawn(Fact):
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal(Fact):
    """The learner gave the enrolment up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentLost(Fact):
    """The enrolment ended, as its money did not come back in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinstatement(Fact):
    """Staff saw that the money is there."""

    forgives: frozenset[UUID] | None = None
    """The facts about lost or disputed money that it lets pass; None where a former release did not note them."""


F = TypeVar("F", bound=Fact)

DECISIONS = {"withdrawal": Withdrawal, "payment_lost": PaymentLost, "reinstatement": Reinstatement}
"""Our own decisions, by the name under which each is stored."""


def of_kind(facts: Iterable[Fact], *kinds: type[F]) -> list[F]:
    """Return the facts of these kinds in the order they became true, whatever the order they arrived in."""
    return sorted(
        (fact for fact in facts if isinstance(fact, kinds)), key=lambda fact: (fact.at, fact.subject, fact.fact_id)
    )


def revocations(facts: Iterable[Fact]) -> dict[UUID, CreditRevoked]:
    """Return the revocation of each credit that the board has not reinstated since."""
    words = of_kind(facts, CreditRevoked, CreditReinstated)
    # Events of former releases, which had no revision, are older than those that have one.
    last = {fact.subject: fact for fact in sorted(words, key=lambda fact: fact.revision or 0)}
    return {credit_id: fact for credit_id, fact in last.items() if isinstance(fact, CreditRevoked)}
