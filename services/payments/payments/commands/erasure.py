"""Erasing the personal data of a payer who is anonymised. Orders, refunds and the books stay: the law has it so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Text, cast, delete, func, select, tuple_, union, update
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.orders import close_checkouts, let_expire
from payments.commands.underpayment import return_underpaid
from payments.domain.orders import UNPAID, OrderStatus
from payments.tables import BasketItem, CheckoutAttempt, Dispute, Learner, Notification, Order, Payment, Refund
from shared.database import advisory_lock, now
from shared.idempotency import erase_replies
from shared.messaging import RetryLater
from shared.messaging.tables import QueuedEmail


async def erase_payer(session: AsyncSession, learner_id: UUID, at: datetime) -> None:
    """Erase a learner's basket, addresses, e-mails and raw callbacks.

    Orders that are not paid expire; money that was too little goes back. Raises RetryLater for an unknown learner.
    """
    await advisory_lock(session, "basket", learner_id)  # no order is placed meanwhile
    learner = await session.get(Learner, learner_id, with_for_update={"key_share": True}, populate_existing=True)
    if learner is None:
        raise RetryLater(f"the learner {learner_id} is not known here yet")
    learner.anonymised_at = learner.anonymised_at or at
    await session.flush()
    for order in await session.scalars(
        select(Order)
        .where(Order.learner_id == learner_id)
        .order_by(Order.order_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ):
        order.payer_email = None
        await session.execute(
            update(CheckoutAttempt).where(CheckoutAttempt.order_id == order.order_id).values(payer_email="")
        )
        if order.status in UNPAID:
            await let_expire(session, order)
            await return_underpaid(session, order)
        elif order.status == OrderStatus.REVERSED:
            order.expires_at = min(order.expires_at, now(session))
            await close_checkouts(session, order.order_id)
    # After the orders: a payment that was under way may have put courses back.
    await session.execute(delete(BasketItem).where(BasketItem.learner_id == learner_id))
    await erase_replies(session, learner_id)
    await _erase_emails(session, learner_id)
    await _erase_callbacks(session, learner_id)


async def _erase_emails(session: AsyncSession, learner_id: UUID) -> None:
    """Delete the e-mails about the learner's orders, payments, refunds and disputes."""
    orders = select(Order.order_id).where(Order.learner_id == learner_id)
    payments = select(Payment.payment_id).where(Payment.order_id.in_(orders))
    refunds = select(Refund.refund_id).where(Refund.learner_id == learner_id)
    disputes = select(Dispute.dispute_id).where(Dispute.learner_id == learner_id)
    named = union(orders, payments, refunds, disputes).subquery()
    about = select(cast(named.c[0], Text))
    await session.execute(delete(QueuedEmail).where(func.split_part(QueuedEmail.about, " ", 1).in_(about)))


async def _erase_callbacks(session: AsyncSession, learner_id: UUID) -> None:
    """Drop the raw callbacks about this person's money; that they came stays on record."""
    payments = (
        select(Payment.provider, Payment.reference)
        .join(Order, Order.order_id == Payment.order_id)
        .where(Order.learner_id == learner_id)
    )
    refunds = (
        select(Payment.provider, Refund.provider_refund_id)
        .join(Payment, Payment.payment_id == Refund.payment_id)
        .where(Refund.learner_id == learner_id)
    )
    await session.execute(
        update(Notification)
        .where(
            tuple_(Notification.provider, Notification.subject).in_(union(payments, refunds)),
            Notification.body.is_not(None),
        )
        .values(body=None)
    )


Position = tuple[datetime, bytes]
"""The position of a callback: when it came, and its digest."""

BATCH: Final = 100


async def erase_late_callbacks(session: AsyncSession, after: Position | None) -> Position | None:
    """Of the next callbacks, drop the bodies of those about people who were anonymised before they came.

    Returns the position of the last callback looked at; None where there were no more.
    """
    key = (Notification.received_at, Notification.body_sha256)
    kept = select(*key, Notification.provider, Notification.subject).where(Notification.body.is_not(None))
    kept = kept if after is None else kept.where(tuple_(*key) > tuple_(*after))
    found = (await session.execute(kept.order_by(*key).limit(BATCH))).all()
    if not found:
        return None
    of_anonymised = await about_anonymised(
        session, [(row.provider, row.subject) for row in found if row.subject is not None]
    )
    gone = [row.body_sha256 for row in found if (row.provider, row.subject) in of_anonymised]
    if gone:
        await session.execute(update(Notification).where(Notification.body_sha256.in_(gone)).values(body=None))
    return found[-1].received_at, found[-1].body_sha256


async def about_anonymised(session: AsyncSession, about: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which of these payments and refunds, by provider and its reference, are of somebody who was anonymised."""
    payments = (
        select(Payment.provider, Payment.reference)
        .join(Order, Order.order_id == Payment.order_id)
        .join(Learner, Learner.learner_id == Order.learner_id)
        .where(tuple_(Payment.provider, Payment.reference).in_(about), Learner.anonymised_at.is_not(None))
    )
    refunds = (
        select(Payment.provider, Refund.provider_refund_id)
        .join(Payment, Payment.payment_id == Refund.payment_id)
        .join(Learner, Learner.learner_id == Refund.learner_id)
        .where(Refund.provider_refund_id.in_([subject for _, subject in about]), Learner.anonymised_at.is_not(None))
    )
    return {(row[0], row[1]) for query in (payments, refunds) for row in await session.execute(query)}
