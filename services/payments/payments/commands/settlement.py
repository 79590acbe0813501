"""Applying what the provider reports of payments: under the order's lock, so that facts of one order do not cross."""

import logging
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import income
from payments.commands.ledger import post
from payments.commands.losses import lose, restore
from payments.commands.orders import next_announcement_at
from payments.commands.unmatched import end_unmatched, show_own_payment, show_payment
from payments.domain.payments import (
    DEAD,
    FUNDED,
    UNKNOWN_METHOD,
    AppliedFact,
    PaymentFact,
    ProviderStatus,
    State,
    Use,
    Verdict,
    judge,
    state_of,
)
from payments.domain.policy import Policy, policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.unmatched import Why
from payments.queries.finance import unmatched_sum
from payments.queries.payments import attempt_for, is_lost_to_the_bank, is_not_used_yet, payment_by_reference
from payments.tables import CheckoutAttempt, Order, Payment
from shared.clock import CLOCKS_APART, later
from shared.database import fetch, now
from shared.events.payments import (
    PaymentFailed,
    PaymentSettled,
)
from shared.ids import id_of
from shared.messaging import publish

log = logging.getLogger(__name__)

METHOD_MATTERS: Final = frozenset({ProviderStatus.PROCESSED, ProviderStatus.DELIVERED})
"""Statuses at which the method matters: by it the money is certain or not, and the receipt names it."""
COMES_TO_NOTHING: Final = frozenset({ProviderStatus.CANCELLED, ProviderStatus.FAILED})
"""Statuses without any money: whose it would have been does not concern finance."""


async def apply_payment_fact(
    session: AsyncSession,
    provider: str,
    fact: PaymentFact,
    public_urls: PublicUrls,
    *,
    asked_for: str = "",
    asked_at_revision: int | None = None,
) -> str:
    """Apply one fact about one payment; return the outcome in a word.

    `asked_for`: our reference of the checkout it was found by, where it names none itself.
    `asked_at_revision`: the fact was fetched when the payment stood at this revision; if another fact was
    applied meanwhile it may be older than that one, and the provider is asked once more.
    """
    attempt = await attempt_for(session, provider, fact.reference, fact.our_reference or asked_for)
    if attempt is None:
        if fact.status in COMES_TO_NOTHING:
            await end_unmatched(session, provider, [fact.reference], Why.UNKNOWN_REFERENCE)
        else:
            await show_payment(session, provider, fact, Why.UNKNOWN_REFERENCE)
        await end_unmatched(session, provider, [fact.reference], Why.NOT_UNDERSTOOD)
        return "unmatched"
    order = await fetch(session, Order, attempt.order_id, lock=True)
    policy = policy_of(order.regulations_version)
    payment = await payment_by_reference(session, provider, fact.reference)
    fetched = asked_at_revision is not None
    if payment is not None and fetched and payment.revision != asked_at_revision:
        payment.ask_at = now(session)
        return "asking"
    understood = Why.UNKNOWN_REFERENCE, Why.NOT_UNDERSTOOD, Why.NOT_AT_PROVIDER
    if fact.status is ProviderStatus.UNKNOWN:
        await show_payment(session, provider, fact, Why.UNKNOWN_STATUS, payment)
        await end_unmatched(session, provider, [fact.reference], *understood)
    else:
        await end_unmatched(session, provider, [fact.reference], *understood, Why.UNKNOWN_STATUS)
    if payment is None:
        # Dated in the future it would make all that is reported before that date look old.
        fact = replace(fact, at=min(fact.at, now(session) + CLOCKS_APART))
        payment = _first_seen(session, provider, fact, attempt)
    elif (outcome := await _without_effect(session, payment, fact, order, policy, fetched=fetched)) is not None:
        return outcome
    before = State(payment.state) if payment.revision else None
    anew = await _note(session, payment, fact, order, before, policy, fetched=fetched)
    if payment.state in FUNDED and anew:
        await income.take(session, payment, order, attempt, public_urls)
    elif payment.state in FUNDED and before not in FUNDED:
        await restore(session, payment, order)
    await _follow(session, before, payment, order, attempt)
    return "applied"


async def take_back_from_the_bank(session: AsyncSession, payment: Payment, order: Order) -> None:
    """Record that no bank has the money of a lost payment any more: it is what the provider says of it.

    Where the provider has taken it back, too, finance is shown that. The order must be locked.
    """
    before, status = State(payment.state), ProviderStatus(payment.provider_status)
    await end_unmatched(session, payment.provider, [payment.reference], Why.PAID_AFTER_LOST_DISPUTE)
    if status in DEAD:
        await show_own_payment(session, payment, Why.TAKEN_BACK_WITHOUT_DISPUTE)
    payment.state = state_of(status, payment.method, before, policy_of(order.regulations_version))
    if payment.state not in FUNDED:
        return
    payment.reason_code = ""
    payment.revision += 1
    await session.flush()
    await restore(session, payment, order)
    await _follow(session, before, payment, order, await fetch(session, CheckoutAttempt, payment.attempt_id))


async def _without_effect(
    session: AsyncSession, payment: Payment, fact: PaymentFact, order: Order, policy: Policy, *, fetched: bool
) -> str | None:
    """Return the outcome of a fact that changes nothing, in a word; None where it is to be applied."""
    # An amount that changed after the money was used is the last one reported, though the books go by the first.
    changed = await unmatched_sum(session, payment, Why.AMOUNT_CHANGED)
    amount, currency = changed or (payment.amount_minor, payment.currency)
    last = AppliedFact(ProviderStatus(payment.provider_status), payment.status_at, amount, currency, payment.method)
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
            payment.reason_code = payment.reason_code or fact.reason_code
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
    """Write a fact into the payment's row; return whether to decide anew what the money is used for."""
    payment.state = state_of(fact.status, fact.method, before, policy)
    if before is State.LOST and payment.state in FUNDED and await is_lost_to_the_bank(session, payment.payment_id):
        # The provider reports no disputes: what the bank took is not back because the provider goes on.
        payment.state = State.LOST
        await show_payment(session, payment.provider, fact, Why.PAID_AFTER_LOST_DISPUTE, payment)
    same = payment.revision and payment.provider_status == fact.status
    payment.provider_status, payment.status_at = fact.status, max(payment.status_at, fact.at) if same else fact.at
    another_sum = (payment.amount_minor, payment.currency) != (fact.amount_minor, fact.currency)
    anew = payment.use is None or (another_sum and await is_not_used_yet(session, payment))
    if anew:
        payment.amount_minor, payment.currency = fact.amount_minor, fact.currency
    elif another_sum:
        # The money was used as it was; that it is another sum now is for finance to see to.
        await show_payment(session, payment.provider, fact, Why.AMOUNT_CHANGED, payment)
        received = fact.amount_minor, fact.currency
        income.announce_mismatch(session, payment, order, expected=payment.amount_minor, received=received)
    if before is None or fact.method != UNKNOWN_METHOD:  # what is left out takes nothing back
        payment.method = fact.method
    payment.reason_code = fact.reason_code or (payment.reason_code if same else "")
    if payment.revision:
        await _end(session, payment, fact, another_sum=another_sum)
    payment.revision += 1
    _plan_question(session, payment, order, policy, fetched=fetched)
    await session.flush()
    return anew


async def _end(session: AsyncSession, payment: Payment, fact: PaymentFact, *, another_sum: bool) -> None:
    """End what finance is shown of the payment and this fact settles."""
    dead = fact.status in DEAD
    ends = {
        Why.AMOUNT_CHANGED: not another_sum,
        Why.NOTHING_PAID: dead or fact.amount_minor > 0,
        Why.PAID_AFTER_LOST_DISPUTE: dead,
        Why.RESTORED_AFTER_LOSS: payment.state not in FUNDED or payment.state == State.SETTLED,
        Why.TAKEN_BACK_WITHOUT_DISPUTE: payment.state in FUNDED,
    }
    await end_unmatched(session, payment.provider, [payment.reference], *(why for why, ended in ends.items() if ended))


async def ask_again(session: AsyncSession, provider: str, reference: str, external: str) -> bool:
    """Ask the provider soon about a payment of which something unreadable came. Returns whether it is known here."""
    payment = await payment_by_reference(session, provider, reference)
    if payment is not None:
        payment.ask_at = now(session)
        return True
    attempt = await attempt_for(session, provider, reference, external)
    if attempt is not None:
        attempt.ask_at = now(session)
    return attempt is not None


def _first_seen(session: AsyncSession, provider: str, fact: PaymentFact, attempt: CheckoutAttempt) -> Payment:
    payment = Payment(
        # To others it is the payment that it was before this database lost its history.
        payment_id=id_of(f"payment {provider} {fact.reference}"),
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
    """Plan when to ask the provider about a payment, if it reports nothing more by itself."""
    at = now(session)
    if not fetched and payment.ask_at is not None and payment.ask_at <= at:
        return  # a contradiction is settled by an answer, and not by another callback
    asking_ends = later(order.expires_at, policy.ask_until_after_expiry)
    if not fetched and payment.method == UNKNOWN_METHOD and payment.provider_status in METHOD_MATTERS:
        payment.ask_at = at  # a callback that leaves out how it was paid
    elif payment.provider_status == ProviderStatus.DELIVERED:
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
) -> None:
    """Do what follows from a payment's new state beside the use of its money: settle it, or lose it."""
    state = State(payment.state)
    if state is State.SETTLED and before is not State.SETTLED:
        await post(session, "settled", payment)
        if payment.use == Use.ORDER:
            publish(
                session,
                PaymentSettled(
                    order_id=order.order_id,
                    payment_id=payment.payment_id,
                    learner_id=order.learner_id,
                    settled_at=next_announcement_at(session, order),
                ),
            )
    if state is State.FAILED_ATTEMPT and before is not State.FAILED_ATTEMPT:
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
