"""Unmatched payments: showing finance what needs a person, and ending that where it settles by itself."""

import logging
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import and_, case, false, null, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import Unreadable
from payments.domain.payments import PaymentFact
from payments.domain.refunds import RefundFact
from payments.domain.unmatched import Why
from payments.tables import Payment, Refund, UnmatchedPayment
from shared.committed_log import log_once_committed
from shared.database import now
from shared.ids import new_id

log = logging.getLogger(__name__)

_COLUMNS = UnmatchedPayment.__table__.c


async def show_to_finance(
    session: AsyncSession,
    provider: str,
    reference: str,
    reason: Why,
    *,
    external_reference: str | None = None,
    provider_status: str | None = None,
    amount_minor: int | None = None,
    currency: str | None = None,
    order_id: UUID | None = None,
    payment_id: UUID | None = None,
) -> None:
    """Show finance what cannot be placed or needs a decision: once for a reference and a reason, as last reported.

    What finance has closed is shown again when something else is reported. So is a refund of our payment that was
    closed, as by an earlier release, without a word about what it paid: refunds wait for that. One that paid none of
    ours stays closed, however far it comes.
    """
    at = now(session)
    values = {
        "external_reference": external_reference,
        "provider_status": provider_status,
        "amount_minor": amount_minor,
        "currency": currency,
        "order_id": order_id,
        "payment_id": payment_id,
    }
    same = {name: getattr(UnmatchedPayment, name).is_not_distinct_from(value) for name, value in values.items()}
    if reason is Why.UNKNOWN_REFUND:
        as_far = false() if payment_id is not None else same["provider_status"]
        same["provider_status"] = or_(UnmatchedPayment.not_ours, as_far)
    closed = and_(UnmatchedPayment.ended_by.is_not(None), *same.values())
    kept = {one.name: case((closed, one), else_=null()) for one in (_COLUMNS.ended_at, _COLUMNS.ended_by)}
    said = {"reference": reference, "reason": reason}
    log_once_committed(session, log, logging.ERROR, "for finance to look at", said)
    await session.execute(
        insert(UnmatchedPayment)
        .values(
            unmatched_id=new_id(),
            provider=provider,
            reference=reference,
            reason=reason,
            first_at=at,
            last_at=at,
            **values,
        )
        .on_conflict_do_update(index_elements=["provider", "reference", "reason"], set_=values | kept | {"last_at": at})
    )


async def end_unmatched(session: AsyncSession, provider: str, references: Iterable[str], *reasons: Why) -> None:
    """End what finance is shown of these references for these reasons, as it has settled by itself."""
    await session.execute(
        update(UnmatchedPayment)
        .where(
            UnmatchedPayment.provider == provider,
            UnmatchedPayment.reference.in_(list(references)),
            UnmatchedPayment.reason.in_(reasons),
            UnmatchedPayment.ended_at.is_(None),
        )
        .values(ended_at=now(session))
    )


async def show_payment(
    session: AsyncSession, provider: str, fact: PaymentFact, reason: Why, payment: Payment | None = None
) -> None:
    """Show finance a payment as the provider reports it."""
    await show_to_finance(
        session,
        provider,
        fact.reference,
        reason,
        external_reference=fact.our_reference,
        provider_status=fact.word or fact.status,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def show_own_payment(session: AsyncSession, payment: Payment, reason: Why) -> None:
    """Show finance a payment as it stands in our books."""
    await show_to_finance(
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


async def show_refund(
    session: AsyncSession,
    provider: str,
    fact: RefundFact,
    reason: Why,
    payment: Payment | None = None,
    refund: Refund | None = None,
) -> None:
    """Show finance a refund as the provider reports it."""
    await show_to_finance(
        session,
        provider,
        fact.provider_refund_id,
        reason,
        external_reference=str(refund.refund_id) if refund else fact.our_reference,
        provider_status=fact.word or fact.status,
        amount_minor=fact.amount_minor,
        currency=fact.currency or (payment.currency if payment else None),
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def name_refunds(
    session: AsyncSession, provider: str, provider_refund_id: str, reason: Why, refunds: Iterable[Refund]
) -> None:
    """Name, where finance is shown a refund at the provider for this reason, all refunds of ours of which it is so."""
    await session.execute(
        update(UnmatchedPayment)
        .where(
            UnmatchedPayment.provider == provider,
            UnmatchedPayment.reference == provider_refund_id,
            UnmatchedPayment.reason == reason,
            UnmatchedPayment.ended_at.is_(None),
        )
        .values(external_reference=", ".join(str(one.refund_id) for one in refunds))
    )


async def show_unreadable(session: AsyncSession, provider: str, one: Unreadable, payment: Payment | None) -> None:
    """Show finance an item of the provider's list that cannot be read: there may be money."""
    await show_to_finance(
        session,
        provider,
        one.reference,
        Why.NOT_UNDERSTOOD,
        external_reference=one.our_reference or None,
        order_id=payment.order_id if payment else None,
        payment_id=payment.payment_id if payment else None,
    )


async def show_loss(session: AsyncSession, payment: Payment, loss_minor: int) -> None:
    """Show finance how much the payer has that was not owed to them, in minor units; end that where it is nothing."""
    if loss_minor <= 0:
        await end_unmatched(session, payment.provider, [payment.reference], Why.PAID_OUT_TOO_MUCH)
        return
    await show_to_finance(
        session,
        payment.provider,
        payment.reference,
        Why.PAID_OUT_TOO_MUCH,
        provider_status=payment.provider_status,
        amount_minor=loss_minor,
        currency=payment.currency,
        order_id=payment.order_id,
        payment_id=payment.payment_id,
    )
