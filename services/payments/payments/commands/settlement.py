"""What the provider says of a payment, applied: the order's lock makes facts of one order take turns."""

import logging
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import letters
from payments.commands.checkout import apply_quote
from payments.commands.ledger import post
from payments.commands.losses import lose, restore
from payments.commands.orders import announced, close_checkouts
from payments.commands.refunds import return_money
from payments.commands.underpayment import reconsider, return_underpaid
from payments.commands.unmatched import park_payment
from payments.domain.addresses import Addresses
from payments.domain.orders import ENDED_UNPAID, OrderStatus, receipt_number
from payments.domain.payments import (
    DEAD,
    FUNDED,
    PaymentFact,
    ProviderStatus,
    Standing,
    State,
    Use,
    Verdict,
    judge,
    state_of,
    use_of,
)
from payments.domain.policy import Policy, policy_of
from payments.domain.refunds import Reason
from payments.queries import is_lost_to_the_bank
from payments.tables import CheckoutAttempt, Confirmation, Learner, Order, OrderLine, Payment
from shared.database import fetch, now
from shared.events.payments import (
    AmountMismatch,
    DuplicateDetected,
    PaymentConfirmed,
    PaymentFailed,
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
        await park_payment(session, provider, fact, "unknown_reference")
        return "unmatched"
    order = await fetch(session, Order, attempt.order_id, lock=True)
    policy = policy_of(order.regulations_version)
    payment = await queries.payment_by_reference(session, provider, fact.reference)
    fetched = asked_at_revision is not None
    if payment is not None and fetched and payment.revision != asked_at_revision:
        payment.ask_at = now(session)
        return "asking"

    if fact.status is ProviderStatus.UNKNOWN:
        await park_payment(session, provider, fact, "unknown_status", payment)
    if payment is None:
        payment = _first_seen(session, provider, fact, attempt)
    elif (outcome := await _without_effect(session, payment, fact, order, policy, fetched=fetched)) is not None:
        return outcome
    before = State(payment.state) if payment.revision else None
    await _note(session, payment, fact, order, before, policy)
    await _follow(session, before, payment, order, attempt, places=places)
    return "applied"


async def _without_effect(
    session: AsyncSession, payment: Payment, fact: PaymentFact, order: Order, policy: Policy, *, fetched: bool
) -> str | None:
    """What a fact comes to that changes nothing, in a word; None where it is to be applied."""
    # An amount that changed after the money was used is the last one told, though the books go by the first.
    changed = await queries.parked_sum(session, payment, "amount_changed")
    amount, currency = changed or (payment.amount_minor, payment.currency)
    last = Standing(ProviderStatus(payment.provider_status), payment.status_at, amount, currency)
    match judge(last, fact, fetched=fetched, patience=policy.ask_every):
        case Verdict.ASK:
            payment.ask_at = now(session)
            return "asking"
        case Verdict.DOUBT:
            payment.ask_at = now(session) + policy.ask_after[0]  # a copy that lags has caught up within minutes
            return "asking"
        case Verdict.UNCLEAR:
            payment.ask_at = policy.next_question(payment.seen_at, now(session))
            return "not_known_yet"
        case Verdict.KNOWN:
            payment.status_at = max(payment.status_at, fact.at)
            _plan_question(session, payment, order, policy)
            return "known"
        case Verdict.IGNORE:
            payment.ask_at = None
            return "ignored"
        case Verdict.APPLY:
            return None


async def _note(
    session: AsyncSession, payment: Payment, fact: PaymentFact, order: Order, before: State | None, policy: Policy
) -> None:
    """Take the fact over into the payment's row."""
    payment.state = state_of(fact.status, fact.method, before, policy)
    if before is State.LOST and payment.state in FUNDED and await is_lost_to_the_bank(session, payment.payment_id):
        # The provider tells nothing of disputes: what the bank took is not back because the provider goes on.
        payment.state = State.LOST
        await park_payment(session, payment.provider, fact, "paid_after_lost_dispute", payment)
    payment.provider_status, payment.status_at = fact.status, fact.at
    if payment.use is None:
        payment.amount_minor, payment.currency = fact.amount_minor, fact.currency
    elif (payment.amount_minor, payment.currency) != (fact.amount_minor, fact.currency):
        # The money was used as it was; that it is another sum now is for finance to see to.
        await park_payment(session, payment.provider, fact, "amount_changed", payment)
        received = fact.amount_minor, fact.currency
        _announce_mismatch(session, payment, order, expected=payment.amount_minor, received=received)
    payment.method, payment.reason_code = fact.method, fact.reason_code
    payment.revision += 1
    _plan_question(session, payment, order, policy)
    await session.flush()


async def ask_again(session: AsyncSession, provider: str, reference: str, external: str) -> bool:
    """Something came about this payment that could not be read: ask the provider. Whether it is known here."""
    payment = await queries.payment_by_reference(session, provider, reference)
    if payment is not None:
        payment.ask_at = now(session)
        return True
    attempt = await queries.attempt_for(session, provider, reference, external)
    if attempt is not None:
        attempt.ask_at = now(session)
    return attempt is not None


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
    if payment.provider_status == ProviderStatus.DELIVERED:
        payment.ask_at = None
    elif payment.provider_status in DEAD:
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
    if state in FUNDED and payment.use is None:
        await _take(session, payment, order, attempt, places)
    elif state in FUNDED and before not in FUNDED:
        await restore(session, payment, order)
    if state is State.SETTLED and before is not State.SETTLED:
        await post(session, "settled", payment)
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
        # A declined card does not end the payer's session: another payment may follow in it.
        attempt.ask_at = policy_of(order.regulations_version).next_question(attempt.started_at, now(session))
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
        await lose(session, payment, order)


async def _take(
    session: AsyncSession, payment: Payment, order: Order, attempt: CheckoutAttempt, places: Addresses
) -> None:
    """Money arrived: it pays the order, or it goes back."""
    at = now(session)
    if payment.amount_minor == 0:  # nothing arrived; another fact may say more
        await park_payment(session, payment.provider, _fact_of(payment), "nothing_paid", payment)
        return
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
            await post(session, "held", payment)
            await reconsider(session, order)
            _announce_mismatch(
                session,
                payment,
                order,
                expected=attempt.amount_minor,
                received=(payment.amount_minor, payment.currency),
            )
            if order.status == OrderStatus.UNDERPAID:
                days = policy_of(order.regulations_version).underpaid_refund_after.days
                await letters.tell_underpaid(session, payment, attempt, days)
            else:
                await return_underpaid(session, order)
        case Use.DUPLICATE | Use.LATE:
            await post(session, "owed_back", payment)
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
    await close_checkouts(session, order.order_id, but=attempt.attempt_id)
    if payment.amount_minor > attempt.amount_minor:
        _announce_mismatch(
            session,
            payment,
            order,
            expected=attempt.amount_minor,
            received=(payment.amount_minor, payment.currency),
        )
        await return_money(session, order, payment, payment.amount_minor - attempt.amount_minor, Reason.OVERPAID)
    await return_underpaid(session, order)


def _announce_mismatch(
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
