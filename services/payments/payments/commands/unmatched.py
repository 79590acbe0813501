"""Where money waits for a person in finance."""

import logging
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import Unreadable
from payments.domain.payments import PaymentFact
from payments.domain.refunds import RefundFact
from payments.tables import Order, Payment, Refund, UnmatchedPayment
from shared.database import now
from shared.ids import new_id

log = logging.getLogger(__name__)


async def park(
    session: AsyncSession,
    provider: str,
    reference: str,
    reason: str,
    *,
    external_reference: str | None = None,
    provider_status: str | None = None,
    amount_minor: int | None = None,
    currency: str | None = None,
    order_id: UUID | None = None,
    payment_id: UUID | None = None,
) -> None:
    """Show finance what cannot be placed or needs a decision: once for a reference and a reason, as last told."""
    at = now(session)
    values = {
        "external_reference": external_reference,
        "provider_status": provider_status,
        "amount_minor": amount_minor,
        "currency": currency,
        "order_id": order_id,
        "payment_id": payment_id,
        "last_at": at,
    }
    log.error("for finance to look at", extra={"reference": reference, "reason": reason})
    await session.execute(
        insert(UnmatchedPayment)
        .values(unmatched_id=new_id(), provider=provider, reference=reference, reason=reason, first_at=at, **values)
        .on_conflict_do_update(index_elements=["provider", "reference", "reason"], set_=values)
    )


async def unpark(session: AsyncSession, provider: str, references: Iterable[str], reason: str) -> None:
    """Finance need not look at it any more: what was to be seen to is well by itself."""
    await session.execute(
        delete(UnmatchedPayment).where(
            UnmatchedPayment.provider == provider,
            UnmatchedPayment.reference.in_(list(references)),
            UnmatchedPayment.reason == reason,
        )
    )


async def park_payment(
    session: AsyncSession, provider: str, fact: PaymentFact, reason: str, payment: Payment | None = None
) -> None:
    await park(
        session,
        provider,
        fact.reference,
        reason,
        external_reference=fact.external_reference,
        provider_status=fact.word or fact.status,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def park_own(session: AsyncSession, payment: Payment, reason: str) -> None:
    """As `park`, of what stands in our books."""
    await park(
        session,
        payment.provider,
        payment.reference,
        reason,
        provider_status=payment.provider_status,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        order_id=payment.order_id,
        payment_id=payment.payment_id,
    )


async def park_refund(
    session: AsyncSession,
    provider: str,
    fact: RefundFact,
    reason: str,
    payment: Payment | None = None,
    refund: Refund | None = None,
) -> None:
    await park(
        session,
        provider,
        fact.provider_refund_id,
        reason,
        external_reference=str(refund.refund_id) if refund else fact.external_reference,
        provider_status=fact.word or fact.status,
        amount_minor=fact.amount_minor,
        currency=fact.currency or (payment.currency if payment else None),
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def park_unreadable(session: AsyncSession, provider: str, one: Unreadable, payment: Payment | None) -> None:
    """Of money there may be, but what was told of it cannot be read."""
    await park(
        session,
        provider,
        one.reference,
        "not_understood",
        external_reference=one.external_reference or None,
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def park_loss(session: AsyncSession, payment: Payment, order: Order, loss_minor: int) -> None:
    """The payer has back more than once what they paid."""
    await park(
        session,
        payment.provider,
        payment.reference,
        "paid_out_too_much",
        provider_status=payment.provider_status,
        amount_minor=loss_minor,
        currency=payment.currency,
        order_id=order.order_id,
        payment_id=payment.payment_id,
    )
