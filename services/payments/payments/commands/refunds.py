"""Giving money back: asked by the learner, owed because nothing was sold, and what the provider makes of it."""

import logging
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.ledger import post
from payments.domain import ledger
from payments.domain.disputes import OrderInDispute
from payments.domain.ledger import Account
from payments.domain.orders import OrderNotPaid, OrderStatus
from payments.domain.policy import in_utc, policy_of
from payments.domain.refunds import (
    CoolingOffEnded,
    ProviderRefundStatus,
    Reason,
    RefundAlreadyRequested,
    RefundFact,
    RefundNotFailed,
    RefundStatus,
    cooling_off_ends,
    status_of,
)
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment, Refund
from shared.database import Unknown, fetch, now
from shared.events.payments import RefundCompleted, RefundFailed, RefundRequested, RefundSubmitted
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
    """Owe the payer what was paid for this line; None where that was done before. The order must be locked."""
    payment = await queries.confirming_payment(session, order.order_id)
    if payment is None:
        raise OrderNotPaid("nothing was paid for this order", order_status=order.status)
    if line.due_minor == 0:
        return None
    return await _request(
        session, payment, line.due_minor, order, reason=reason, by=by, line=line, source=Account.SALES
    )


async def return_money(
    session: AsyncSession, order: Order, payment: Payment, amount_minor: int, reason: Reason
) -> None:
    """Owe the payer money that pays for nothing. Its posting is the caller's, unless it was held until now."""
    source = Account.UNAPPLIED if reason is Reason.UNDERPAID else None
    await _request(session, payment, amount_minor, order, reason=reason, by="policy", line=None, source=source)


async def _request(
    session: AsyncSession,
    payment: Payment,
    amount_minor: int,
    order: Order,
    *,
    reason: Reason,
    by: str,
    line: OrderLine | None,
    source: Account | None,
) -> Refund | None:
    at = now(session)
    # One refund a line, one a payment beyond its lines: the unique indexes decide, whoever comes twice.
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
            requested_at=at,
            status=RefundStatus.REQUESTED,
        )
        .on_conflict_do_nothing()
        .returning(Refund.refund_id)
    )
    if refund_id is None:
        return None
    refund = await fetch(session, Refund, refund_id)
    if source is not None:
        await post(
            session,
            "refund_requested",
            payment,
            ledger.refund_requested(amount_minor, source),
            refund_id=refund_id,
        )
    publish(
        session,
        RefundRequested(
            refund_id=refund_id,
            order_id=order.order_id,
            order_line_id=refund.order_line_id,
            course_id=line.course_id if line else None,
            learner_id=order.learner_id,
            amount_minor=amount_minor,
            currency=payment.currency,
            reason_code=reason,
            requested_at=at,
        ),
    )
    await letters.tell_of_refund(session, refund, await _payer(session, payment), "requested")
    return refund


async def apply_refund_fact(session: AsyncSession, fact: RefundFact, *, fetched: bool = False) -> str:
    """Take in what the provider says of a refund of ours; what it came to, in a word.

    A fact older than the last one, or as old, is not trusted: the provider is asked.
    """
    refund = await _find(session, fact)
    if refund is None:
        return "unmatched"
    await fetch(session, Order, refund.order_id, lock=True)
    refund = await fetch(session, Refund, refund.refund_id, lock=True)
    if refund.provider_refund_id is None:
        _note_submission(session, refund, fact)
    if refund.provider_status == fact.status:
        refund.status_at = max(fact.at, refund.status_at or fact.at)
        return "known"
    if not fetched and refund.status_at is not None and fact.at <= refund.status_at:
        refund.ask_at = now(session)
        return "asking"
    before = RefundStatus(refund.status)
    refund.provider_status, refund.status_at = fact.status, fact.at
    await _advance(session, refund, before, status_of(fact.status, before), fact)
    return "applied"


def _note_submission(session: AsyncSession, refund: Refund, fact: RefundFact) -> None:
    at = now(session)
    refund.provider_refund_id, refund.submitted_at = fact.provider_refund_id, at
    publish(
        session,
        RefundSubmitted(
            refund_id=refund.refund_id,
            order_id=refund.order_id,
            order_line_id=refund.order_line_id,
            learner_id=refund.learner_id,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            submitted_at=at,
        ),
    )


async def _find(session: AsyncSession, fact: RefundFact) -> Refund | None:
    known = await session.scalar(select(Refund).where(Refund.provider_refund_id == fact.provider_refund_id))
    if known is not None:
        return known
    try:
        ours = UUID(fact.external_reference)
    except ValueError:
        return None
    return await session.scalar(select(Refund).where(Refund.refund_id == ours, Refund.provider_refund_id.is_(None)))


async def _advance(
    session: AsyncSession, refund: Refund, before: RefundStatus, status: RefundStatus, fact: RefundFact
) -> None:
    at = now(session)
    payment = await fetch(session, Payment, refund.payment_id)
    refund.status = status
    entries = ledger.refunded(refund.amount_minor)
    if status is RefundStatus.SUBMITTED:
        if fact.status is ProviderRefundStatus.RECEIVED:
            await letters.tell_of_refund(session, refund, await _payer(session, payment), "received")
        return
    refund.ask_at = None
    if status is RefundStatus.COMPLETED and before is not RefundStatus.COMPLETED:
        refund.completed_at = at
        await post(session, "refunded", payment, entries, refund_id=refund.refund_id, revision=fact.at)
        publish(
            session,
            RefundCompleted(
                refund_id=refund.refund_id,
                order_id=refund.order_id,
                order_line_id=refund.order_line_id,
                learner_id=refund.learner_id,
                amount_minor=refund.amount_minor,
                currency=refund.currency,
                completed_at=at,
            ),
        )
        await letters.tell_of_refund(session, refund, await _payer(session, payment), "finished")
    if status is RefundStatus.FAILED and before is not RefundStatus.FAILED:
        if before is RefundStatus.COMPLETED:
            opposite = ledger.opposite(entries)
            await post(session, "refund_returned", payment, opposite, refund_id=refund.refund_id, revision=fact.at)
        await fail_refund(session, refund, f"provider_{fact.status}")


async def fail_refund(session: AsyncSession, refund: Refund, reason_code: str) -> None:
    """The provider will not pay it; a person in finance sees to it. Access stays ended."""
    refund.status, refund.failure_code, refund.ask_at = RefundStatus.FAILED, reason_code, None
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


async def retry_refund(session: AsyncSession, order_id: UUID, refund_id: UUID) -> Refund:
    """Finance sends a refused refund again. Raises Unknown, RefundNotFailed."""
    await fetch(session, Order, order_id, lock=True)
    refund = await fetch(session, Refund, refund_id, lock=True)
    if refund.order_id != order_id:
        raise Unknown(f"no refund {refund_id} of this order")
    if refund.status != RefundStatus.FAILED:
        raise RefundNotFailed(f"the refund is {refund.status}", refund_status=refund.status)
    refund.status, refund.failure_code = RefundStatus.REQUESTED, None
    refund.provider_refund_id = refund.provider_status = refund.status_at = refund.submitted_at = None
    return refund


async def _payer(session: AsyncSession, payment: Payment) -> str:
    return (await fetch(session, CheckoutAttempt, payment.attempt_id)).payer_email
