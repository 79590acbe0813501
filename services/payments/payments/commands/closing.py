"""Closing what finance was shown, and saying of a refund that we did not ask for what it paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import PaymentProvider
from payments.commands.refund_facts import WHOLE, apply_refund_fact, find_refunds, is_of_payment
from payments.domain.orders import OwnOrder
from payments.domain.policy import in_utc
from payments.domain.refunds import ProviderRefundStatus, RefundFact, RefundStatus, owed_of
from payments.domain.unmatched import (
    PaidAnotherRefund,
    PaidMoreThanOwed,
    PaidPart,
    PartsDoNotAddUp,
    RefundOfAnotherPayment,
    UnmatchedPaymentEnded,
    Why,
    check_explanation,
    shares_of,
)
from payments.queries.refunds import provider_refunds_of
from payments.tables import Order, Payment, Refund, UnmatchedPayment
from shared.access import refuse_own
from shared.database import fetch, now
from shared.sessions import outside_transaction


@dataclass(frozen=True, slots=True)
class Explanation:
    """What finance says of an unknown refund: it paid these refunds of ours, and beyond them what was not owed, in
    minor units; or none of ours."""

    paid: Sequence[PaidPart] = ()
    not_owed_minor: int = 0
    not_ours: bool = False


async def close_unmatched(
    session: AsyncSession, provider: PaymentProvider, unmatched_id: UUID, note: str, explanation: Explanation, by: str
) -> UnmatchedPayment:
    """Close what a person in finance has seen to, with their note.

    A refund at the provider that paid some of ours is taken in as theirs, as the provider reports it now. Beside one
    that paid none of ours those that wait are sent; what was said so by mistake is closed again with those it paid.

    Raises Unknown, OwnOrder, UnmatchedPaymentEnded, ExplanationNeeded, RefundOfAnotherPayment, PaidAnotherRefund,
    PaidMoreThanOwed, PartsDoNotAddUp, ProviderUnavailable, ProviderRefused.
    """
    row = await _to_close(session, unmatched_id, explanation, by)
    if explanation.paid:
        reference = row.reference
        async with outside_transaction(session):
            fact = await provider.fetch_refund(reference)
        row = await _to_close(session, unmatched_id, explanation, by)
        await _take_in(session, provider.name, fact, explanation, corrected=row.not_ours)
        await session.refresh(row)
    row.not_ours = explanation.not_ours
    row.ended_at, row.ended_by, row.note = now(session), by, note
    return row


async def _to_close(session: AsyncSession, unmatched_id: UUID, explanation: Explanation, by: str) -> UnmatchedPayment:
    """Return what can be closed so, locked after its order."""
    refunds = [await fetch(session, Refund, one.refund_id) for one in explanation.paid]
    order_id = refunds[0].order_id if refunds else (await fetch(session, UnmatchedPayment, unmatched_id)).order_id
    order = None if order_id is None else await fetch(session, Order, order_id, lock=True)
    whose = None if order is None else order.learner_id  # of most there is no order
    refuse_own(session, OwnOrder("somebody else decides about your own order"), whose, by)
    row = await fetch(session, UnmatchedPayment, unmatched_id, lock=True)
    corrected = bool(refunds) and row.not_ours
    if row.ended_at is not None and not corrected:
        raise UnmatchedPaymentEnded("this has ended already", ended_at=in_utc(row.ended_at))
    check_explanation(
        Why(row.reason),
        of_our_payment=row.payment_id is not None,
        explained=[bool(refunds), explanation.not_ours],
    )
    if len({one.payment_id for one in refunds} | ({row.payment_id} - {None})) > 1 and refunds:
        raise RefundOfAnotherPayment("a refund named is of another payment")
    return row


async def _take_in(
    session: AsyncSession, provider: str, fact: RefundFact, explanation: Explanation, *, corrected: bool
) -> None:
    refund_ids = sorted(one.refund_id for one in explanation.paid)
    refunds = [await fetch(session, Refund, one, lock=True) for one in refund_ids]
    if not is_of_payment(fact, await fetch(session, Payment, refunds[0].payment_id)):
        raise RefundOfAnotherPayment("the provider reports it of another payment")
    if fact.status is ProviderRefundStatus.CANCELLED:  # it paid nobody, and ends what finance was shown
        await apply_refund_fact(session, provider, fact)
        return
    known = await find_refunds(session, fact)
    if known and known != refund_ids:
        raise PaidAnotherRefund("it paid other refunds of ours", refund_ids=[str(one) for one in known])
    shares = WHOLE if known else await _shares(session, refunds, fact, explanation, corrected=corrected)
    await apply_refund_fact(session, provider, fact, asked_for=refund_ids[0], shares=shares)


async def _shares(
    session: AsyncSession, refunds: Sequence[Refund], fact: RefundFact, explanation: Explanation, *, corrected: bool
) -> Mapping[UUID, int]:
    """Return how much of a refund at the provider is of each of ours; nothing where all of it is of the one named."""
    owed = {one.refund_id: await _owed(session, one, corrected=corrected) for one in refunds}
    only = explanation.paid[0] if len(explanation.paid) == 1 else None
    if fact.currency in {"", refunds[0].currency}:
        shares = shares_of(fact.amount_minor, explanation.paid, owed, explanation.not_owed_minor)
        return WHOLE if only and not explanation.not_owed_minor else shares
    if only is None or only.amount_minor is not None or explanation.not_owed_minor:
        raise PartsDoNotAddUp("it is in another currency than what is owed", amount_minor=fact.amount_minor)
    if not owed[only.refund_id]:
        raise PaidMoreThanOwed("nothing of the refund named is owed", amount_minor=fact.amount_minor, owed_minor=0)
    return WHOLE


async def _owed(session: AsyncSession, refund: Refund, *, corrected: bool) -> int:
    """Return how much of a refund is neither paid nor being paid, in minor units."""
    # Beside one that paid none of ours ours is sent: while that has no answer it may have been paid as well.
    under_way = corrected and refund.status == RefundStatus.SUBMITTING and refund.submitted_at is not None
    if refund.status == RefundStatus.COMPLETED or under_way:
        return 0
    made = await provider_refunds_of(session, refund.refund_id)
    return owed_of(refund.amount_minor, made)  # pyright: ignore[reportArgumentType] - a mapped row has what is asked
