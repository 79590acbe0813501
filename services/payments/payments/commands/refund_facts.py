"""Applying what the provider reports of refunds: facts come late, twice, in any order, and contradict each other.

Every refund the provider made for one of ours is kept, and the status of ours follows from all of them. One that was
made by hand may pay several of ours: then what is reported of it holds for each, with its part of the amount.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import repeat
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands import emails, unmatched
from payments.commands.ledger import post
from payments.commands.refunds import end_delay, fail_refund, owe_again, payer_of
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
    divide,
    judge,
    status_of,
)
from payments.domain.unmatched import Why
from payments.queries.payments import payment_by_reference
from payments.queries.refunds import goes_back_otherwise, parts_of, provider_refunds_of, refunds_paid_by
from payments.tables import Order, Payment, ProviderRefund, Refund
from shared.clock import CLOCKS_APART
from shared.database import fetch, now
from shared.events.payments import RefundCompleted, RefundSubmitted
from shared.messaging import publish

WHOLE: Final[Mapping[UUID, int]] = MappingProxyType({})
"""No shares: all that a refund at the provider pays is of one of ours."""


async def apply_refund_fact(
    session: AsyncSession,
    provider: str,
    fact: RefundFact,
    *,
    asked_for: UUID | None = None,
    asked_at_revision: int | None = None,
    shares: Mapping[UUID, int] = WHOLE,
) -> str:
    """Apply one fact about one refund at the provider; return the outcome in a word.

    `asked_for`: the fact answers a question about this refund of ours, and so needs no reference.
    `shares`: where finance has said just now that it pays several of ours, or more than is owed: how much of each, in
    minor units.
    `asked_at_revision`: the fact was fetched when our refund stood at this revision; if anything was applied meanwhile
    it may be older than that, and the provider is asked once more, unless it is the first about the provider's refund.
    """
    refund_ids = await find_refunds(session, fact) or sorted(shares) or [one for one in [asked_for] if one is not None]
    if not refund_ids and fact.status is ProviderRefundStatus.CANCELLED:  # nothing comes of it, whosever it is
        await unmatched.end_unmatched(
            session, provider, [fact.provider_refund_id], Why.UNKNOWN_REFUND, Why.NOT_UNDERSTOOD
        )
        return "unmatched"
    refund_ids = refund_ids or await _find_or_show(session, provider, fact)
    if not refund_ids:
        return "unmatched"
    order = await fetch(session, Order, (await fetch(session, Refund, refund_ids[0])).order_id, lock=True)
    refunds = [await fetch(session, Refund, one, lock=True) for one in refund_ids]
    payment = await fetch(session, Payment, refunds[0].payment_id, lock=True)
    policy = policy_of(order.regulations_version)
    fetched = asked_at_revision is not None
    if not is_of_payment(fact, payment):
        await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_REFUND, payment)
        _ask(session, refunds, policy.ask_every if fetched else timedelta())
        return "unmatched"
    await unmatched.end_unmatched(session, provider, [fact.provider_refund_id], Why.UNKNOWN_REFUND, Why.NOT_UNDERSTOOD)
    made = await parts_of(session, fact.provider_refund_id, lock=True)
    asked = next((one for one in refunds if one.refund_id == asked_for), refunds[0])
    if not made:  # dated in the future it would make all that is reported before that date look old
        fact = replace(fact, at=min(fact.at, now(session) + CLOCKS_APART))
    elif fetched and asked.revision != asked_at_revision:
        _ask(session, refunds)
        return "asking"
    elif (outcome := await _without_effect(session, payment, refunds, made, fact, policy, fetched=fetched)) is not None:
        return outcome

    if fact.status is ProviderRefundStatus.UNKNOWN:
        await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_STATUS, payment, refunds[0])
    else:
        await unmatched.end_unmatched(session, provider, [fact.provider_refund_id], Why.UNKNOWN_STATUS)
    said = [one.share_minor for one in made] or [shares.get(refund_id) for refund_id in refund_ids]
    for refund, row, share, amount in zip(
        refunds, made or repeat(None), said, divide(fact.amount_minor, said), strict=False
    ):
        await _apply_part(session, refund, payment, row, replace(fact, amount_minor=amount), share)
    await _show_sums(session, payment, refunds, fact)
    _plan_questions(session, refunds, policy, fetched=fetched, again=fetched and bool(made))
    return "applied"


async def _apply_part(
    session: AsyncSession,
    refund: Refund,
    payment: Payment,
    made: ProviderRefund | None,
    fact: RefundFact,
    share: int | None,
) -> None:
    """Apply what a fact says of one refund of ours; its amount is what it pays of that."""
    refund.revision += 1
    await _note(session, refund, made, fact, share)
    await _advance(session, refund, payment, await provider_refunds_of(session, refund.refund_id), fact)
    await post(
        session,
        "refunded" if fact.status is ProviderRefundStatus.FINISHED else "refund_returned",
        payment,
        refund_id=refund.refund_id,
    )


async def _show_sums(session: AsyncSession, payment: Payment, refunds: Sequence[Refund], fact: RefundFact) -> None:
    """Show finance of which of these refunds more was paid than is owed, or less, and end that of what is right now."""
    of_these = [one for refund in refunds for one in await provider_refunds_of(session, refund.refund_id)]
    ids = {one.provider_refund_id for one in of_these}
    found = await refunds_paid_by(session, ids)
    for why, differs in ((Why.REFUNDED_TWICE, _is_paid_twice), (Why.REFUNDED_TOO_LITTLE, _is_paid_in_part)):
        differing = [(refund, made) for refund, made in found if differs(refund, made)]
        if shown := [refund for refund, _ in differing if refund in refunds]:
            await unmatched.show_refund(session, payment.provider, fact, why, payment, shown[0])
        still = {one.provider_refund_id for _, made in differing for one in made}
        await unmatched.end_unmatched(session, payment.provider, ids - still, why)
        for one in sorted(still):
            of_it = [refund for refund, made in differing if one in {part.provider_refund_id for part in made}]
            await unmatched.name_refunds(session, payment.provider, one, why, of_it)


def _is_paid_twice(refund: Refund, made: Sequence[ProviderRefund]) -> bool:
    alive = [one for one in made if one.status != ProviderRefundStatus.CANCELLED]
    # What is beyond a share was never taken for owed: it is a loss by itself.
    shares = [one.amount_minor if one.share_minor is None else min(one.amount_minor, one.share_minor) for one in alive]
    return sum(shares) > refund.amount_minor


def _is_paid_in_part(refund: Refund, made: Sequence[ProviderRefund]) -> bool:
    finished = any(one.status == ProviderRefundStatus.FINISHED for one in made)
    return finished and refund.status != RefundStatus.COMPLETED and not _is_in_full(refund, made)


def _is_in_full(refund: Refund, made: Sequence[ProviderRefund]) -> bool:
    finished = [one for one in made if one.status == ProviderRefundStatus.FINISHED]
    return sum(one.amount_minor for one in finished if one.currency in {None, refund.currency}) >= refund.amount_minor


async def _find_or_show(session: AsyncSession, provider: str, fact: RefundFact) -> Sequence[UUID]:
    """Return the ids of our refunds if finance has said them meanwhile; else show finance this one."""
    of_payment = Payment.provider == provider, Payment.reference == fact.payment_reference
    order_id = await session.scalar(select(Payment.order_id).where(*of_payment))
    if order_id is not None:
        await fetch(session, Order, order_id, lock=True)
        if refund_ids := await find_refunds(session, fact):
            return refund_ids
    payment = await payment_by_reference(session, provider, fact.payment_reference)
    await unmatched.show_refund(session, provider, fact, Why.UNKNOWN_REFUND, payment)
    return []


async def _without_effect(
    session: AsyncSession,
    payment: Payment,
    refunds: Sequence[Refund],
    made: Sequence[ProviderRefund],
    fact: RefundFact,
    policy: Policy,
    *,
    fetched: bool,
) -> str | None:
    """Return the outcome of a fact that changes nothing, in a word; None where it is to be applied."""
    at = now(session)
    amount, one = sum(one.amount_minor for one in made), made[0]
    last = LastReported(ProviderRefundStatus(one.status), one.status_at, amount, one.currency or "")
    verdict = judge(last, fact, fetched=fetched, patience=policy.ask_every)
    if not fetched and fact.at > at + CLOCKS_APART:
        verdict = Verdict.ASK
    match verdict:
        case Verdict.ASK:
            _ask(session, refunds)
            return "asking"
        case Verdict.DOUBT:
            _ask(session, refunds, policy.next_question(last.at, at) - at)
            return "asking"
        case Verdict.UNCLEAR:
            await unmatched.show_refund(session, payment.provider, fact, Why.UNKNOWN_STATUS, payment, refunds[0])
            if not fetched:
                _ask(session, refunds)
            else:
                _plan_questions(session, refunds, policy, fetched=True, again=True)
            return "not_known_yet"
        case Verdict.KNOWN:
            if fact.status is not ProviderRefundStatus.UNKNOWN:
                await unmatched.end_unmatched(session, payment.provider, [fact.provider_refund_id], Why.UNKNOWN_STATUS)
            for part in made:
                part.status_at = max(part.status_at, fact.at)
            _plan_questions(session, refunds, policy, fetched=fetched, again=fetched)
            return "known"
        case Verdict.APPLY:
            return None


async def find_refunds(session: AsyncSession, fact: RefundFact) -> Sequence[UUID]:
    """Return the ids of our refunds that a refund at the provider pays, in their order: by the provider's id of it
    where we know that, else by the reference we gave. None where it is not known."""
    return await _find(session, fact.provider_refund_id, fact.our_reference)


async def part_of(session: AsyncSession, fact: RefundFact, refund_id: UUID) -> RefundFact:
    """Return what a fact says of this refund of ours, which may be one of several that it pays."""
    made = await parts_of(session, fact.provider_refund_id)
    amounts = divide(fact.amount_minor, [one.share_minor for one in made])
    found = (amount for one, amount in zip(made, amounts, strict=False) if one.refund_id == refund_id)
    return replace(fact, amount_minor=next(found, fact.amount_minor))


def is_of_payment(fact: RefundFact, payment: Payment) -> bool:
    """Return whether a fact may be about a refund of this payment: it names no other payment."""
    return fact.payment_reference in {"", payment.reference}


async def ask_again(session: AsyncSession, provider_refund_id: str, external: str) -> Payment | None:
    """Ask the provider soon about a refund of which something unreadable came. Returns its payment; None where the
    refund is not known here."""
    refund_ids = await _find(session, provider_refund_id, external)
    if not refund_ids:
        return None
    await fetch(session, Order, (await fetch(session, Refund, refund_ids[0])).order_id, lock=True)
    refunds = [await fetch(session, Refund, one, lock=True) for one in refund_ids]
    _ask(session, refunds)
    return await fetch(session, Payment, refunds[0].payment_id)


async def _find(session: AsyncSession, provider_refund_id: str, external: str) -> Sequence[UUID]:
    if made := await parts_of(session, provider_refund_id):
        return [one.refund_id for one in made]
    last = select(Refund.refund_id).where(Refund.provider_refund_id == provider_refund_id)
    if known := (await session.scalars(last.order_by(Refund.refund_id))).all():
        return known
    try:
        ours = UUID(external)
    except ValueError:
        return []
    return (await session.scalars(select(Refund.refund_id).where(Refund.refund_id == ours))).all()


def _ask(session: AsyncSession, refunds: Sequence[Refund], pause: timedelta = timedelta()) -> None:
    """Plan to ask the provider about refunds, at once or after `pause`. One that is being sent is left to whoever sends
    it, who looks first at what the provider has."""
    for refund in refunds:
        if refund.status != RefundStatus.SUBMITTING:
            refund.ask_at = now(session) + pause


async def _note(
    session: AsyncSession, refund: Refund, made: ProviderRefund | None, fact: RefundFact, share: int | None
) -> None:
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
                share_minor=share,
                currency=fact.currency or None,
                received_at=at,
                # First reported when ours was not being sent: that was forgotten, or given up.
                revived_at=None if refund.status in {RefundStatus.SUBMITTING, RefundStatus.SUBMITTED} else at,
            )
        )
        refund.submitted_at = None  # what came of it is known
        await end_delay(session, refund)
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
    status = status_of(
        [ProviderRefundStatus(one.status) for one in made],
        before,
        taken_up_again=any(one.revived_at is not None for one in alive),
        in_full=_is_in_full(refund, made),
    )
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


def _plan_questions(
    session: AsyncSession, refunds: Sequence[Refund], policy: Policy, *, fetched: bool, again: bool
) -> None:
    for refund in refunds:
        _plan_question(session, refund, policy, fetched=fetched, again=again)


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
