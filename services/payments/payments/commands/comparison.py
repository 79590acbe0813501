"""Where the provider's list and our books differ, and what of it finance has to see."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands.unmatched import park, park_payment, park_refund
from payments.domain import ledger
from payments.domain.ledger import Account
from payments.domain.payments import FUNDED, PaymentFact
from payments.domain.refunds import ProviderRefundStatus, RefundFact
from payments.tables import Entry, Order, Payment, Posting, ProviderRefund, Refund, UnmatchedPayment
from shared.database import fetch

MONEY: Final = (Account.CASH, Account.PROVIDER)


async def find_payment(session: AsyncSession, provider: str, reference: str) -> Payment | None:
    statement = select(Payment).where(Payment.provider == provider, Payment.reference == reference)
    return await session.scalar(statement)


async def find_refund(session: AsyncSession, provider_refund_id: str) -> UUID | None:
    """Our refund for which the provider made this one, where it told of it before."""
    statement = select(ProviderRefund.refund_id).where(ProviderRefund.provider_refund_id == provider_refund_id)
    return await session.scalar(statement)


async def differing_payments(
    session: AsyncSession, provider: str, facts: Sequence[PaymentFact]
) -> Sequence[PaymentFact]:
    """Those that we do not know, or have otherwise: in their row, or in the ledger."""
    references = [one.reference for one in facts]
    known = {
        one.reference: one
        for one in await session.scalars(
            select(Payment).where(Payment.provider == provider, Payment.reference.in_(references))
        )
    }
    changed = await _shown_sums(session, provider, references)
    ids = [one.payment_id for one in known.values()]
    held, paid_out = await _held(session, ids), await _paid_out(session, ids)

    def agrees(fact: PaymentFact) -> bool:
        payment = known.get(fact.reference)
        if payment is None:
            return False
        id_ = payment.payment_id
        wanted = _received(payment) - paid_out.get(id_, 0)
        booked = held.get(id_, {}) == ({payment.currency: wanted} if wanted else {})
        return booked and _says_the_same(payment, fact, changed)

    return [one for one in facts if not agrees(one)]


def _says_the_same(payment: Payment, fact: PaymentFact, changed: Mapping[str, tuple[int | None, str | None]]) -> bool:
    amount, currency = changed.get(payment.reference, (payment.amount_minor, payment.currency))
    return (payment.provider_status, amount, currency) == (fact.status, fact.amount_minor, fact.currency)


def _received(payment: Payment) -> int:
    return payment.amount_minor if payment.state in FUNDED and payment.use is not None else 0


async def _shown_sums(
    session: AsyncSession, provider: str, references: Collection[str]
) -> dict[str, tuple[int | None, str | None]]:
    """The other sums that finance was shown of money that was used already: the books go by the first."""
    rows = await session.execute(
        select(UnmatchedPayment.reference, UnmatchedPayment.amount_minor, UnmatchedPayment.currency).where(
            UnmatchedPayment.provider == provider,
            UnmatchedPayment.reference.in_(references),
            UnmatchedPayment.reason == "amount_changed",
        )
    )
    return {row.reference: (row.amount_minor, row.currency) for row in rows}


async def _held(session: AsyncSession, payment_ids: Collection[UUID]) -> dict[UUID, dict[str, int]]:
    """What stands in the ledger as money here or at the provider, by payment and currency."""
    total = func.sum(Entry.amount_minor)
    rows = await session.execute(
        select(Posting.payment_id, Posting.currency, total)
        .join(Entry, Entry.posting_no == Posting.posting_no)
        .where(Posting.payment_id.in_(payment_ids), Entry.account.in_(MONEY))
        .group_by(Posting.payment_id, Posting.currency)
        .having(total != 0)
    )
    found: dict[UUID, dict[str, int]] = {}
    for payment_id, currency, money in rows:
        found.setdefault(payment_id, {})[currency] = int(money)
    return found


async def _paid_out(session: AsyncSession, payment_ids: Collection[UUID]) -> dict[UUID, int]:
    """What the provider has paid back, by payment."""
    rows = await session.execute(
        select(Refund.payment_id, func.sum(ProviderRefund.amount_minor))
        .join(ProviderRefund, ProviderRefund.refund_id == Refund.refund_id)
        .where(
            Refund.payment_id.in_(payment_ids),
            ProviderRefund.status == ProviderRefundStatus.FINISHED,
            or_(ProviderRefund.currency.is_(None), ProviderRefund.currency == Refund.currency),
        )
        .group_by(Refund.payment_id)
    )
    return {payment_id: int(total) for payment_id, total in rows}


async def show_what_remains(session: AsyncSession, provider: str, said: PaymentFact) -> None:
    """Show finance what the provider's answer, applied, has not explained. What is asked about again may still be."""
    payment = await find_payment(session, provider, said.reference)
    if payment is None:
        return
    order = await fetch(session, Order, payment.order_id, lock=True)
    payment = await fetch(session, Payment, payment.payment_id, lock=True)
    wanted = ledger.books(await queries.standing(session, payment))
    if ledger.differences(wanted, payment.currency, await queries.balances(session, payment.payment_id)):
        await park_payment(session, provider, said, "books_differ", payment)
    changed = await _shown_sums(session, provider, [said.reference])
    asking = payment.status_at < said.at and payment.ask_at is not None
    if not asking and not _says_the_same(payment, said, changed):
        await park(
            session,
            provider,
            said.reference,
            "differs_from_provider",
            external_reference=said.external_reference,
            provider_status=said.word or said.status,
            amount_minor=said.amount_minor,
            currency=said.currency,
            order_id=order.order_id,
            payment_id=payment.payment_id,
        )


async def differing_refunds(session: AsyncSession, facts: Sequence[RefundFact]) -> Sequence[RefundFact]:
    """Those that we do not know, or have otherwise."""
    ids = [one.provider_refund_id for one in facts]
    known = {
        one.provider_refund_id: one
        for one in await session.scalars(select(ProviderRefund).where(ProviderRefund.provider_refund_id.in_(ids)))
    }
    return [one for one in facts if not _is_as_we_have_it(known.get(one.provider_refund_id), one)]


def _is_as_we_have_it(made: ProviderRefund | None, fact: RefundFact) -> bool:
    if made is None:
        return False
    same_currency = not fact.currency or not made.currency or fact.currency == made.currency
    return same_currency and (made.status, made.amount_minor) == (fact.status, fact.amount_minor)


async def show_what_remains_of_refund(session: AsyncSession, provider: str, said: RefundFact) -> None:
    """As `show_what_remains`."""
    made = await session.get(ProviderRefund, said.provider_refund_id)
    if made is None or _is_as_we_have_it(made, said):
        return
    refund = await fetch(session, Refund, made.refund_id)
    if refund.ask_at is None:
        payment = await fetch(session, Payment, refund.payment_id)
        await park_refund(session, provider, said, "differs_from_provider", payment, refund)
