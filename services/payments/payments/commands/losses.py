"""Money that was there and is gone, and money that is there again."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.ledger import post
from payments.commands.orders import announced
from payments.commands.refunds import announce_request
from payments.commands.underpayment import reconsider, return_underpaid
from payments.commands.unmatched import park, park_loss
from payments.domain.orders import OrderStatus
from payments.domain.payments import State, Use
from payments.domain.refunds import RefundStatus
from payments.tables import Order, Payment, Refund
from shared.database import now
from shared.events.payments import PaymentRestored, PaymentReversed
from shared.messaging import publish

NOT_SENT = (RefundStatus.REQUESTED, RefundStatus.FAILED)


async def lose(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Money we had counted on is gone: nothing of it is left to give back, and what it bought is suspended.

    What the provider is paying back already may still be paid: that is a loss. The order must be locked.
    """
    gone_back = set(await session.scalars(select(Refund.order_line_id).where(Refund.order_id == order.order_id)))
    await session.execute(
        update(Refund)
        .where(Refund.payment_id == payment.payment_id, Refund.status.in_(NOT_SENT))
        .values(status=RefundStatus.CANCELLED, ask_at=None, revision=Refund.revision + 1)
    )
    loss = await post(session, "lost", payment)
    if loss > 0:
        await park_loss(session, payment, order, loss)
    await reconsider(session, order)
    if payment.use != Use.ORDER:
        return
    lines = (await queries.lines_of(session, [order.order_id]))[order.order_id]
    publish(
        session,
        PaymentReversed(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            reason_code=payment.reason_code or payment.provider_status,
            lines=tuple(announced(line) for line in lines if line.order_line_id not in gone_back),
            reversed_at=now(session),
        ),
    )
    await letters.tell_reversed(session, payment, order)


async def lose_to_the_bank(session: AsyncSession, payment: Payment, order: Order, reason_code: str) -> None:
    """Money is gone of which the provider tells nothing. The order must be locked."""
    payment.state, payment.reason_code = State.LOST, reason_code
    payment.revision += 1
    await session.flush()
    await lose(session, payment, order)


async def restore(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Money that was lost is back (documented: a cancelled payment may be processed after all).

    The books are as before the loss, refunds go on and the enrolments are reinstated. PaymentConfirmed was said once
    and is not said again. Finance is shown it besides: an enrolment may have ended for want of the money.
    """
    refunds = (
        await session.scalars(
            select(Refund).where(Refund.payment_id == payment.payment_id, Refund.status == RefundStatus.CANCELLED)
        )
    ).all()
    for refund in refunds:
        refund.status, refund.failure_code = RefundStatus.REQUESTED, None
        refund.revision += 1
    await post(session, "restored", payment)
    for refund in refunds:
        await announce_request(session, refund, payment)
    await reconsider(session, order)
    if order.status not in {OrderStatus.UNDERPAID, OrderStatus.PLACED}:
        await return_underpaid(session, order)
    if payment.use == Use.ORDER:
        publish(
            session,
            PaymentRestored(
                order_id=order.order_id,
                payment_id=payment.payment_id,
                learner_id=order.learner_id,
                restored_at=now(session),
            ),
        )
    await park(
        session,
        payment.provider,
        payment.reference,
        "restored_after_loss",
        provider_status=payment.provider_status,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        order_id=order.order_id,
        payment_id=payment.payment_id,
    )
