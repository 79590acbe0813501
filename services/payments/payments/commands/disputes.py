"""Opening and closing disputes, as finance enters them. Refunds that they hold up look at them by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import emails
from payments.commands.losses import lose_to_the_bank
from payments.commands.orders import next_announcement_at
from payments.commands.refunds import leave_to_bank
from payments.commands.settlement import take_back_from_the_bank
from payments.commands.unmatched import end_unmatched
from payments.domain.disputes import (
    CHARGEBACK,
    DisputeAlreadyClosed,
    DisputeAlreadyOpen,
    DisputeOutcome,
    PaymentNotReceived,
    check_reason,
)
from payments.domain.orders import OrderNotPaid, OrderStatus, OwnOrder
from payments.domain.payments import FUNDED, State
from payments.domain.policy import policy_at
from payments.domain.unmatched import Why
from payments.queries.orders import lines_still_bought
from payments.queries.payments import confirming_payment, payments_of
from payments.tables import Dispute, Order, OrderLine, Payment
from shared.access import refuse_own
from shared.database import Unknown, fetch, now
from shared.events.payments import DisputeClosed, DisputeOpened
from shared.ids import new_id
from shared.messaging import publish

_OWN = "somebody else decides about your own order"


async def open_dispute(
    session: AsyncSession,
    order_id: UUID,
    *,
    reason_code: str,
    case_reference: str,
    by: str,
    payment_reference: str | None = None,
) -> Dispute:
    """Record that the payer asks their bank for the money of an order: of the payment that pays it, or of the named
    one.

    Raises Unknown, OwnOrder, UnknownDisputeReason, OrderNotPaid, PaymentNotReceived, DisputeAlreadyOpen.
    """
    order = await fetch(session, Order, order_id, lock=True)
    refuse_own(session, OwnOrder(_OWN), order.learner_id, by)
    check_reason(reason_code, policy_at(now(session)).dispute_reasons)
    payment = await _disputed_payment(session, order, payment_reference)
    dispute_id = await session.scalar(
        insert(Dispute)
        .values(
            dispute_id=new_id(),
            order_id=order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            reason_code=reason_code,
            case_reference=case_reference,
            opened_by=by,
            opened_at=now(session),
        )
        .on_conflict_do_nothing()
        .returning(Dispute.dispute_id)
    )
    if dispute_id is None:
        raise DisputeAlreadyOpen("this payment is disputed already")
    dispute = await fetch(session, Dispute, dispute_id)
    await leave_to_bank(session, payment)
    publish(
        session,
        DisputeOpened(
            dispute_id=dispute_id,
            order_id=order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            reason_code=reason_code,
            opened_at=dispute.opened_at,
        ),
    )
    await _email(session, emails.email_disputed, dispute, order)
    return dispute


async def _email(
    session: AsyncSession,
    write: Callable[[AsyncSession, Dispute, Order, Sequence[OrderLine]], Awaitable[None]],
    dispute: Dispute,
    order: Order,
) -> None:
    """E-mail that access is suspended, or is again as before: to lines that the disputed payment pays for."""
    paying = await confirming_payment(session, order.order_id)
    if paying is None or paying.payment_id != dispute.payment_id or order.status != OrderStatus.PAID:
        return
    if lines := await lines_still_bought(session, order, now(session)):
        await write(session, dispute, order, lines)


async def _disputed_payment(session: AsyncSession, order: Order, reference: str | None) -> Payment:
    if reference is None:
        payment = await confirming_payment(session, order.order_id)
        if payment is None or order.status != OrderStatus.PAID:
            raise OrderNotPaid(f"the order is {order.status}", order_status=order.status)
        return payment
    named = (one for one in await payments_of(session, order.order_id) if one.reference == reference)
    payment = next(named, None)
    if payment is None:
        raise Unknown(f"no payment {reference} of this order")
    if payment.use is None:
        raise PaymentNotReceived("nothing came of this payment", payment_status=payment.provider_status)
    return payment


async def close_dispute(session: AsyncSession, dispute_id: UUID, outcome: DisputeOutcome, by: str) -> Dispute:
    """Record what the bank decided. Lost money is gone as if the provider had taken it back; once a later dispute about
    it is not lost, the payment is again what the provider says of it.

    Raises Unknown, OwnOrder, DisputeAlreadyClosed.
    """
    dispute = await fetch(session, Dispute, dispute_id)
    order = await fetch(session, Order, dispute.order_id, lock=True)
    refuse_own(session, OwnOrder(_OWN), order.learner_id, by)
    dispute = await fetch(session, Dispute, dispute_id, lock=True)
    if dispute.closed_at is not None:
        raise DisputeAlreadyClosed(f"this dispute was {dispute.outcome}")
    at = next_announcement_at(session, order)
    dispute.outcome, dispute.closed_by, dispute.closed_at = outcome, by, at
    publish(
        session,
        DisputeClosed(
            dispute_id=dispute_id,
            order_id=dispute.order_id,
            payment_id=dispute.payment_id,
            learner_id=dispute.learner_id,
            outcome=outcome,
            closed_at=at,
        ),
    )
    payment = await fetch(session, Payment, dispute.payment_id, lock=True)
    if outcome is DisputeOutcome.LOST:
        over = Why.RESTORED_AFTER_LOSS, Why.TAKEN_BACK_WITHOUT_DISPUTE
        await end_unmatched(session, payment.provider, [payment.reference], *over)
        # The provider may have taken it back by itself meanwhile.
        if payment.state in FUNDED:
            await lose_to_the_bank(session, payment, order, CHARGEBACK)
    elif payment.state == State.LOST:
        await take_back_from_the_bank(session, payment, order)
    else:
        await _email(session, emails.email_dispute_over, dispute, order)
    return dispute
