"""Money that arrives: it pays the order, for the first time or again, or it goes back."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import emails, receipts
from payments.commands.cancellation import leave_others
from payments.commands.checkout import apply_quote
from payments.commands.ledger import post
from payments.commands.losses import confirm_with, lose, return_duplicate
from payments.commands.orders import announced, close_checkouts, next_announcement_at
from payments.commands.refunds import note_unpaid, refund_line, return_money
from payments.commands.underpayment import reconsider, return_underpaid
from payments.commands.unmatched import show_payment
from payments.domain.orders import ENDED_UNPAID, UNPAID, OrderStatus, receipt_number
from payments.domain.payments import FUNDED, PaymentFact, ProviderStatus, State, Use, use_of
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import Reason
from payments.domain.unmatched import Why
from payments.queries.orders import (
    begun_for,
    bought_courses,
    lines_not_given_back,
    lines_of,
    lines_still_bought,
    lock_open_orders,
    offers,
)
from payments.queries.payments import confirming_payment, forgotten_payment
from payments.tables import CheckoutAttempt, Confirmation, Learner, Order, OrderLine, Payment
from shared.committed_log import log_once_committed
from shared.database import fetch, now
from shared.events.payments import AmountMismatch, PaymentConfirmed, PaymentRestored, ReceiptIssued
from shared.messaging import publish

log = logging.getLogger(__name__)


async def take(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, public_urls: PublicUrls
) -> None:
    """Use money that arrived: it pays the order, or it goes back."""
    at = now(session)
    if payment.amount_minor == 0:  # nothing arrived; another fact may say more
        await _take_nothing(session, payment, order, attempt)
        return
    payment.funded_at = payment.funded_at or at
    confirming = await confirming_payment(session, order.order_id)
    again = confirming is not None and confirming.state not in FUNDED
    if again:
        lines = await lines_still_bought(session, order, at)
        due, late = sum(line.due_minor for line in lines), not lines or order.expires_at <= at
        wares = _Wares()
    else:
        lines = (await lines_of(session, [order.order_id]))[order.order_id]
        due, late = attempt.amount_minor, order.status in ENDED_UNPAID
        wares = await _wares(session, order, lines, late=late)
        late = late or not wares.sold
    over = late or order.expires_at <= at  # the learner may have ordered the same again since
    use = use_of(
        received_minor=payment.amount_minor,
        due_minor=due,
        same_currency=payment.currency == order.currency,
        confirmed=confirming is not None and not again,
        open_=not late,
        sellable=bool(wares.sold),
    )
    payment.use = use
    match use:
        case Use.ORDER if again:
            await _confirm_again(session, payment, order, attempt, lines=lines, due=due)
        case Use.ORDER:
            await _confirm(session, payment, order, attempt, wares=wares, public_urls=public_urls)
            if over:
                await leave_others(session, order, [line.course_id for line in wares.sold])
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
                refund_after = policy_of(order.regulations_version).underpaid_refund_after
                order.expires_at = max(order.expires_at, (payment.funded_at or at) + refund_after)
                await emails.email_underpaid(session, payment, order, attempt, lines)
            else:
                await return_underpaid(session, order)
        case Use.DUPLICATE:
            await post(session, "owed_back", payment)
            await return_duplicate(session, order, payment, payment.amount_minor)
        case Use.LATE:
            await post(session, "owed_back", payment)
            reason = Reason.ALREADY_BOUGHT if lines and wares.bought == lines else Reason.LATE_PAYMENT
            await return_money(session, order, payment, payment.amount_minor, reason)


async def _take_nothing(session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt) -> None:
    await show_payment(session, payment.provider, _fact_of(payment), Why.NOTHING_PAID, payment)
    if payment.state == State.SETTLED:
        payable = order.status in UNPAID | {OrderStatus.REVERSED}
        await emails.email_no_payment(session, payment, order, attempt, payable=payable)


@dataclass(frozen=True, slots=True)
class _Wares:
    """What money that arrives can buy of the lines of its order."""

    sold: Sequence[OrderLine] = ()
    unsold: Sequence[OrderLine] = ()
    bought: Sequence[OrderLine] = ()
    """Those whose course the learner has bought otherwise; they are not sold."""


async def _wares(session: AsyncSession, order: Order, lines: Sequence[OrderLine], *, late: bool) -> _Wares:
    """Return which lines the money can buy: nothing twice, and for an order that had ended only what is still on sale,
    or was opened for money of which this database has forgotten that it came."""
    wanted = [line.course_id for line in lines]
    sellable: set[UUID] = set(wanted)
    if late or order.expires_at <= now(session):
        await lock_open_orders(session, order, wanted)  # waits for whoever pays one of them
    if late:
        gone = (await session.get_one(Learner, order.learner_id)).anonymised_at is not None
        left = gone or order.status == OrderStatus.CANCELLED
        sellable = set() if left else set(await offers(session, wanted, now(session)))
        sellable |= await begun_for(session, order.order_id, order.learner_id)
    had = await bought_courses(session, order.learner_id, now(session), beside=order.order_id)
    return _Wares(
        sold=[line for line in lines if line.course_id in sellable - had],
        unsold=[line for line in lines if line.course_id not in sellable - had],
        bought=[line for line in lines if line.course_id in had],
    )


async def _confirm(
    session: AsyncSession,
    payment: Payment,
    order: Order,
    attempt: CheckoutAttempt,
    *,
    wares: _Wares,
    public_urls: PublicUrls,
) -> None:
    lines = [*wares.sold, *wares.unsold]
    await _record_purchase(session, payment, order, attempt, lines=lines, sold=wares.sold)
    await emails.confirm_purchase(session, order, wares.sold, public_urls, unsold=wares.unsold)
    for line in wares.unsold:
        reason = Reason.ALREADY_BOUGHT if line in wares.bought else Reason.ACTIVATION_IMPOSSIBLE
        await refund_line(session, order, line, reason, "policy")
    await _end_payment(session, payment, order, attempt, due=attempt.amount_minor)


async def _record_purchase(
    session: AsyncSession,
    payment: Payment,
    order: Order,
    attempt: CheckoutAttempt,
    *,
    lines: Sequence[OrderLine],
    sold: Sequence[OrderLine],
) -> None:
    at = now(session)
    await session.execute(
        insert(Confirmation).values(order_id=order.order_id, payment_id=payment.payment_id, confirmed_at=at)
    )
    # The payer pays what this checkout's page said, whatever was quoted since.
    apply_quote(lines, {UUID(line_id): price for line_id, price in attempt.quote.items()})
    policy = policy_of(order.regulations_version)
    number = receipt_number(await receipts.draw_number(session), at, policy)
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
            lines=tuple(map(announced, sold)),
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


async def lose_forgotten(session: AsyncSession, order_id: UUID) -> None:
    """Record that the payment is lost which opened an order's enrolments, where this database has forgotten that it was
    there: it was put back, and the provider has taken the payment back meanwhile.

    To other services it came, and is gone. Nothing is recorded while another payment of the order is on its way; what
    was too little beside it goes back.
    """
    order = await fetch(session, Order, order_id, lock=True)
    found = await forgotten_payment(session, order_id)
    if found is None:
        return
    payment, attempt = found
    payment.use, payment.state, payment.funded_at = Use.ORDER, State.LOST, now(session)
    payment.revision += 1
    lines = (await lines_of(session, [order_id]))[order_id]
    await _record_purchase(session, payment, order, attempt, lines=lines, sold=lines)
    await lose(session, payment, order)
    await return_underpaid(session, order)


async def _confirm_again(
    session: AsyncSession,
    payment: Payment,
    order: Order,
    attempt: CheckoutAttempt,
    *,
    lines: Sequence[OrderLine],
    due: int,
) -> None:
    """Confirm an order whose payment was taken back by another payment; to other services the money has come back.

    `lines`: those that it pays for. Of the others it is noted that it does not; of what the lost payment paid for, and
    would pay for again, the note says nothing.
    """
    await confirm_with(session, order, payment)
    for line in await lines_not_given_back(session, order.order_id):
        if line not in lines:
            await note_unpaid(session, order, payment, line)
    order.payer_email, attempt.status = attempt.payer_email, "paid"
    await post(session, "sold_again", payment)
    await reconsider(session, order)
    publish(
        session,
        PaymentRestored(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            restored_at=next_announcement_at(session, order),
        ),
    )
    await emails.email_paid_again(session, payment, order, due, lines)
    await _end_payment(session, payment, order, attempt, due=due)


async def _end_payment(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, *, due: int
) -> None:
    """Close the order's other checkouts, and give back what was too much or too little."""
    await close_checkouts(session, order.order_id, but=attempt.attempt_id)
    if payment.amount_minor > due:
        received = payment.amount_minor, payment.currency
        announce_mismatch(session, payment, order, expected=due, received=received)
        await return_money(session, order, payment, payment.amount_minor - due, Reason.OVERPAID)
    await return_underpaid(session, order)


def announce_mismatch(
    session: AsyncSession, payment: Payment, order: Order, *, expected: int, received: tuple[int, str]
) -> None:
    """Publish that another amount, or currency, arrived than was expected; amounts in minor units."""
    said = {"order": str(order.order_id), "payment": str(payment.payment_id)}
    log_once_committed(session, log, logging.WARNING, "amount mismatch", said)
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
