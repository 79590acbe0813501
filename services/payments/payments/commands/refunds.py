"""Giving money back: asked by the learner, owed because nothing was sold, sent again by finance."""

import logging
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.ledger import post
from payments.domain.disputes import OrderInDispute
from payments.domain.orders import OrderNotPaid, OrderStatus, must_be_anothers
from payments.domain.payments import FUNDED, State
from payments.domain.policy import in_utc, policy_of
from payments.domain.refunds import (
    ENDED,
    CoolingOffEnded,
    Reason,
    RefundAlreadyRequested,
    RefundNotFailed,
    RefundStatus,
    cooling_off_ends,
    paid_of,
)
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment, Refund
from shared.database import Unknown, fetch, now
from shared.events.payments import RefundFailed, RefundRequested
from shared.ids import new_id
from shared.messaging import publish

log = logging.getLogger(__name__)


async def request_refund(session: AsyncSession, order_id: UUID, line_id: UUID, by: str) -> Refund:
    """A learner cancels one line within the cooling-off period: its access ends now, the money follows.

    Raises Unknown, OrderNotPaid, OrderInDispute, CoolingOffEnded, RefundAlreadyRequested.
    """
    order = await fetch(session, Order, order_id, lock=True)
    line = await session.get(OrderLine, line_id)
    if line is None or line.order_id != order_id:
        raise Unknown(f"no line {line_id} in this order")
    if order.status != OrderStatus.PAID or order.paid_at is None:
        raise OrderNotPaid(f"the order is {order.status}", order_status=order.status)
    if await queries.is_disputed(session, order_id):
        raise OrderInDispute("the payer disputes this payment; wait until that is settled")
    ends = cooling_off_ends(order.paid_at, line.access_at, policy_of(order.regulations_version))
    if now(session) >= ends:
        raise CoolingOffEnded("the cooling-off period is over", ended_at=in_utc(ends))
    refund = await refund_line(session, order, line, Reason.COOLING_OFF, by)
    if refund is None:
        raise RefundAlreadyRequested("this line is being refunded already")
    return refund


async def refund_line(session: AsyncSession, order: Order, line: OrderLine, reason: Reason, by: str) -> Refund | None:
    """Owe the payer what was paid for this line and did not go back; None where that is nothing. The order must be
    locked.

    Where the money is gone again nothing goes back, unless it returns.
    """
    payment = await queries.confirming_payment(session, order.order_id)
    if payment is None:
        raise OrderNotPaid("nothing was paid for this order", order_status=order.status)
    lost = payment.state == State.LOST
    owed = line.due_minor if lost else await queries.owed_for(session, payment, line)
    if owed <= 0:
        return None
    return await _request(session, payment, owed, order, reason=reason, by=by, line=line)


async def owe_again(session: AsyncSession, order: Order) -> None:
    """Lines whose refund was cancelled with its payment are owed from the one that pays the order now, so far as it
    paid for them. The order must be locked."""
    await session.flush()
    payment = await queries.confirming_payment(session, order.order_id)
    if payment is None or payment.state not in FUNDED:
        return
    for refund, line in await queries.refunds_without_money(session, order.order_id):
        await refund_line(session, order, line, Reason(refund.reason_code), refund.requested_by)


async def return_money(
    session: AsyncSession, order: Order, payment: Payment, amount_minor: int, reason: Reason
) -> Refund | None:
    """Owe the payer money that pays for nothing; None where that was done before. The order must be locked."""
    return await _request(session, payment, amount_minor, order, reason=reason, by="policy", line=None)


async def _request(
    session: AsyncSession,
    payment: Payment,
    amount_minor: int,
    order: Order,
    *,
    reason: Reason,
    by: str,
    line: OrderLine | None,
) -> Refund | None:
    lost = payment.state == State.LOST
    # One refund a line that is not cancelled, one a payment and reason beyond its lines: the unique indexes decide,
    # whoever comes twice.
    refund_id = await session.scalar(
        insert(Refund)
        .values(
            refund_id=new_id(),
            order_id=order.order_id,
            order_line_id=line.order_line_id if line else None,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            amount_minor=amount_minor,
            currency=payment.currency,
            reason_code=reason,
            requested_by=by,
            requested_at=now(session),
            status=RefundStatus.CANCELLED if lost else RefundStatus.REQUESTED,
        )
        .on_conflict_do_nothing()
        .returning(Refund.refund_id)
    )
    if refund_id is None:
        return None
    refund = await fetch(session, Refund, refund_id)
    if not lost:
        await announce_request(session, refund, payment)
    return refund


async def announce_request(session: AsyncSession, refund: Refund, payment: Payment) -> None:
    """From now on the money is owed to the payer, in the books too."""
    await post(session, "refund_requested", payment, refund_id=refund.refund_id)
    line = await session.get(OrderLine, refund.order_line_id) if refund.order_line_id else None
    publish(
        session,
        RefundRequested(
            refund_id=refund.refund_id,
            order_id=refund.order_id,
            order_line_id=refund.order_line_id,
            course_id=line.course_id if line else None,
            learner_id=refund.learner_id,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            reason_code=refund.reason_code,
            requested_at=refund.requested_at,
        ),
    )
    await letters.tell_of_refund(session, refund, await payer_of(session, payment), "requested")


async def fail_refund(session: AsyncSession, refund: Refund, reason_code: str) -> None:
    """The provider will not pay it; a person in finance sees to it. Access stays ended. The order must be locked."""
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.FAILED, reason_code, None
    refund.revision += 1
    log.error("refund failed", extra={"refund": str(refund.refund_id), "reason": reason_code})
    publish(
        session,
        RefundFailed(
            refund_id=refund.refund_id,
            order_id=refund.order_id,
            order_line_id=refund.order_line_id,
            learner_id=refund.learner_id,
            reason_code=reason_code,
            failed_at=now(session),
        ),
    )
    payment = await fetch(session, Payment, refund.payment_id)
    await letters.tell_of_delay(session, refund, await payer_of(session, payment))


async def retry_refund(session: AsyncSession, order_id: UUID, refund_id: UUID, by: str) -> Refund:
    """Finance sends a refund again that the provider will not pay, or the rest of one of which it paid a part; what it
    may still pay is not sent beside it.

    Raises Unknown, OwnOrder, RefundNotFailed.
    """
    must_be_anothers((await fetch(session, Order, order_id, lock=True)).learner_id, by)
    refund = await fetch(session, Refund, refund_id, lock=True)
    if refund.order_id != order_id:
        raise Unknown(f"no refund {refund_id} of this order")
    if refund.status not in {RefundStatus.FAILED, RefundStatus.RETURNED}:
        raise RefundNotFailed(f"the refund is {refund.status}", refund_status=refund.status)
    payment = await fetch(session, Payment, refund.payment_id)
    if payment.state == State.LOST:
        raise RefundNotFailed("the payment was taken back; nothing of it is owed", refund_status=refund.status)
    made = await queries.provider_refunds_of(session, refund_id)
    paid = paid_of(made, refund.currency)
    if paid is None:
        told = "a part was paid in another currency; settle the rest by hand"
        raise RefundNotFailed(told, refund_status=refund.status)
    if any(one.status not in ENDED for one in made):
        refund.ask_at = now(session)
        raise RefundNotFailed("the provider may still pay it; it is asked", refund_status=refund.status)
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.REQUESTED, None, None
    refund.revision += 1
    return refund


async def payer_of(session: AsyncSession, payment: Payment) -> str:
    return (await fetch(session, CheckoutAttempt, payment.attempt_id)).payer_email
