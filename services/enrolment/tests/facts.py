"""Facts about one enrolment, to be handled in any order."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from enrolment.adapters.stored_facts import digest, kind_of, read
from enrolment.domain import facts as kinds
from enrolment.domain.enrolments import Ground
from enrolment.domain.facts import Fact

T0 = datetime(2026, 11, 1, 10, tzinfo=UTC)


def uid(number: int) -> UUID:
    return UUID(int=number)


ENROLMENT, ORDER, LINE, COURSE = uid(1), uid(2), uid(3), uid(4)
FIRST, SECOND = uid(31), uid(32)
"""Payments of the order."""
GROUND = Ground(ENROLMENT, ORDER, LINE)


SAID = {
    kinds.MoneyFact: {"order_id": ORDER, "payment_id": FIRST},
    kinds.EnrolmentFact: {"enrolment_id": ENROLMENT, "submission_id": uid(11), "attempt_no": 1, "mark": "64"},
    kinds.AssessmentPassed: {"capped": False},
    kinds.CreditAwarded: {
        "credit_id": uid(5),
        "course_id": COURSE,
        "course_code": "C",
        "course_title": "Course",
        "module_family": "F",
        "subject_name": "Data Science",
        "credits": 15,
        "level": 7,
    },
    kinds.CreditRevoked: {"reason_code": "appeal"},
}
"""What facts of these classes say where a test does not care."""


def fact(kind: type[Fact], *, hours: float = 0, subject: UUID = ENROLMENT, **data) -> Fact:
    """Return a fact as it is read from what is stored."""
    said = {name: value for of, some in SAID.items() if issubclass(kind, of) for name, value in some.items()} | data
    plain = {name: str(value) if isinstance(value, UUID) else value for name, value in said.items()}
    name = kind_of(kind)
    found = read(name, digest(name, subject, {**plain, "hours": hours}), subject, T0 + timedelta(hours=hours), plain)
    assert found is not None
    return found


def confirmed(payment: UUID = FIRST) -> Fact:
    return fact(kinds.PaymentConfirmed, hours=0, subject=ORDER, order_id=ORDER, payment_id=payment)


def reversed_(hours: float = 2, payment: UUID = FIRST) -> Fact:
    return fact(
        kinds.PaymentReversed, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment, reason_code="dispute"
    )


def settled(hours: float, payment: UUID = FIRST) -> Fact:
    return fact(kinds.PaymentSettled, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment)


def disputed(hours: float = 2, case: int = 20, payment: UUID = FIRST) -> Fact:
    return fact(
        kinds.DisputeOpened,
        hours=hours,
        subject=uid(case),
        order_id=ORDER,
        payment_id=payment,
        reason_code="not_recognised",
    )


def closed(outcome: str, hours: float, case: int = 20, payment: UUID = FIRST) -> Fact:
    return fact(
        kinds.DisputeClosed, hours=hours, subject=uid(case), order_id=ORDER, payment_id=payment, outcome=outcome
    )


def restored(hours: float, payment: UUID = FIRST) -> Fact:
    return fact(kinds.PaymentRestored, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment)


REFUND = fact(kinds.RefundRequested, hours=30, subject=uid(9), order_line_id=LINE)
GRANTED = fact(kinds.RefundRequested, hours=500, subject=uid(9), order_line_id=LINE, decided_by="ann")
WITHDRAWAL = fact(kinds.Withdrawal, hours=20, enrolment_id=ENROLMENT)
LOST = fact(kinds.PaymentLost, hours=40, enrolment_id=ENROLMENT)
CREDIT = fact(
    kinds.CreditAwarded, hours=50, subject=uid(5), credit_id=uid(5), enrolment_id=ENROLMENT, module_family="F"
)
REINSTATED = fact(kinds.CreditReinstated, hours=70, subject=uid(5), credit_id=uid(5), reason_code="appeal")
REVOKED = fact(kinds.CreditRevoked, hours=60, subject=uid(5), credit_id=uid(5), reason_code="appeal")
EXHAUSTED = fact(kinds.AttemptsExhausted, hours=45, enrolment_id=ENROLMENT)
