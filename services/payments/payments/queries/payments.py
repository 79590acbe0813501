"""Payments and the checkouts they came by, and disputes about them."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from payments.domain.disputes import DisputeOutcome
from payments.domain.payments import DEAD, FUNDED, UNDER_WAY, ProviderStatus, Use
from payments.domain.refunds import RefundStatus
from payments.tables import (
    BegunEnrolment,
    CheckoutAttempt,
    Confirmation,
    Dispute,
    Order,
    Payment,
    Refund,
)


async def attempts_of(session: AsyncSession, order_id: UUID) -> Sequence[CheckoutAttempt]:
    return (
        await session.scalars(
            select(CheckoutAttempt).where(CheckoutAttempt.order_id == order_id).order_by(CheckoutAttempt.attempt_no)
        )
    ).all()


async def attempt_for(session: AsyncSession, provider: str, reference: str, external: str) -> CheckoutAttempt | None:
    """Return the checkout a payment belongs to: by the payment if we know it, else by the reference we gave."""
    known = await session.scalar(
        select(CheckoutAttempt)
        .join(Payment, Payment.attempt_id == CheckoutAttempt.attempt_id)
        .where(Payment.provider == provider, Payment.reference == reference)
    )
    if known is not None:
        return known
    return await session.scalar(select(CheckoutAttempt).where(CheckoutAttempt.reference == external))


async def payment_by_reference(session: AsyncSession, provider: str, reference: str) -> Payment | None:
    """Lock and return the payment with the provider's reference; None where it is not known here."""
    return await session.scalar(
        select(Payment)
        .where(Payment.provider == provider, Payment.reference == reference)
        .with_for_update(key_share=True)
    )


async def payments_of(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    return (await session.scalars(select(Payment).where(Payment.order_id == order_id).order_by(Payment.seen_at))).all()


async def payments_of_orders(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[Payment]]:
    """Return the payments of each order, the oldest first."""
    found: dict[UUID, list[Payment]] = {order_id: [] for order_id in order_ids}
    statement = select(Payment).where(Payment.order_id.in_(found)).order_by(Payment.seen_at, Payment.payment_id)
    for payment in await session.scalars(statement):
        found[payment.order_id].append(payment)
    return found


def is_being_paid() -> ColumnElement[bool]:
    """Select orders of which a payment is on its way, such as a bank transfer."""
    payment = aliased(Payment)
    return exists().where(payment.order_id == Order.order_id, payment.state.in_(UNDER_WAY))


async def payments_under_way(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    """Return the order's payments that are on their way, the oldest first."""
    return [one for one in await payments_of(session, order_id) if one.state in UNDER_WAY]


def unreturned() -> ColumnElement[bool]:
    """Select payments that were too little, are there, and do not go back yet."""
    going_back = exists().where(_goes_back_whole(), Refund.payment_id == Payment.payment_id)
    return and_(Payment.use == Use.UNDERPAID, Payment.state.in_(FUNDED), ~going_back)


def _goes_back_whole() -> ColumnElement[bool]:
    return and_(Refund.order_line_id.is_(None), Refund.status != RefundStatus.CANCELLED)


async def underpaid_payments(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    """Return the order's payments that were too little and do not go back yet."""
    statement = select(Payment).where(Payment.order_id == order_id, unreturned()).order_by(Payment.seen_at)
    return (await session.scalars(statement)).all()


async def is_not_used_yet(session: AsyncSession, payment: Payment) -> bool:
    """Return whether a payment is held for being too little, and does not go back yet."""
    if payment.use != Use.UNDERPAID:
        return False
    going_back = exists().where(_goes_back_whole(), Refund.payment_id == payment.payment_id)
    return not await session.scalar(select(going_back))


async def sum_going_back(session: AsyncSession, payment_id: UUID) -> int:
    """Return how much of a payment goes back, or went, in minor units."""
    statement = select(func.coalesce(func.sum(Refund.amount_minor), 0))
    goes_back = Refund.payment_id == payment_id, Refund.status != RefundStatus.CANCELLED
    return int(await session.scalar(statement.where(*goes_back)) or 0)


async def confirming_payment(session: AsyncSession, order_id: UUID) -> Payment | None:
    """Return the payment that pays the order; None where it was never paid."""
    return await session.scalar(
        select(Payment)
        .join(Confirmation, Confirmation.payment_id == Payment.payment_id)
        .where(Confirmation.order_id == order_id)
    )


def forgotten_payments() -> Select[UUID]:
    """Select orders whose enrolments were opened, though nothing has paid them that is known here, where a payment was
    taken back: this database has forgotten that it came. While another one is on its way, that may pay; what is there
    beside it and has not paid (too little, too late, nothing at all) never will."""
    begun = BegunEnrolment.learner_id == Order.learner_id, BegunEnrolment.order_id == Order.order_id
    return (
        select(Payment.order_id)
        .join(Order, Order.order_id == Payment.order_id)
        .where(
            Payment.use.is_(None),
            Payment.provider_status.in_(DEAD),
            exists().where(*begun),
            ~exists().where(Confirmation.order_id == Order.order_id),
            ~is_being_paid(),
        )
    )


async def forgotten_payment(session: AsyncSession, order_id: UUID) -> tuple[Payment, CheckoutAttempt] | None:
    """Return the payment that opened the order's enrolments, was taken back and is forgotten, and its checkout; None
    where there is none. Of several it is one that was enough, then one that the provider took back rather than one that
    may have been declined, and then the last."""
    enough = and_(Payment.amount_minor >= CheckoutAttempt.amount_minor, Payment.currency == CheckoutAttempt.currency)
    taken_back = Payment.provider_status == ProviderStatus.REVERSED  # it was there, and its sum may have changed since
    rows = await session.execute(
        select(Payment, CheckoutAttempt)
        .join(CheckoutAttempt, CheckoutAttempt.attempt_id == Payment.attempt_id)
        .where(
            Payment.order_id.in_(forgotten_payments().where(Payment.order_id == order_id)),
            Payment.use.is_(None),
            Payment.provider_status.in_(DEAD),
            or_(enough, taken_back),
        )
        .order_by(enough.desc(), taken_back.desc(), Payment.status_at.desc())
        .limit(1)
    )
    found = rows.first()
    return found and (found[0], found[1])


def disputed_payments() -> Select[UUID]:
    """Select the payments with an open dispute."""
    return select(Dispute.payment_id).where(Dispute.closed_at.is_(None))


async def is_lost_to_the_bank(session: AsyncSession, payment_id: UUID) -> bool:
    """Return whether the bank has this payment's money, which the provider does not report: the last dispute that was
    closed is lost."""
    return payment_id in await lost_to_the_bank(session, [payment_id])


async def lost_to_the_bank(session: AsyncSession, payment_ids: Collection[UUID]) -> frozenset[UUID]:
    """Return those of these payments whose money the bank has: the last dispute about each that was closed is lost."""
    last = (
        select(Dispute.payment_id, Dispute.outcome)
        .where(Dispute.payment_id.in_(payment_ids), Dispute.closed_at.is_not(None))
        .ext(distinct_on(Dispute.payment_id))
        .order_by(Dispute.payment_id, Dispute.closed_at.desc(), Dispute.dispute_id.desc())
    )
    return frozenset(id_ for id_, outcome in await session.execute(last) if outcome == DisputeOutcome.LOST)


async def is_disputed(session: AsyncSession, payment_id: UUID) -> bool:
    return bool(await session.scalar(select(disputed_payments().where(Dispute.payment_id == payment_id).exists())))


async def references_of(session: AsyncSession, payment_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the provider's references of these payments."""
    payments = await session.scalars(select(Payment).where(Payment.payment_id.in_(payment_ids)))
    return {payment.payment_id: payment.reference for payment in payments}
