"""Applying what the provider reports of refunds: facts come late, twice, in any order, and contradict each other.

Every refund the provider made for one of ours is kept, and the status of ours follows from all of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import emails, unmatched
from payments.commands.ledger import post
from payments.commands.refunds import fail_refund, owe_again, payer_of
from payments.domain.payments import State
from payments.domain.policy import Policy, policy_of
from payments.domain.refunds import (
    ENDED,
    UNDER_WAY,
    LastReported,
    ProviderRefundStatus,
    RefundFact,
    RefundStatus,
    Verdict,
    judge,
    status_of,
)
from payments.domain.unmatched import Why
from payments.queries.payments import payment_by_reference
from payments.queries.refunds import goes_back_otherwise, provider_refunds_of
from payments.tables import Order, Payment, ProviderRefund, Refund
from shared.clock import CLOCKS_APART
from shared.database import fetch, now
from shared.events.payments import RefundCompleted, RefundSubmitted
from shared.messaging import publish


async def apply_refund_fact(
    session: AsyncSession,
    provider: str,
    fact: RefundFact,
    *,
    asked_for: UUID | None = None,
    asked_at_revision: int | None = None,
) -> str:
    """Apply one fact about one refund; return the outcome in a word.

    `asked_for`: the fact answers a question about this refund of ours, and so needs no reference.
    `asked_at_revision`: the fact was fetched when our refund stood at this revision; if anything was applied meanwhile
    it may be older than that, and the provider is asked once more, unless it is the first about the provider's refund.
    """
    refund_id = await find_refund(session, fact) or asked_for
    if refund_id is None and fact.status is ProviderRefundStatus.CANCELLED:  # nothing comes of it, whosever it is
        await unmatched.end_unmatched(
            session, provider, [fact.provider_refund_id], Why.UNKNOWN_REFUND, Why.NOT_UNDERSTOOD
        )
        return "unmatched"
    if refund_id is None:
        refund_id = await _find_or_show(session, provider, fact)
    if refund_id is None:
        return "unmatched"
    order = await fetch(session, Order, (await fetch(session, Refund, refund_id)).order_id, lock=True)
    refund = await fetch(session, Refund, refund_id, lock=True)
    payment = await fetch(session, Payment, refund.payment_id, lock=True)
    policy = policy_of(order.regulations_version)
    fetched = asked_at_revision is not None
    if not is_of_payment(fact, payment):
        await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_REFUND, payment)
        _ask(session, refund, policy.ask_every if fetched else timedelta())
        return "unmatched"
    await unmatched.end_unmatched(session, provider, [fact.provider_refund_id], Why.UNKNOWN_REFUND, Why.NOT_UNDERSTOOD)
    made = await session.get(
        ProviderRefund, fact.provider_refund_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if made is None:  # dated in the future it would make all that is reported before that date look old
        fact = replace(fact, at=min(fact.at, now(session) + CLOCKS_APART))
    elif fetched and refund.revision != asked_at_revision:
        _ask(session, refund)
        return "asking"
    elif (outcome := await _without_effect(session, payment, refund, made, fact, policy, fetched=fetched)) is not None:
        return outcome

    refund.revision += 1
    if fact.status is ProviderRefundStatus.UNKNOWN:
        await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_STATUS, payment, refund)
    else:
        await unmatched.end_unmatched(session, provider, [fact.provider_refund_id], Why.UNKNOWN_STATUS)
    await _note(session, refund, made, fact)
    all_made = await provider_refunds_of(session, refund_id)
    await _advance(session, refund, payment, all_made, fact)
    await post(
        session,
        "refunded" if fact.status is ProviderRefundStatus.FINISHED else "refund_returned",
        payment,
        refund_id=refund_id,
    )
    if sum(one.amount_minor for one in all_made if one.status != ProviderRefundStatus.CANCELLED) > refund.amount_minor:
        await unmatched.show_refund(session, provider, fact, Why.REFUNDED_TWICE, payment, refund)
    else:
        refund_ids = [one.provider_refund_id for one in all_made]
        await unmatched.end_unmatched(session, provider, refund_ids, Why.REFUNDED_TWICE)
    _plan_question(session, refund, policy, fetched=fetched, again=fetched and made is not None)
    return "applied"


async def _find_or_show(session: AsyncSession, provider: str, fact: RefundFact) -> UUID | None:
    """Return the id of our refund if finance has said it meanwhile; else show finance this one."""
    of_payment = Payment.provider == provider, Payment.reference == fact.payment_reference
    order_id = await session.scalar(select(Payment.order_id).where(*of_payment))
    if order_id is not None:
        await fetch(session, Order, order_id, lock=True)
        if (refund_id := await find_refund(session, fact)) is not None:
            return refund_id
    payment = await payment_by_reference(session, provider, fact.payment_reference)
    await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_REFUND, payment)
    return None


async def _without_effect(
    session: AsyncSession,
    payment: Payment,
    refund: Refund,
    made: ProviderRefund,
    fact: RefundFact,
    policy: Policy,
    *,
    fetched: bool,
) -> str | None:
    """Return the outcome of a fact that changes nothing, in a word; None where it is to be applied."""
    at = now(session)
    last = LastReported(ProviderRefundStatus(made.status), made.status_at, made.amount_minor, made.currency or "")
    verdict = judge(last, fact, fetched=fetched, patience=policy.ask_every)
    if not fetched and fact.at > at + CLOCKS_APART:
        verdict = Verdict.ASK
    match verdict:
        case Verdict.ASK:
            _ask(session, refund)
            return "asking"
        case Verdict.DOUBT:
            _ask(session, refund, policy.next_question(last.at, at) - at)
            return "asking"
        case Verdict.UNCLEAR:
            await unmatched.show_refund(session, payment.provider, fact, Why.UNKNOWN_STATUS, payment, refund)
            if fetched:
                _plan_question(session, refund, policy, fetched=True, again=True)
            else:
                _ask(session, refund)
            return "not_known_yet"
        case Verdict.KNOWN:
            if fact.status is not ProviderRefundStatus.UNKNOWN:
                await unmatched.end_unmatched(session, payment.provider, [fact.provider_refund_id], Why.UNKNOWN_STATUS)
            made.status_at = max(made.status_at, fact.at)
            _plan_question(session, refund, policy, fetched=fetched, again=fetched)
            return "known"
        case Verdict.APPLY:
            return None


async def find_refund(session: AsyncSession, fact: RefundFact) -> UUID | None:
    """Return the id of our refund: by the provider's id of it where we know that, else by the reference we gave."""
    return await _find(session, fact.provider_refund_id, fact.our_reference)


def is_of_payment(fact: RefundFact, payment: Payment) -> bool:
    """Return whether a fact may be about a refund of this payment: it names no other payment."""
    return fact.payment_reference in {"", payment.reference}


async def ask_again(session: AsyncSession, provider_refund_id: str, external: str) -> Payment | None:
    """Ask the provider soon about a refund of which something unreadable came. Returns its payment; None where the
    refund is not known here."""
    refund_id = await _find(session, provider_refund_id, external)
    if refund_id is None:
        return None
    await fetch(session, Order, (await fetch(session, Refund, refund_id)).order_id, lock=True)
    refund = await fetch(session, Refund, refund_id, lock=True)
    _ask(session, refund)
    return await fetch(session, Payment, refund.payment_id)


async def _find(session: AsyncSession, provider_refund_id: str, external: str) -> UUID | None:
    known = await session.scalar(
        select(ProviderRefund.refund_id).where(ProviderRefund.provider_refund_id == provider_refund_id)
    )
    if known is not None:
        return known
    known = await session.scalar(select(Refund.refund_id).where(Refund.provider_refund_id == provider_refund_id))
    if known is not None:
        return known
    try:
        ours = UUID(external)
    except ValueError:
        return None
    return await session.scalar(select(Refund.refund_id).where(Refund.refund_id == ours))


def _ask(session: AsyncSession, refund: Refund, pause: timedelta = timedelta()) -> None:
    """Plan to ask the provider about a refund, at once or after `pause`. One that is being sent is left to whoever
    sends it, who looks first at what the provider has."""
    if refund.status != RefundStatus.SUBMITTING:
        refund.ask_at = now(session) + pause


async def _note(session: AsyncSession, refund: Refund, made: ProviderRefund | None, fact: RefundFact) -> None:
    at = now(session)
    dead = {ProviderRefundStatus.CANCELLED, ProviderRefundStatus.RETURNED, ProviderRefundStatus.FINISHED}
    if made is None:
        session.add(
            ProviderRefund(
                provider_refund_id=fact.provider_refund_id,
                refund_id=refund.refund_id,
                status=fact.status,
                status_at=fact.at,
                amount_minor=fact.amount_minor,
                currency=fact.currency or None,
                received_at=at,
                # First reported when ours was not being sent: that was forgotten, or given up.
                revived_at=None if refund.status in {RefundStatus.SUBMITTING, RefundStatus.SUBMITTED} else at,
            )
        )
        refund.submitted_at = None  # what came of it is known
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
    else:
        if made.status in dead and fact.status in UNDER_WAY:
            made.revived_at = at
        made.status_at = max(made.status_at, fact.at) if made.status == fact.status else fact.at
        made.status = fact.status
        made.amount_minor, made.currency = fact.amount_minor, fact.currency or made.currency
    if made is None or fact.status is not ProviderRefundStatus.CANCELLED:
        refund.provider_refund_id = fact.provider_refund_id
    refund.provider_status, refund.status_at = fact.status, fact.at
    await session.flush()


async def _advance(
    session: AsyncSession, refund: Refund, payment: Payment, made: Sequence[ProviderRefund], fact: RefundFact
) -> None:
    before = RefundStatus(refund.status)
    alive = [one for one in made if one.status in UNDER_WAY]
    finished = [one for one in made if one.status == ProviderRefundStatus.FINISHED]
    paid = sum(one.amount_minor for one in finished if one.currency in {None, refund.currency})
    in_full = paid >= refund.amount_minor
    status = status_of(
        [ProviderRefundStatus(one.status) for one in made],
        before,
        taken_up_again=any(one.revived_at is not None for one in alive),
        in_full=in_full,
    )
    if finished and not in_full:
        await unmatched.show_refund(session, payment.provider, fact, Why.REFUNDED_TOO_LITTLE, payment, refund)
    if before is RefundStatus.CANCELLED and await goes_back_otherwise(session, refund):
        return  # what is paid of it all the same is a loss
    over = status is RefundStatus.RETURNED and all(one.status in ENDED for one in made)
    if payment.state == State.LOST and (over or status is RefundStatus.FAILED):  # and so nothing is owed any more
        refund.status, refund.failure_code = RefundStatus.CANCELLED, None
        await owe_again(session, await fetch(session, Order, refund.order_id))
        return
    if status is before:
        if status is RefundStatus.SUBMITTED and fact.status is ProviderRefundStatus.RECEIVED:
            await emails.email_refund(session, refund, await payer_of(session, payment), "received")
        return
    if status is RefundStatus.FAILED:
        await fail_refund(session, refund, f"provider_{fact.status}")
        return
    refund.status, refund.failure_code = status, None
    refund.completed_at = now(session) if status is RefundStatus.COMPLETED else None
    await session.flush()
    payer = await payer_of(session, payment)
    if status is RefundStatus.COMPLETED:
        refund_ids = [one.provider_refund_id for one in made]
        await unmatched.end_unmatched(session, payment.provider, refund_ids, Why.REFUNDED_TOO_LITTLE)
        publish(
            session,
            RefundCompleted(
                refund_id=refund.refund_id,
                order_id=refund.order_id,
                order_line_id=refund.order_line_id,
                learner_id=refund.learner_id,
                amount_minor=refund.amount_minor,
                currency=refund.currency,
                completed_at=now(session),
            ),
        )
        await emails.email_refund(session, refund, payer, "finished")
    elif status is RefundStatus.RETURNED and payment.state != State.LOST:
        await emails.email_delay(session, refund, payer)
    elif fact.status is ProviderRefundStatus.RECEIVED:
        await emails.email_refund(session, refund, payer, "received")


def _plan_question(session: AsyncSession, refund: Refund, policy: Policy, *, fetched: bool, again: bool) -> None:
    """Plan when to ask the provider about a refund, if it reports nothing more by itself."""
    if refund.status == RefundStatus.SUBMITTING:
        return  # `ask_at` is then the end of the lease for sending it
    if not fetched and refund.ask_at is not None and refund.ask_at <= now(session):
        return  # a contradiction is settled by an answer, and not by another callback
    pause: timedelta | None = None
    if refund.status == RefundStatus.SUBMITTED:
        pause = policy.ask_every if again else policy.ask_after[0]
    elif refund.status == RefundStatus.RETURNED:
        pause = policy.ask_every if refund.provider_status in UNDER_WAY else policy.ask_unsettled_every
    refund.ask_at = now(session) + pause if pause else None
