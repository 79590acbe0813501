"""Facts about one enrolment, to be told in any order."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from enrolment.domain.enrolments import Ground
from enrolment.domain.facts import Fact, Kind

T0 = datetime(2026, 11, 1, 10, tzinfo=UTC)


def uid(number: int) -> UUID:
    return UUID(int=number)


ENROLMENT, ORDER, LINE, COURSE = uid(1), uid(2), uid(3), uid(4)
FIRST, SECOND = uid(31), uid(32)
"""Payments of the order."""
GROUND = Ground(ENROLMENT, ORDER, LINE)


def fact(kind: Kind, *, hours: float = 0, subject: UUID = ENROLMENT, **data) -> Fact:
    plain = {name: str(value) if isinstance(value, UUID) else value for name, value in data.items()}
    return Fact.of(kind, subject, T0 + timedelta(hours=hours), {**plain, "hours": hours})


def confirmed(payment: UUID = FIRST) -> Fact:
    return fact(Kind.PAYMENT_CONFIRMED, hours=0, subject=ORDER, order_id=ORDER, payment_id=payment)


def reversed_(hours: float = 2, payment: UUID = FIRST) -> Fact:
    return fact(
        Kind.PAYMENT_REVERSED, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment, reason_code="dispute"
    )


def settled(hours: float, payment: UUID = FIRST) -> Fact:
    return fact(Kind.PAYMENT_SETTLED, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment)


def disputed(hours: float = 2, case: int = 20, payment: UUID = FIRST) -> Fact:
    return fact(
        Kind.DISPUTE_OPENED,
        hours=hours,
        subject=uid(case),
        order_id=ORDER,
        payment_id=payment,
        reason_code="not_recognised",
    )


def closed(outcome: str, hours: float, case: int = 20, payment: UUID = FIRST) -> Fact:
    return fact(
        Kind.DISPUTE_CLOSED, hours=hours, subject=uid(case), order_id=ORDER, payment_id=payment, outcome=outcome
    )


def restored(hours: float, payment: UUID = FIRST) -> Fact:
    return fact(Kind.PAYMENT_RESTORED, hours=hours, subject=ORDER, order_id=ORDER, payment_id=payment)


REFUND = fact(Kind.REFUND_REQUESTED, hours=30, subject=uid(9), order_line_id=LINE)
GRANTED = fact(Kind.REFUND_REQUESTED, hours=500, subject=uid(9), order_line_id=LINE, decided_by="ann")
WITHDRAWAL = fact(Kind.WITHDRAWAL, hours=20, enrolment_id=ENROLMENT)
LOST = fact(Kind.PAYMENT_LOST, hours=40, enrolment_id=ENROLMENT)
CREDIT = fact(
    Kind.CREDIT_AWARDED, hours=50, subject=uid(5), credit_id=uid(5), enrolment_id=ENROLMENT, module_family="F"
)
REINSTATED = fact(Kind.CREDIT_REINSTATED, hours=70, subject=uid(5), credit_id=uid(5), reason_code="appeal")
REVOKED = fact(Kind.CREDIT_REVOKED, hours=60, subject=uid(5), credit_id=uid(5), reason_code="appeal")
EXHAUSTED = fact(Kind.ATTEMPTS_EXHAUSTED, hours=45, enrolment_id=ENROLMENT)
