"""Refunds: requested by the learner, granted by finance, owed because nothing was sold, and sent again."""

import logging
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import emails
from payments.commands.ledger import post
from payments.commands.orders import close_checkouts
from payments.domain.disputes import OrderInDispute
from payments.domain.orders import OrderNotPaid, OrderStatus, OwnOrder
from payments.domain.payments import FUNDED, State
from payments.domain.policy import in_utc, policy_of
from payments.domain.refunds import (
    ENDED,
    GRANTED,
    NOT_WITH_PROVIDER,
    CoolingOffEnded,
    Reason,
    RefundAlreadyRequested,
    RefundNotFailed,
    RefundStatus,
    ResultRatified,
    cooling_off_ends,
    paid_of,
)
from payments.queries.orders import ratified_among
from payments.queries.payments import confirming_payment, is_disputed
from payments.queries.refunds import (
    are_ahead,
    lost_payment_for,
    owed_for,
    provider_refunds_of,
    refunds_behind,
    refunds_without_money,
)
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment, Refund
from shared.access import refuse_own
from shared.clock import later
from shared.committed_log import log_once_committed
from shared.database import Unknown, fetch, now
from shared.events.payments import RefundFailed, RefundRequested
from shared.ids import new_id
from shared.messaging import publish

log = logging.getLogger(__name__)


async def request_refund(session: AsyncSession, order_id: UUID, line_id: UUID, by: str) -> Refund:
    """Refund a line that the learner cancels within the cooling-off period: its access ends now, the money follows.

    Raises Unknown, OrderNotPaid, OrderInDispute, CoolingOffEnded, ResultRatified, RefundAlreadyRequested.
    """
    order = await fetch(session, Order, order_id, lock=True)
    line, paid_at = await _paid_line(session, order, line_id)
    ends = cooling_off_ends(paid_at, line.access_at, policy_of(order.regulations_version))
    if now(session) >= ends:
        raise CoolingOffEnded("the cooling-off period is over", ended_at=in_utc(ends))
    if line.enrolment_id in await ratified_among(session, [line]):
        raise ResultRatified("a board has ratified the result of this course")
    return await _refund_once(session, order, line, Reason.COOLING_OFF, by)


async def grant_refund(session: AsyncSession, order_id: UUID, line_id: UUID, reason: Reason, by: str) -> Refund:
    """Refund a line that finance gives back, at any time, also one whose result was ratified: access ends now, credit
    is held, and awards that stand on it are reviewed. Where the payment that paid for it is lost no money goes back
    unless it comes again, and none is asked for any more, also where another payment pays for the rest of the order.

    Raises Unknown, OwnOrder, OrderNotPaid, OrderInDispute, RefundAlreadyRequested.
    """
    order = await fetch(session, Order, order_id, lock=True)
    refuse_own(session, OwnOrder("somebody else decides about your own order"), order.learner_id, by)
    line, _ = await _paid_line(session, order, line_id, or_lost=True)
    paying = await confirming_payment(session, order_id)
    lost = None if paying is None else await lost_payment_for(session, paying, line)
    refund = await _refund_once(session, order, line, reason, by, lost=lost)
    if refund.status == RefundStatus.CANCELLED:
        _publish_request(session, refund, line)
        await close_checkouts(session, order_id)
        await emails.email_given_back(session, refund, order.payer_email or "")
    return refund


async def _paid_line(
    session: AsyncSession, order: Order, line_id: UUID, *, or_lost: bool = False
) -> tuple[OrderLine, datetime]:
    """Return a line of the locked order that can be given back, and when it was paid. `or_lost`: also one whose payment
    was taken back. Raises Unknown, OrderNotPaid, OrderInDispute."""
    line = await session.get(OrderLine, line_id)
    if line is None or line.order_id != order.order_id:
        raise Unknown(f"no line {line_id} in this order")
    lost = or_lost and order.status == OrderStatus.REVERSED
    if order.paid_at is None or not (lost or order.status == OrderStatus.PAID):
        raise OrderNotPaid(f"the order is {order.status}", order_status=order.status)
    paying = await confirming_payment(session, order.order_id)
    if paying is not None and await is_disputed(session, paying.payment_id):
        raise OrderInDispute("the payer disputes this payment; wait until that is settled")
    return line, order.paid_at


async def _refund_once(
    session: AsyncSession, order: Order, line: OrderLine, reason: Reason, by: str, *, lost: Payment | None = None
) -> Refund:
    """Refund a line. Raises RefundAlreadyRequested where it is refunded already, or nothing of it is left."""
    refund = await refund_line(session, order, line, reason, by, lost=lost)
    if refund is None:
        raise RefundAlreadyRequested("this line is being refunded already")
    return refund


async def refund_line(
    session: AsyncSession, order: Order, line: OrderLine, reason: Reason, by: str, *, lost: Payment | None = None
) -> Refund | None:
    """Owe the payer what was paid for this line and did not go back; None where that is nothing. The order must be
    locked.

    Where the payment is lost the refund is noted as cancelled, and goes on if the money returns. `lost`: the payment
    that paid for the line, where it is not the one that pays the order.
    """
    payment = lost or await confirming_payment(session, order.order_id)
    if payment is None:
        raise OrderNotPaid("nothing was paid for this order", order_status=order.status)
    owed = line.due_minor if payment.state == State.LOST else await owed_for(session, payment, line)
    if owed <= 0:
        return None
    return await _request(session, payment, owed, order, reason=reason, by=by, line=line)


async def note_unpaid(session: AsyncSession, order: Order, payment: Payment, line: OrderLine) -> None:
    """Note that a payment that pays the order again does not pay for this line. The order must be locked."""
    session.add(
        Refund(
            refund_id=new_id(),
            order_id=order.order_id,
            order_line_id=line.order_line_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            amount_minor=line.due_minor,
            currency=payment.currency,
            reason_code=Reason.NOT_PAID_FOR,
            requested_by="policy",
            requested_at=now(session),
            status=RefundStatus.CANCELLED,
        )
    )
    await session.flush()


async def owe_again(session: AsyncSession, order: Order) -> None:
    """Owe lines whose refund was cancelled with its payment from the payment that pays the order now, so far as that
    paid for them. The order must be locked."""
    await session.flush()
    payment = await confirming_payment(session, order.order_id)
    if payment is None or payment.state not in FUNDED:
        return
    for refund, line in await refunds_without_money(session, order.order_id):
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
    """Post, publish and e-mail that the money of a refund is owed to the payer from now on."""
    refund.delayed_since = None
    await post(session, "refund_requested", payment, refund_id=refund.refund_id)
    line = await session.get(OrderLine, refund.order_line_id) if refund.order_line_id else None
    _publish_request(session, refund, line)
    waits: Literal["payment", "turn"] | None = None
    if payment.state != State.SETTLED or await is_disputed(session, payment.payment_id):
        waits = "payment"
    elif await are_ahead(session, refund):
        waits = "turn"
    await emails.email_refund(session, refund, await payer_of(session, payment), "requested", waits=waits)


def _publish_request(session: AsyncSession, refund: Refund, line: OrderLine | None) -> None:
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
            decided_by=refund.requested_by if refund.reason_code in GRANTED else None,
            requested_at=refund.requested_at,
        ),
    )


async def cancel_refund(session: AsyncSession, refund: Refund, payment: Payment) -> None:
    """Cancel a refund whose payment is lost and of which the provider pays nothing: another payment may owe it. The
    order must be locked."""
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.CANCELLED, None, None
    refund.revision += 1
    await post(session, "refund_not_sent", payment, refund_id=refund.refund_id)
    await emails.email_refund_cancelled(session, refund, payment, await payer_of(session, payment))
    await owe_again(session, await fetch(session, Order, refund.order_id))


async def note_delay(session: AsyncSession, order_id: UUID, refund_id: UUID) -> None:
    """Note since when a refund is delayed that the provider does not have though its turn has come, whatever holds it
    back, and the others of its payment that wait behind it; e-mail it once, after as long as the regulations say."""
    order = await fetch(session, Order, order_id, lock=True)
    refund = await fetch(session, Refund, refund_id, lock=True)
    payment = await fetch(session, Payment, refund.payment_id)
    if refund.status not in NOT_WITH_PROVIDER or payment.state != State.SETTLED:
        return
    if await is_disputed(session, payment.payment_id):  # the payer's bank is asked for it, as they know
        return
    at, told_after = now(session), policy_of(order.regulations_version).refund_delay_told_after
    since = refund.delayed_since = refund.delayed_since or refund.submitted_at or at
    to, unanswered = await payer_of(session, payment), refund.submitted_at is not None
    if at >= later(since, told_after):
        await emails.email_delay(session, refund, to, since=since, why="unanswered" if unanswered else "held")
    elif refund.status == RefundStatus.REQUESTED and refund.ask_at is not None:
        refund.ask_at = min(refund.ask_at, later(since, told_after))
    for one in await refunds_behind(session, refund):
        since_of_it = one.delayed_since = one.delayed_since or max(since, one.requested_at)
        if at >= later(since_of_it, told_after):
            await emails.email_delay(session, one, to, since=since_of_it, why="behind" if unanswered else "held")


async def end_delay(session: AsyncSession, refund: Refund) -> None:
    """Note that nothing holds a refund back any more, nor the others of its payment, which wait for their turn. The
    order must be locked."""
    refund.delayed_since = None
    for one in await refunds_behind(session, refund):
        one.delayed_since = None


async def leave_to_bank(session: AsyncSession, payment: Payment) -> None:
    """Note that refunds which were not sent wait for the payer's bank, and so for nothing else. The order must be
    locked."""
    unsent = Refund.payment_id == payment.payment_id, Refund.submitted_at.is_(None)
    await session.execute(update(Refund).where(*unsent, Refund.delayed_since.is_not(None)).values(delayed_since=None))


async def fail_refund(session: AsyncSession, refund: Refund, reason_code: str) -> None:
    """Mark a refund as failed that the provider will not pay: a person in finance sees to it. Access stays ended.

    Where the payment is lost too nothing is owed, and the refund is cancelled. The order must be locked.
    """
    payment = await fetch(session, Payment, refund.payment_id)
    if payment.state == State.LOST:
        await cancel_refund(session, refund, payment)
        return
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.FAILED, reason_code, None
    refund.revision += 1
    await end_delay(session, refund)
    said = {"refund": str(refund.refund_id), "reason": reason_code}
    log_once_committed(session, log, logging.ERROR, "refund failed", said)
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
    await emails.email_delay(session, refund, await payer_of(session, payment))


async def retry_refund(session: AsyncSession, order_id: UUID, refund_id: UUID, by: str) -> Refund:
    """Send a refund again that the provider will not pay, or the rest of one of which it paid a part, as finance asks.
    Nothing is sent beside what the provider may still pay.

    Raises Unknown, OwnOrder, RefundNotFailed.
    """
    order = await fetch(session, Order, order_id, lock=True)
    refuse_own(session, OwnOrder("somebody else decides about your own order"), order.learner_id, by)
    refund = await fetch(session, Refund, refund_id, lock=True)
    if refund.order_id != order_id:
        raise Unknown(f"no refund {refund_id} of this order")
    if refund.status not in {RefundStatus.FAILED, RefundStatus.RETURNED}:
        raise RefundNotFailed(f"the refund is {refund.status}", refund_status=refund.status)
    payment = await fetch(session, Payment, refund.payment_id)
    if payment.state == State.LOST:
        raise RefundNotFailed("the payment was taken back; nothing of it is owed", refund_status=refund.status)
    made = await provider_refunds_of(session, refund_id)
    paid = paid_of(made, refund.currency)  # pyright: ignore[reportArgumentType] - a mapped row has what is asked
    if paid is None:
        reason = "a part was paid in another currency; settle the rest by hand"
        raise RefundNotFailed(reason, refund_status=refund.status)
    if any(one.status not in ENDED for one in made):
        refund.ask_at = now(session)
        raise RefundNotFailed("the provider may still pay it; it is asked", refund_status=refund.status)
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.REQUESTED, None, None
    refund.submitted_at, refund.delayed_since = None, None
    refund.revision += 1
    return refund


async def payer_of(session: AsyncSession, payment: Payment) -> str:
    """Return the e-mail address of whoever made a payment; empty once they are anonymised."""
    return (await fetch(session, CheckoutAttempt, payment.attempt_id)).payer_email
