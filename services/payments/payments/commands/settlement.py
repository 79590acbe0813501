"""What the provider says of a payment, applied: the order's lock makes facts of one order take turns."""

import logging
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands import income
from payments.commands.ledger import post
from payments.commands.losses import lose, restore
from payments.commands.orders import next_word_at
from payments.commands.unmatched import park_payment, unpark
from payments.domain.addresses import Addresses
from payments.domain.payments import (
    DEAD,
    FUNDED,
    UNKNOWN_METHOD,
    PaymentFact,
    ProviderStatus,
    Standing,
    State,
    Use,
    Verdict,
    judge,
    state_of,
)
from payments.domain.policy import Policy, policy_of
from payments.queries import is_lost_to_the_bank
from payments.tables import CheckoutAttempt, Order, Payment
from shared.clock import CLOCKS_APART
from shared.database import fetch, now
from shared.events.payments import (
    PaymentFailed,
    PaymentSettled,
)
from shared.ids import new_id
from shared.messaging import publish

log = logging.getLogger(__name__)


async def apply_payment_fact(
    session: AsyncSession,
    provider: str,
    fact: PaymentFact,
    places: Addresses,
    *,
    asked_for: str = "",
    asked_at_revision: int | None = None,
) -> str:
    """Take in one fact of one payment; what it came to, in a word.

    `asked_for`: our reference of the checkout it was found by, where it names none itself.
    `asked_at_revision`: the fact was fetched when the payment stood at this revision; if another fact was
    applied meanwhile it may be older than that one, and the provider is asked once more.
    """
    attempt = await queries.attempt_for(session, provider, fact.reference, fact.external_reference or asked_for)
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
    elif payment is not None:
        await unpark(session, provider, [fact.reference], "unknown_status")
    if payment is None:
        # Dated in the future it would hold up all that is told before that date.
        fact = replace(fact, at=min(fact.at, now(session) + CLOCKS_APART))
        payment = _first_seen(session, provider, fact, attempt)
    elif (outcome := await _without_effect(session, payment, fact, order, policy, fetched=fetched)) is not None:
        return outcome
    before = State(payment.state) if payment.revision else None
    anew = await _note(session, payment, fact, order, before, policy, fetched=fetched)
    await _follow(session, before, payment, order, attempt, anew=anew, places=places)
    return "applied"


async def _without_effect(
    session: AsyncSession, payment: Payment, fact: PaymentFact, order: Order, policy: Policy, *, fetched: bool
) -> str | None:
    """What a fact comes to that changes nothing, in a word; None where it is to be applied."""
    # An amount that changed after the money was used is the last one told, though the books go by the first.
    changed = await queries.parked_sum(session, payment, "amount_changed")
    amount, currency = changed or (payment.amount_minor, payment.currency)
    last = Standing(ProviderStatus(payment.provider_status), payment.status_at, amount, currency)
    verdict = judge(last, fact, fetched=fetched, patience=policy.ask_every)
    if not fetched and fact.at > now(session) + CLOCKS_APART:
        verdict = Verdict.ASK
    match verdict:
        case Verdict.ASK:
            payment.ask_at = now(session)
            return "asking"
        case Verdict.DOUBT:
            # A copy that lags has mostly caught up within minutes.
            payment.ask_at = policy.next_question(payment.status_at, now(session))
            return "asking"
        case Verdict.UNCLEAR:
            payment.ask_at = policy.next_question(payment.seen_at, now(session))
            return "not_known_yet"
        case Verdict.KNOWN:
            payment.status_at = max(payment.status_at, fact.at)
            _plan_question(session, payment, order, policy, fetched=fetched)
            return "known"
        case Verdict.IGNORE:
            _plan_question(session, payment, order, policy, fetched=fetched)
            return "ignored"
        case Verdict.APPLY:
            return None


async def _note(
    session: AsyncSession,
    payment: Payment,
    fact: PaymentFact,
    order: Order,
    before: State | None,
    policy: Policy,
    *,
    fetched: bool,
) -> bool:
    """Take the fact over into the payment's row; whether it is to be decided anew what the money is used for."""
    payment.state = state_of(fact.status, fact.method, before, policy)
    if before is State.LOST and payment.state in FUNDED and await is_lost_to_the_bank(session, payment.payment_id):
        # The provider tells nothing of disputes: what the bank took is not back because the provider goes on.
        payment.state = State.LOST
        await park_payment(session, payment.provider, fact, "paid_after_lost_dispute", payment)
    payment.provider_status, payment.status_at = fact.status, fact.at
    another_sum = (payment.amount_minor, payment.currency) != (fact.amount_minor, fact.currency)
    anew = payment.use is None or (another_sum and await queries.is_not_used_yet(session, payment))
    if anew:
        payment.amount_minor, payment.currency = fact.amount_minor, fact.currency
    elif another_sum:
        # The money was used as it was; that it is another sum now is for finance to see to.
        await park_payment(session, payment.provider, fact, "amount_changed", payment)
        received = fact.amount_minor, fact.currency
        income.announce_mismatch(session, payment, order, expected=payment.amount_minor, received=received)
    if before is None or fact.method != UNKNOWN_METHOD:  # what is left out takes nothing back
        payment.method = fact.method
    payment.reason_code = fact.reason_code
    payment.revision += 1
    _plan_question(session, payment, order, policy, fetched=fetched)
    await session.flush()
    return anew


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


def _plan_question(session: AsyncSession, payment: Payment, order: Order, policy: Policy, *, fetched: bool) -> None:
    """When to ask the provider if it says nothing more by itself."""
    at = now(session)
    if not fetched and payment.ask_at is not None and payment.ask_at <= at:
        return  # what was odd is settled by an answer, and not by another callback
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
    anew: bool,
    places: Addresses,
) -> None:
    """Draw the conclusions of a payment's new state."""
    state = State(payment.state)
    if state in FUNDED and anew:
        await income.take(session, payment, order, attempt, places)
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
                    settled_at=next_word_at(session, order),
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
