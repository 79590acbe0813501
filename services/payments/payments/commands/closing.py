"""Closing what finance was shown, and saying of a refund that we did not ask for what it paid."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import PaymentProvider
from payments.commands.refund_facts import apply_refund_fact, find_refund, is_of_payment
from payments.domain.orders import OwnOrder
from payments.domain.policy import in_utc
from payments.domain.refunds import ProviderRefundStatus, RefundFact, RefundStatus, owed_of
from payments.domain.unmatched import (
    PaidAnotherRefund,
    PaidMoreThanOwed,
    RefundOfAnotherPayment,
    UnmatchedPaymentEnded,
    Why,
    check_explanation,
)
from payments.queries.refunds import provider_refunds_of
from payments.tables import Order, Payment, Refund, UnmatchedPayment
from shared.access import refuse_own
from shared.database import fetch, now
from shared.sessions import outside_transaction


@dataclass(frozen=True, slots=True)
class Explanation:
    """What finance says of an unknown refund: it paid this refund of ours, or none of ours."""

    refund_id: UUID | None = None
    not_ours: bool = False


async def close_unmatched(
    session: AsyncSession, provider: PaymentProvider, unmatched_id: UUID, note: str, explanation: Explanation, by: str
) -> UnmatchedPayment:
    """Close what a person in finance has seen to, with their note.

    A refund at the provider that paid one of ours is taken in as that one's, as the provider reports it now. Beside one
    that paid none of ours those that wait are sent; what was said so by mistake is closed again with the one it paid.

    Raises Unknown, OwnOrder, UnmatchedPaymentEnded, ExplanationNeeded, RefundOfAnotherPayment, PaidAnotherRefund,
    PaidMoreThanOwed, ProviderUnavailable, ProviderRefused.
    """
    row = await _to_close(session, unmatched_id, explanation, by)
    if explanation.refund_id is not None:
        reference = row.reference
        async with outside_transaction(session):
            fact = await provider.fetch_refund(reference)
        row = await _to_close(session, unmatched_id, explanation, by)
        await _take_in(session, provider.name, fact, explanation.refund_id, corrected=row.not_ours)
        await session.refresh(row)
    row.not_ours = explanation.not_ours
    row.ended_at, row.ended_by, row.note = now(session), by, note
    return row


async def _to_close(session: AsyncSession, unmatched_id: UUID, explanation: Explanation, by: str) -> UnmatchedPayment:
    """Return what can be closed so, locked after its order."""
    refund = None if explanation.refund_id is None else await fetch(session, Refund, explanation.refund_id)
    order_id = refund.order_id if refund else (await fetch(session, UnmatchedPayment, unmatched_id)).order_id
    order = None if order_id is None else await fetch(session, Order, order_id, lock=True)
    whose = None if order is None else order.learner_id  # of most there is no order
    refuse_own(session, OwnOrder("somebody else decides about your own order"), whose, by)
    row = await fetch(session, UnmatchedPayment, unmatched_id, lock=True)
    corrected = refund is not None and row.not_ours
    if row.ended_at is not None and not corrected:
        raise UnmatchedPaymentEnded("this has ended already", ended_at=in_utc(row.ended_at))
    check_explanation(
        Why(row.reason),
        of_our_payment=row.payment_id is not None,
        explained=[refund is not None, explanation.not_ours],
    )
    if refund is not None and row.payment_id not in {None, refund.payment_id}:
        raise RefundOfAnotherPayment("the refund named is of another payment")
    return row


async def _take_in(session: AsyncSession, provider: str, fact: RefundFact, refund_id: UUID, *, corrected: bool) -> None:
    refund = await fetch(session, Refund, refund_id, lock=True)
    if not is_of_payment(fact, await fetch(session, Payment, refund.payment_id)):
        raise RefundOfAnotherPayment("the provider reports it of another payment")
    if fact.status is ProviderRefundStatus.CANCELLED:  # it paid nobody, and ends what finance was shown
        await apply_refund_fact(session, provider, fact)
        return
    known = await find_refund(session, fact)
    if known not in {None, refund_id}:
        raise PaidAnotherRefund("it paid another refund of ours", refund_id=str(known))
    if known is None:
        await _check_owed(session, refund, fact, corrected=corrected)
    await apply_refund_fact(session, provider, fact, asked_for=refund_id)


async def _check_owed(session: AsyncSession, refund: Refund, fact: RefundFact, *, corrected: bool) -> None:
    made = await provider_refunds_of(session, refund.refund_id)
    owed = owed_of(refund.amount_minor, made)  # pyright: ignore[reportArgumentType] - a mapped row has what is asked
    # Beside one that paid none of ours ours is sent: while that has no answer it may have been paid as well.
    under_way = corrected and refund.status == RefundStatus.SUBMITTING and refund.submitted_at is not None
    if refund.status == RefundStatus.COMPLETED or under_way:
        owed = 0
    if not owed or (fact.amount_minor > owed and fact.currency in {"", refund.currency}):
        raise PaidMoreThanOwed(
            f"it is of {fact.amount_minor}, and {owed} of the refund named is neither paid nor being paid",
            amount_minor=fact.amount_minor,
            owed_minor=owed,
        )
