"""What payments forgets of somebody who is anonymised. Orders, refunds and the books stay: the law has it so."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, tuple_, union, update
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.orders import let_expire
from payments.commands.underpayment import return_underpaid
from payments.domain.orders import PAYABLE
from payments.tables import BasketItem, CheckoutAttempt, Learner, Notification, Order, Payment, Refund
from shared.database import take_turns
from shared.messaging import NotYet


async def forget_payer(session: AsyncSession, learner_id: UUID, at: datetime) -> None:
    """Erase basket, addresses and raw callbacks; what is not paid expires, and what was paid too little goes back.

    Raises NotYet for an unknown learner.
    """
    await take_turns(session, "basket", learner_id)  # no order is placed meanwhile
    learner = await session.get(Learner, learner_id, with_for_update=True, populate_existing=True)
    if learner is None:
        raise NotYet(f"the learner {learner_id} is not known here yet")
    learner.anonymised_at = learner.anonymised_at or at
    await session.flush()
    await session.execute(delete(BasketItem).where(BasketItem.learner_id == learner_id))
    for order in await session.scalars(
        select(Order)
        .where(Order.learner_id == learner_id)
        .order_by(Order.order_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ):
        order.payer_email = None
        await session.execute(
            update(CheckoutAttempt).where(CheckoutAttempt.order_id == order.order_id).values(payer_email="")
        )
        if order.status in PAYABLE:
            await let_expire(session, order)
            await return_underpaid(session, order)
    await erase_callbacks(session, Learner.learner_id == learner_id)


async def erase_callbacks(session: AsyncSession, *whose: ColumnElement[bool]) -> None:
    """Drop the raw callbacks about money of the anonymised; that they came stays on record."""
    anonymised = select(Learner.learner_id).where(Learner.anonymised_at.is_not(None), *whose)
    payments = (
        select(Payment.provider, Payment.reference)
        .join(Order, Order.order_id == Payment.order_id)
        .where(Order.learner_id.in_(anonymised))
    )
    refunds = (
        select(Payment.provider, Refund.provider_refund_id)
        .join(Payment, Payment.payment_id == Refund.payment_id)
        .where(Refund.learner_id.in_(anonymised))
    )
    await session.execute(
        update(Notification)
        .where(
            tuple_(Notification.provider, Notification.subject).in_(union(payments, refunds)),
            Notification.body.is_not(None),
        )
        .values(body=None)
    )
