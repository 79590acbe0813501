"""What the provider says of a payment, applied: the order's lock makes facts of one order take turns."""

import logging
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.checkout import apply_quote
from payments.commands.ledger import post
from payments.commands.orders import announced, close_checkouts, let_expire
from payments.commands.refunds import return_money
from payments.domain import ledger
from payments.domain.addresses import Addresses
from payments.domain.ledger import Account
from payments.domain.orders import ENDED_UNPAID, OrderStatus, receipt_number
from payments.domain.payments import (
    FUNDED,
    PaymentFact,
    ProviderStatus,
    Standing,
    State,
    Use,
    Verdict,
    is_dead,
    judge,
    state_of,
    use_of,
)
from payments.domain.policy import Policy, policy_of
from payments.domain.refunds import Reason, RefundStatus
from payments.tables import (
    CheckoutAttempt,
    Confirmation,
    Learner,
    Order,
    OrderLine,
    Payment,
    Refund,
    UnmatchedPayment,
)
from shared.database import fetch, now
from shared.events.payments import (
    AmountMismatch,
    DuplicateDetected,
    PaymentConfirmed,
    PaymentFailed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    ReceiptIssued,
)
from shared.ids import new_id
from shared.messaging import publish

log = logging.getLogger(__name__)

RETURNED_AS = {Use.DUPLICATE: Reason.DUPLICATE, Use.LATE: Reason.LATE_PAYMENT}


async def apply_payment_fact(
    session: AsyncSession, provider: str, fact: PaymentFact, places: Addresses, *, asked_at_revision: int | None = None
) -> str:
    """Take in one fact of one payment; what it came to, in a word.

    `asked_at_revision`: the fact was fetched when the payment stood at this revision; if another fact was
    applied meanwhile it may be older than that one, and the provider is asked once more.
    """
    attempt = await queries.attempt_for(session, provider, fact.reference, fact.external_reference)
    if attempt is None:
        await park_unmatched(session, provider, fact, "unknown_reference")
        return "unmatched"
    order = await fetch(session, Order, attempt.order_id, lock=True)
    policy = policy_of(order.regulations_version)
    payment = await queries.payment_by_reference(session, provider, fact.reference)
    fetched = asked_at_revision is not None
    if payment is not None and fetched and payment.revision != asked_at_revision:
        payment.ask_at = now(session)
        return "asking"

    last = Standing(ProviderStatus(payment.provider_status), payment.status_at) if payment else None
    verdict = judge(last, fact, fetched=fetched)
    if payment is None:
        payment = _first_seen(session, provider, fact, attempt)
    elif verdict is Verdict.ASK:
        payment.ask_at = now(session)
        return "asking"
    elif verdict is Verdict.KNOWN:
        payment.status_at = max(payment.status_at, fact.at)
        _plan_question(session, payment, order, policy)
        return "known"
    elif verdict is Verdict.IGNORE:
        payment.ask_at = None
        return "ignored"

    before = State(payment.state) if payment.revision else None
    payment.state = state_of(fact.status, fact.method, before, policy)
    payment.provider_status, payment.status_at = fact.status, fact.at
    payment.amount_minor, payment.currency = fact.amount_minor, fact.currency
    payment.method, payment.reason_code = fact.method, fact.reason_code
    payment.revision += 1
    _plan_question(session, payment, order, policy)
    await session.flush()
    await _follow(session, before, payment, order, attempt, places=places)
    return "applied"


def _first_seen(session: AsyncSession, provider: str, fact: PaymentFact, attempt: CheckoutAttempt) -> Payment:
    payment = Payment(
        payment_id=new_id(),
        provider=provider,
        reference=fact.reference,
        attempt_id=attempt.attempt_id,
        order_id=attempt.order_id,
        revision=0,
        seen_at=now(session),
    )
    session.add(payment)
    attempt.ask_at = None  # from now on the payment itself is asked about
    return payment


def _plan_question(session: AsyncSession, payment: Payment, order: Order, policy: Policy) -> None:
    """When to ask the provider if it says nothing more by itself."""
    at = now(session)
    asking_ends = order.expires_at + policy.ask_until_after_expiry
    if payment.state == State.SETTLED:
        payment.ask_at = None
    elif is_dead(State(payment.state)):
        # Late money revives a cancelled payment, and the callback that says so may be lost.
        planned = at + policy.ask_unsettled_every
        payment.ask_at = planned if planned < asking_ends else None
    elif at < asking_ends:
        payment.ask_at = policy.next_question(payment.seen_at, at)
    else:
        payment.ask_at = at + policy.ask_unsettled_every


async def _follow(
    session: AsyncSession,
    before: State | None,
    payment: Payment,
    order: Order,
    attempt: CheckoutAttempt,
    *,
    places: Addresses,
) -> None:
    """Draw the conclusions of a payment's new state."""
    state = State(payment.state)
    if state in FUNDED and before not in FUNDED:
        if payment.use is None:
            await _take(session, payment, order, attempt, places)
        else:
            await _restore(session, payment, order)
    if state is State.SETTLED:
        outstanding = (await queries.balances(session, payment.payment_id)).get(Account.PROVIDER, 0)
        await post(session, "settled", payment, ledger.settled(outstanding))
        if payment.use == Use.ORDER:
            publish(
                session,
                PaymentSettled(
                    order_id=order.order_id,
                    payment_id=payment.payment_id,
                    learner_id=order.learner_id,
                    settled_at=now(session),
                ),
            )
    if state is State.FAILED_ATTEMPT:
        attempt.status = "failed"
        publish(
            session,
            PaymentFailed(
                order_id=order.order_id,
                payment_id=payment.payment_id,
                learner_id=order.learner_id,
                reason_code=payment.reason_code or payment.provider_status,
                failed_at=now(session),
            ),
        )
    if state is State.LOST and before in FUNDED:
        await _lose(session, payment, order, paid_out=before is State.SETTLED)


async def _take(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, places: Addresses
) -> None:
    """Money arrived: it pays the order, or it goes back."""
    at = now(session)
    payment.funded_at = at
    lines = (await queries.lines_of(session, [order.order_id]))[order.order_id]
    late = order.status in ENDED_UNPAID
    use = use_of(
        received_minor=payment.amount_minor,
        due_minor=attempt.amount_minor,
        same_currency=payment.currency == order.currency,
        confirmed=await queries.confirming_payment(session, order.order_id) is not None,
        open_=not late,
        sellable=not late or await _sellable(session, order, lines),
    )
    payment.use = use
    match use:
        case Use.ORDER:
            await _confirm(session, payment, order, attempt, lines=lines, places=places)
        case Use.UNDERPAID:
            order.status = OrderStatus.UNDERPAID
            await post(session, "held", payment, ledger.held(payment.amount_minor))
            _announce_mismatch(session, payment, order, attempt)
            days = policy_of(order.regulations_version).underpaid_refund_after.days
            await letters.tell_underpaid(session, payment, attempt, days)
        case Use.DUPLICATE | Use.LATE:
            await post(session, "owed_back", payment, ledger.owed_back(payment.amount_minor))
            if use is Use.DUPLICATE:
                publish(
                    session,
                    DuplicateDetected(
                        order_id=order.order_id,
                        payment_id=payment.payment_id,
                        learner_id=order.learner_id,
                        amount_minor=payment.amount_minor,
                        currency=payment.currency,
                        detected_at=at,
                    ),
                )
            await return_money(session, order, payment, payment.amount_minor, RETURNED_AS[use])


async def _sellable(session: AsyncSession, order: Order, lines: list[OrderLine]) -> bool:
    """Whether a late payment can still buy something; what it cannot buy then comes back line by line."""
    if order.status == OrderStatus.CANCELLED:
        return False
    if (await session.get_one(Learner, order.learner_id)).anonymised_at is not None:
        return False
    wanted = {line.course_id for line in lines}
    offers = await queries.offers(session, wanted, now(session))
    return bool(wanted & offers.keys() - await queries.bought_courses(session, order.learner_id))


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
    await post(session, "sold", payment, ledger.sold(payment.amount_minor, attempt.amount_minor))
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
    await close_checkouts(session, order.order_id, but=attempt.attempt_id)
    if payment.amount_minor > attempt.amount_minor:
        _announce_mismatch(session, payment, order, attempt)
        await return_money(session, order, payment, payment.amount_minor - attempt.amount_minor, Reason.OVERPAID)
    await return_underpaid(session, order)


async def return_underpaid(session: AsyncSession, order: Order) -> None:
    """What was too little goes back whole. The order must be locked."""
    for payment in await queries.payments_of(session, order.order_id):
        if payment.use == Use.UNDERPAID and payment.state in FUNDED:
            await return_money(session, order, payment, payment.amount_minor, Reason.UNDERPAID)


async def give_up_underpaid(session: AsyncSession, limit: int) -> None:
    """Orders that were underpaid and not paid in full in time expire, and the money goes back."""
    at = now(session)
    waiting = (
        await session.scalars(
            select(Order)
            .where(Order.status == OrderStatus.UNDERPAID)
            .order_by(Order.placed_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    for order in waiting:
        grace = policy_of(order.regulations_version).underpaid_refund_after
        held = [p for p in await queries.payments_of(session, order.order_id) if p.use == Use.UNDERPAID]
        if all(p.funded_at is not None and p.funded_at + grace <= at for p in held):
            await let_expire(session, order)
            await return_underpaid(session, order)


def _announce_mismatch(session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt) -> None:
    log.warning("amount mismatch", extra={"order": str(order.order_id), "payment": str(payment.payment_id)})
    publish(
        session,
        AmountMismatch(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            learner_id=order.learner_id,
            expected_minor=attempt.amount_minor,
            received_minor=payment.amount_minor,
            currency=payment.currency,
            detected_at=now(session),
        ),
    )


async def _lose(session: AsyncSession, payment: Payment, order: Order, *, paid_out: bool) -> None:
    """Money we had counted on is gone: nothing of it is left to give back, and what it bought is suspended."""
    balances = await queries.balances(session, payment.payment_id)
    await post(session, "lost", payment, ledger.lost(balances, payment.amount_minor, paid_out=paid_out))
    gone_back = set(await session.scalars(select(Refund.order_line_id).where(Refund.order_id == order.order_id)))
    await session.execute(
        update(Refund)
        .where(Refund.payment_id == payment.payment_id, Refund.status == RefundStatus.REQUESTED)
        .values(status=RefundStatus.CANCELLED)
    )
    if payment.use == Use.UNDERPAID and order.status == OrderStatus.UNDERPAID:
        order.status = OrderStatus.PLACED  # payable again, until it expires
    if payment.use != Use.ORDER:
        return
    order.status = OrderStatus.REVERSED
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


async def lose_payment(session: AsyncSession, payment: Payment, order: Order, reason_code: str) -> None:
    """Money is gone of which the provider tells nothing. The order must be locked."""
    paid_out = payment.state == State.SETTLED
    payment.state, payment.reason_code = State.LOST, reason_code
    payment.revision += 1
    await session.flush()
    await _lose(session, payment, order, paid_out=paid_out)


async def _restore(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Money that was lost is back (documented: a cancelled payment may be processed after all).

    The books are as before the loss, refunds go on and the enrolments are reinstated. PaymentConfirmed was said
    once and is not said again. Finance is shown it besides: an enrolment may have ended for want of the money.
    """
    lost = await queries.last_posting(session, payment.payment_id, "lost")
    await post(session, "restored", payment, ledger.opposite(lost))
    await session.execute(
        update(Refund)
        .where(Refund.payment_id == payment.payment_id, Refund.status == RefundStatus.CANCELLED)
        .values(status=RefundStatus.REQUESTED)
    )
    if payment.use == Use.ORDER:
        order.status = OrderStatus.PAID
        publish(
            session,
            PaymentRestored(
                order_id=order.order_id,
                payment_id=payment.payment_id,
                learner_id=order.learner_id,
                restored_at=now(session),
            ),
        )
    fact = PaymentFact(
        payment.reference,
        ProviderStatus(payment.provider_status),
        payment.status_at,
        payment.amount_minor,
        payment.currency,
        "",
        payment.method,
        "",
    )
    await park_unmatched(session, payment.provider, fact, "restored_after_loss")


async def park_unmatched(session: AsyncSession, provider: str, fact: PaymentFact, reason: str) -> None:
    """Put money we cannot place where finance sees it."""
    at = now(session)
    values = {
        "external_reference": fact.external_reference,
        "provider_status": fact.status,
        "amount_minor": fact.amount_minor,
        "currency": fact.currency,
        "last_at": at,
    }
    log.error("unmatched payment", extra={"reference": fact.reference, "reason": reason})
    await session.execute(
        insert(UnmatchedPayment)
        .values(
            unmatched_id=new_id(), provider=provider, reference=fact.reference, reason=reason, first_at=at, **values
        )
        .on_conflict_do_update(index_elements=["provider", "reference", "reason"], set_=values)
    )
