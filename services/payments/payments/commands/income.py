"""Money that arrives: it pays the order, for the first time or again, or it goes back."""

import logging
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.checkout import apply_quote
from payments.commands.ledger import post
from payments.commands.losses import confirm_with, return_duplicate
from payments.commands.orders import announced, close_checkouts, next_word_at
from payments.commands.refunds import return_money
from payments.commands.underpayment import reconsider, return_underpaid
from payments.commands.unmatched import park_payment
from payments.domain.addresses import Addresses
from payments.domain.orders import ENDED_UNPAID, OrderStatus, receipt_number
from payments.domain.payments import FUNDED, PaymentFact, ProviderStatus, Use, use_of
from payments.domain.policy import policy_of
from payments.domain.refunds import Reason
from payments.tables import CheckoutAttempt, Confirmation, Learner, Order, OrderLine, Payment
from shared.database import now
from shared.events.payments import AmountMismatch, PaymentConfirmed, PaymentRestored, ReceiptIssued
from shared.messaging import publish

log = logging.getLogger(__name__)


async def take(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, places: Addresses
) -> None:
    """Money arrived: it pays the order, or it goes back."""
    at = now(session)
    if payment.amount_minor == 0:  # nothing arrived; another fact may say more
        await park_payment(session, payment.provider, _fact_of(payment), "nothing_paid", payment)
        return
    payment.funded_at = payment.funded_at or at
    confirming = await queries.confirming_payment(session, order.order_id)
    again = confirming is not None and confirming.state not in FUNDED
    if again:
        lines = await queries.lines_not_given_back(session, order.order_id)
        due, late, sellable = sum(line.due_minor for line in lines), not lines or order.expires_at <= at, False
    else:
        lines = (await queries.lines_of(session, [order.order_id]))[order.order_id]
        due, late = attempt.amount_minor, order.status in ENDED_UNPAID
        sellable = late and await _sellable(session, order, lines)
    use = use_of(
        received_minor=payment.amount_minor,
        due_minor=due,
        same_currency=payment.currency == order.currency,
        confirmed=confirming is not None and not again,
        open_=not late,
        sellable=sellable,
    )
    payment.use = use
    match use:
        case Use.ORDER if again:
            await _confirm_again(session, payment, order, attempt, due=due)
        case Use.ORDER:
            await _confirm(session, payment, order, attempt, lines=lines, places=places)
        case Use.UNDERPAID:
            await post(session, "held", payment)
            await reconsider(session, order)
            announce_mismatch(
                session,
                payment,
                order,
                expected=due,
                received=(payment.amount_minor, payment.currency),
            )
            if order.status == OrderStatus.UNDERPAID:
                grace = policy_of(order.regulations_version).underpaid_refund_after
                order.expires_at, days = max(order.expires_at, (payment.funded_at or at) + grace), grace.days
                await letters.tell_underpaid(session, payment, attempt, days)
            else:
                await return_underpaid(session, order)
        case Use.DUPLICATE:
            await post(session, "owed_back", payment)
            await return_duplicate(session, order, payment, payment.amount_minor)
        case Use.LATE:
            await post(session, "owed_back", payment)
            await return_money(session, order, payment, payment.amount_minor, Reason.LATE_PAYMENT)


async def _sellable(session: AsyncSession, order: Order, lines: list[OrderLine]) -> bool:
    """Whether a late payment can still buy something; what it cannot buy then comes back line by line."""
    if order.status == OrderStatus.CANCELLED:
        return False
    if (await session.get_one(Learner, order.learner_id)).anonymised_at is not None:
        return False
    wanted = {line.course_id for line in lines}
    offers = await queries.offers(session, wanted, now(session))
    return bool(wanted & offers.keys() - await queries.bought_courses(session, order.learner_id, now(session)))


async def _confirm(
    session: AsyncSession,
    payment: Payment,
    order: Order,
    attempt: CheckoutAttempt,
    *,
    lines: list[OrderLine],
    places: Addresses,
) -> None:
    at = now(session)
    await session.execute(
        insert(Confirmation).values(order_id=order.order_id, payment_id=payment.payment_id, confirmed_at=at)
    )
    # The payer pays what this checkout's page said, whatever was quoted since.
    apply_quote(lines, {UUID(line_id): price for line_id, price in attempt.quote.items()})
    policy = policy_of(order.regulations_version)
    drawn = await session.scalar(select(func.nextval(text("'receipt_numbers'"))))
    number = receipt_number(drawn or 0, at, policy)
    order.status, order.paid_at, order.payer_email = OrderStatus.PAID, at, attempt.payer_email
    order.receipt_number = number
    attempt.status = "paid"
    await post(session, "sold", payment)
    publish(
        session,
        PaymentConfirmed(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            amount_minor=attempt.amount_minor,
            currency=order.currency,
            method=payment.method,
            lines=tuple(map(announced, lines)),
            confirmed_at=at,
        ),
    )
    publish(
        session,
        ReceiptIssued(
            order_id=order.order_id,
            learner_id=order.learner_id,
            number=number,
            amount_minor=attempt.amount_minor,
            currency=order.currency,
            vat_treatment=policy.vat_treatment,
            issued_at=at,
        ),
    )
    await letters.confirm_purchase(session, order, lines, places)
    await _end_payment(session, payment, order, attempt, due=attempt.amount_minor)


async def _confirm_again(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, *, due: int
) -> None:
    """The order whose payment was taken back is paid by another one; to others it is as if the money had come back."""
    await confirm_with(session, order, payment)
    order.payer_email, attempt.status = attempt.payer_email, "paid"
    await post(session, "sold_again", payment)
    await reconsider(session, order)
    publish(
        session,
        PaymentRestored(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            restored_at=next_word_at(session, order),
        ),
    )
    await letters.tell_paid_again(session, payment, order, due)
    await _end_payment(session, payment, order, attempt, due=due)


async def _end_payment(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, *, due: int
) -> None:
    """Nothing else is to be paid, and what was too much or too little goes back."""
    await close_checkouts(session, order.order_id, but=attempt.attempt_id)
    if payment.amount_minor > due:
        received = payment.amount_minor, payment.currency
        announce_mismatch(session, payment, order, expected=due, received=received)
        await return_money(session, order, payment, payment.amount_minor - due, Reason.OVERPAID)
    await return_underpaid(session, order)


def announce_mismatch(
    session: AsyncSession, payment: Payment, order: Order, *, expected: int, received: tuple[int, str]
) -> None:
    log.warning("amount mismatch", extra={"order": str(order.order_id), "payment": str(payment.payment_id)})
    amount, currency = received
    publish(
        session,
        AmountMismatch(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            expected_minor=expected,
            received_minor=amount,
            currency=currency,
            expected_currency=order.currency,
            detected_at=now(session),
        ),
    )


def _fact_of(payment: Payment) -> PaymentFact:
    return PaymentFact(
        payment.reference,
        ProviderStatus(payment.provider_status),
        payment.status_at,
        payment.amount_minor,
        payment.currency,
        "",
        payment.method,
        payment.reason_code,
    )
