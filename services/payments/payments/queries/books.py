"""The balances in the books, and where the money of a payment stands."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.ledger import Account, PaymentPosition
from payments.domain.payments import FUNDED, State, Use
from payments.domain.refunds import RefundStatus, is_owed
from payments.queries.orders import WAS_GIVEN_BACK
from payments.queries.refunds import was_paid
from payments.tables import (
    Entry,
    OrderLine,
    Payment,
    Posting,
    ProviderRefund,
    Refund,
)
from shared.paging import PageRequest, paginate

Balances = Mapping[str, Mapping[Account, int]]
"""The balance of each account, by currency."""


async def balances(session: AsyncSession, payment_id: UUID) -> Balances:
    """Return the balance of each account because of one payment."""
    return (await balances_of(session, [payment_id]))[payment_id]


async def balances_of(session: AsyncSession, payment_ids: Iterable[UUID]) -> Mapping[UUID, Balances]:
    """Return the balance of each account because of each payment."""
    found: dict[UUID, dict[str, dict[Account, int]]] = {payment_id: {} for payment_id in payment_ids}
    rows = await session.execute(
        select(Posting.payment_id, Posting.currency, Entry.account, func.sum(Entry.amount_minor))
        .join(Posting, Posting.posting_no == Entry.posting_no)
        .where(Posting.payment_id.in_(found))
        .group_by(Posting.payment_id, Posting.currency, Entry.account)
    )
    for payment_id, currency, account, total in rows:
        found[payment_id].setdefault(currency, {})[Account(account)] = int(total)
    return found


async def position(session: AsyncSession, payment: Payment) -> PaymentPosition:
    """Return where a payment's money stands, from its row, its lines and its refunds; everything must be flushed."""
    return (await positions(session, [payment]))[payment.payment_id]


async def positions(session: AsyncSession, payments: Collection[Payment]) -> Mapping[UUID, PaymentPosition]:
    """Return where the money of each payment stands."""
    ids = [payment.payment_id for payment in payments]
    refunds: dict[UUID, list[Refund]] = {payment_id: [] for payment_id in ids}
    for refund in await session.scalars(select(Refund).where(Refund.payment_id.in_(ids))):
        refunds[refund.payment_id].append(refund)
    made = await session.execute(
        select(ProviderRefund.refund_id, func.sum(ProviderRefund.amount_minor))
        .join(Refund, Refund.refund_id == ProviderRefund.refund_id)
        .where(Refund.payment_id.in_(ids), was_paid())
        .group_by(ProviderRefund.refund_id)
    )
    paid_out = {refund_id: int(amount) for refund_id, amount in made}
    selling = {payment.order_id for payment in payments if _is_funded(payment) and payment.use == Use.ORDER}
    sold: dict[UUID, int] = {}
    for line in await session.scalars(select(OrderLine).where(OrderLine.order_id.in_(selling), ~WAS_GIVEN_BACK)):
        sold[line.order_id] = sold.get(line.order_id, 0) + line.due_minor
    return {
        payment.payment_id: _position(payment, refunds[payment.payment_id], paid_out, sold.get(payment.order_id, 0))
        for payment in payments
    }


def _is_funded(payment: Payment) -> bool:
    return payment.state in FUNDED and payment.use is not None


def _position(payment: Payment, refunds: Sequence[Refund], made: Mapping[UUID, int], sold: int) -> PaymentPosition:
    funded = _is_funded(payment)
    owed = [one for one in refunds if is_owed(one.status, funded=funded)]
    paid_out = {one.refund_id: made[one.refund_id] for one in refunds if one.refund_id in made}
    completed = {one.refund_id: one.amount_minor for one in refunds if one.status == RefundStatus.COMPLETED}
    # The provider paid less than is owed: the rest is owed still.
    in_part = {one.refund_id: paid_out[one.refund_id] for one in owed if one.refund_id in paid_out}
    return PaymentPosition(
        received=payment.amount_minor if funded else 0,
        settled=payment.state == State.SETTLED,
        sold=sold if funded and payment.use == Use.ORDER else 0,
        owed=sum(one.amount_minor - in_part.get(one.refund_id, 0) for one in owed),
        given_back=sum((completed | in_part).values()),
        # An older release, at work beside this one, keeps no record of what the provider made.
        paid_out=sum((completed | paid_out).values()),
    )


@dataclass(frozen=True, slots=True)
class PostingWithEntries:
    posting: Posting
    entries: Sequence[Entry]


async def ledger_page(
    session: AsyncSession, order_id: UUID | None, paging: PageRequest
) -> tuple[list[PostingWithEntries], str | None]:
    """Return a page of postings with their entries, of one order or of all, the oldest first."""
    statement = select(Posting)
    if order_id is not None:
        statement = statement.where(Posting.order_id == order_id)
    postings, following = await paginate(session, statement, paging, by=[Posting.posting_no])
    entries: dict[int, list[Entry]] = {posting.posting_no: [] for posting in postings}
    for entry in await session.scalars(
        select(Entry).where(Entry.posting_no.in_(entries)).order_by(Entry.posting_no, Entry.account)
    ):
        entries[entry.posting_no].append(entry)
    return [PostingWithEntries(posting, entries[posting.posting_no]) for posting in postings], following
