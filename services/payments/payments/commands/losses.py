"""Payments that were there and are lost, and lost ones that are there again."""

from collections.abc import Sequence

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from payments.commands import emails
from payments.commands.cancellation import leave_others
from payments.commands.ledger import post
from payments.commands.orders import announced, close_checkouts, next_announcement_at
from payments.commands.refunds import announce_request, owe_again, payer_of, return_money
from payments.commands.underpayment import reconsider, return_underpaid
from payments.commands.unmatched import show_own_payment
from payments.domain.orders import OrderStatus
from payments.domain.payments import FUNDED, State, Use
from payments.domain.policy import policy_of
from payments.domain.refunds import ENDED, Reason, RefundStatus, paid_of
from payments.domain.unmatched import Why
from payments.queries.orders import lines_not_given_back, lines_still_bought
from payments.queries.payments import confirming_payment, sum_going_back
from payments.queries.refunds import provider_refunds_of
from payments.tables import Confirmation, Order, Payment, ProviderRefund, Refund
from shared.database import now
from shared.events.payments import DuplicateDetected, PaymentRestored, PaymentReversed
from shared.messaging import publish

NOT_SENT = (RefundStatus.REQUESTED, RefundStatus.FAILED)


async def confirm_with(session: AsyncSession, order: Order, payment: Payment) -> None:
    """Make this the payment that pays the order. The order must be locked."""
    await session.execute(
        update(Confirmation).where(Confirmation.order_id == order.order_id).values(payment_id=payment.payment_id)
    )


async def lose(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Record that a confirmed payment is lost: nothing of it is left to give back, and what it bought is suspended.

    What the provider is paying back already may still be paid: that is a loss. The order must be locked.
    """
    may_be_paid = exists().where(ProviderRefund.refund_id == Refund.refund_id, ProviderRefund.status.not_in(ENDED))
    ended = or_(Refund.status.in_(NOT_SENT), and_(Refund.status == RefundStatus.RETURNED, ~may_be_paid))
    cancelled = await session.scalars(
        update(Refund)
        .where(Refund.payment_id == payment.payment_id, ended)
        .values(status=RefundStatus.CANCELLED, ask_at=None, revision=Refund.revision + 1)
        .returning(Refund)
        .execution_options(populate_existing=True)
    )
    for refund in cancelled.all():
        await emails.email_refund_cancelled(session, refund, payment, await payer_of(session, payment))
    await post(session, "lost", payment)
    await reconsider(session, order)
    if payment.use != Use.ORDER:
        return
    order.expires_at = now(session) + policy_of(order.regulations_version).repayment
    publish(
        session,
        PaymentReversed(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            reason_code=payment.reason_code or payment.provider_status,
            lines=tuple(map(announced, await lines_not_given_back(session, order.order_id))),
            reversed_at=next_announcement_at(session, order),
        ),
    )
    await emails.email_reversed(session, payment, order, await lines_still_bought(session, order, now(session)))


async def lose_to_the_bank(session: AsyncSession, payment: Payment, order: Order, reason_code: str) -> None:
    """Record a payment as lost that the bank took and the provider reports as there. The order must be locked."""
    payment.state, payment.reason_code = State.LOST, reason_code
    payment.revision += 1
    await session.flush()
    await lose(session, payment, order)


async def return_duplicate(session: AsyncSession, order: Order, payment: Payment, amount_minor: int) -> None:
    """Give back what is left of a payment whose order another payment pays. The order must be locked."""
    publish(
        session,
        DuplicateDetected(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            amount_minor=amount_minor,
            currency=payment.currency,
            detected_at=now(session),
        ),
    )
    await return_money(session, order, payment, amount_minor, Reason.DUPLICATE)


async def _reopen(session: AsyncSession, payment: Payment) -> Sequence[Refund]:
    """Reopen and return the refunds that were cancelled with this payment, but for lines that another payment gives
    back."""
    other = aliased(Refund)
    goes_back = exists().where(other.order_line_id == Refund.order_line_id, other.status != RefundStatus.CANCELLED)
    own = Refund.payment_id == payment.payment_id, Refund.status == RefundStatus.CANCELLED
    to_pay = select(Refund).where(*own, Refund.reason_code != Reason.NOT_PAID_FOR, ~goes_back)
    refunds = (await session.scalars(to_pay.order_by(Refund.requested_at, Refund.refund_id))).all()
    for refund in refunds:
        made = await provider_refunds_of(session, refund.refund_id)
        # Where a part was paid, finance sends the rest.
        in_part = paid_of(made, refund.currency) != 0  # pyright: ignore[reportArgumentType] - a mapped row has what is asked
        refund.status = RefundStatus.RETURNED if in_part else RefundStatus.REQUESTED
        refund.failure_code = None
        refund.revision += 1
    return refunds


async def restore(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Record that a lost payment is there again (documented: a cancelled payment may be processed after all).

    The books are as before the loss, refunds go on and the enrolments are reinstated. PaymentConfirmed was announced
    once and is not announced again. Where another payment pays the order meanwhile, this one is a duplicate and goes
    back. Finance is shown it until it is settled.
    """
    if payment.use == Use.ORDER:
        confirming = await confirming_payment(session, order.order_id)
        if confirming is not None and confirming is not payment and confirming.state in FUNDED:
            payment.use = Use.DUPLICATE
        else:
            await confirm_with(session, order, payment)
            await close_checkouts(session, order.order_id)
            lines = await lines_still_bought(session, order, now(session))
            await leave_others(session, order, [line.course_id for line in lines])
    refunds = await _reopen(session, payment)
    await post(session, "restored", payment)
    for refund in refunds:
        await announce_request(session, refund, payment)
    if payment.use == Use.ORDER:
        await owe_again(session, order)
    if payment.use == Use.DUPLICATE:
        rest = payment.amount_minor - await sum_going_back(session, payment.payment_id)
        if rest > 0:
            await return_duplicate(session, order, payment, rest)
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
                restored_at=next_announcement_at(session, order),
            ),
        )
        await emails.email_restored(session, payment, order, await lines_still_bought(session, order, now(session)))
    if payment.state != State.SETTLED:
        await show_own_payment(session, payment, Why.RESTORED_AFTER_LOSS)
