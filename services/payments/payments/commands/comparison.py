"""Comparing the provider's list with our books, and showing finance what differs."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.unmatched import end_unmatched, show_payment, show_refund, show_to_finance
from payments.domain import ledger
from payments.domain.payments import CERTAIN, PaymentFact, State
from payments.domain.refunds import RefundFact
from payments.domain.unmatched import Why
from payments.queries.books import balances, balances_of, position, positions
from payments.queries.finance import is_still_shown
from payments.queries.payments import is_lost_to_the_bank, lost_to_the_bank
from payments.queries.refunds import parts_of
from payments.tables import Order, Payment, ProviderRefund, Refund, UnmatchedPayment
from shared.database import fetch


async def find_payment(session: AsyncSession, provider: str, reference: str) -> Payment | None:
    statement = select(Payment).where(Payment.provider == provider, Payment.reference == reference)
    return await session.scalar(statement)


async def find_refund(session: AsyncSession, provider_refund_id: str) -> UUID | None:
    """Return the id of our refund for which the provider made this one, or of one of them, where it reported it
    before."""
    statement = select(ProviderRefund.refund_id).where(ProviderRefund.provider_refund_id == provider_refund_id)
    return await session.scalar(statement)


async def differing_payments(
    session: AsyncSession, provider: str, facts: Sequence[PaymentFact]
) -> Sequence[PaymentFact]:
    """Return the payments that we do not know, or have otherwise, in their row or in the ledger.

    Of the others, what finance was shown as different ends.
    """
    references = [one.reference for one in facts]
    known = {
        one.reference: one
        for one in await session.scalars(
            select(Payment).where(Payment.provider == provider, Payment.reference.in_(references))
        )
    }
    changed = await _shown_sums(session, provider, references)
    taken = await lost_to_the_bank(session, [one.payment_id for one in known.values()])
    wanted = await positions(session, known.values())
    balances = await balances_of(session, wanted)

    def agrees(fact: PaymentFact) -> bool:
        payment = known.get(fact.reference)
        if payment is None:
            return False
        id_ = payment.payment_id
        booked = not ledger.differences(ledger.books(wanted[id_]), payment.currency, balances[id_])
        return booked and _says_the_same(payment, fact, changed, taken=id_ in taken)

    agreeing = [one.reference for one in facts if agrees(one)]
    await end_unmatched(session, provider, agreeing, Why.BOOKS_DIFFER, Why.DIFFERS_FROM_PROVIDER, Why.NOT_AT_PROVIDER)
    return [one for one in facts if one.reference not in agreeing]


def _says_the_same(
    payment: Payment, fact: PaymentFact, changed: Mapping[str, tuple[int | None, str | None]], *, taken: bool
) -> bool:
    """Return whether we have a payment as the provider does. `taken`: the bank has its money."""
    amount, currency = changed.get(payment.reference, (payment.amount_minor, payment.currency))
    lost = payment.state == State.LOST
    follows = lost if taken else not (lost and fact.status in CERTAIN)
    return follows and (payment.provider_status, amount, currency) == (fact.status, fact.amount_minor, fact.currency)


async def _shown_sums(
    session: AsyncSession, provider: str, references: Collection[str]
) -> dict[str, tuple[int | None, str | None]]:
    """Return the changed sums that finance was shown of payments already used, by reference: the books go by the first
    sum."""
    rows = await session.execute(
        select(UnmatchedPayment.reference, UnmatchedPayment.amount_minor, UnmatchedPayment.currency).where(
            UnmatchedPayment.provider == provider,
            UnmatchedPayment.reference.in_(references),
            UnmatchedPayment.reason == Why.AMOUNT_CHANGED,
            is_still_shown(),
        )
    )
    return {row.reference: (row.amount_minor, row.currency) for row in rows}


async def show_what_remains(session: AsyncSession, provider: str, said: PaymentFact) -> None:
    """Show finance where a payment still differs after the provider's answer was applied, unless the provider is to be
    asked again."""
    payment = await find_payment(session, provider, said.reference)
    if payment is None:
        return
    order = await fetch(session, Order, payment.order_id, lock=True)
    payment = await fetch(session, Payment, payment.payment_id, lock=True)
    wanted = ledger.books(await position(session, payment))
    if ledger.differences(wanted, payment.currency, await balances(session, payment.payment_id)):
        await show_payment(session, provider, said, Why.BOOKS_DIFFER, payment)
    else:
        await end_unmatched(session, provider, [said.reference], Why.BOOKS_DIFFER)
    changed = await _shown_sums(session, provider, [said.reference])
    asking = payment.status_at < said.at and payment.ask_at is not None
    taken = await is_lost_to_the_bank(session, payment.payment_id)
    if _says_the_same(payment, said, changed, taken=taken):
        await end_unmatched(session, provider, [said.reference], Why.DIFFERS_FROM_PROVIDER)
    elif not asking:
        await show_to_finance(
            session,
            provider,
            said.reference,
            Why.DIFFERS_FROM_PROVIDER,
            external_reference=said.our_reference,
            provider_status=said.word or said.status,
            amount_minor=said.amount_minor,
            currency=said.currency,
            order_id=order.order_id,
            payment_id=payment.payment_id,
        )


async def differing_refunds(session: AsyncSession, provider: str, facts: Sequence[RefundFact]) -> Sequence[RefundFact]:
    """Return the refunds that we do not know, or have otherwise. Of the others, what finance was shown as different
    ends."""
    known: dict[str, list[ProviderRefund]] = {one.provider_refund_id: [] for one in facts}
    for one in await session.scalars(select(ProviderRefund).where(ProviderRefund.provider_refund_id.in_(known))):
        known[one.provider_refund_id].append(one)
    agreeing = [id_ for one in facts if _is_as_we_have_it(known[id_ := one.provider_refund_id], one)]
    await end_unmatched(session, provider, agreeing, Why.DIFFERS_FROM_PROVIDER)
    return [one for one in facts if one.provider_refund_id not in agreeing]


def _is_as_we_have_it(parts: Sequence[ProviderRefund], fact: RefundFact) -> bool:
    same_currency = all(not fact.currency or not one.currency or fact.currency == one.currency for one in parts)
    same_status = {one.status for one in parts} == {fact.status}
    return same_currency and same_status and sum(one.amount_minor for one in parts) == fact.amount_minor


async def show_what_remains_of_refund(session: AsyncSession, provider: str, said: RefundFact) -> None:
    """Show finance where a refund still differs, as `show_what_remains` does for a payment."""
    parts = await parts_of(session, said.provider_refund_id)
    if not parts:
        return
    if _is_as_we_have_it(parts, said):
        await end_unmatched(session, provider, [said.provider_refund_id], Why.DIFFERS_FROM_PROVIDER)
        return
    refund = await fetch(session, Refund, parts[0].refund_id)
    if refund.ask_at is None:
        payment = await fetch(session, Payment, refund.payment_id)
        await show_refund(session, provider, said, Why.DIFFERS_FROM_PROVIDER, payment, refund)
