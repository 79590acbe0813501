"""Refunds: of which lines, and how much."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from payments.domain.payments import State, Use
from payments.domain.refunds import ACTIVE, ProviderRefundStatus, Reason, RefundStatus
from payments.domain.unmatched import Why
from payments.queries.orders import lines_not_given_back
from payments.queries.payments import sum_going_back
from payments.tables import (
    OrderLine,
    Payment,
    ProviderRefund,
    Refund,
    UnmatchedPayment,
)


async def refunds_of(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[Refund]]:
    """Return the refunds of each order, the oldest first."""
    found: dict[UUID, list[Refund]] = {order_id: [] for order_id in order_ids}
    statement = select(Refund).where(Refund.order_id.in_(found), Refund.reason_code != Reason.NOT_PAID_FOR)
    for refund in await session.scalars(statement.order_by(Refund.requested_at, Refund.refund_id)):
        found[refund.order_id].append(refund)
    return found


async def paid_back_by_line(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return how much of each line's price was paid back, in minor units; lines of which nothing was are left out."""
    ids = list(order_ids)
    made = func.sum(ProviderRefund.amount_minor).filter(was_paid())
    # An older release, at work beside this one, keeps no record of what the provider made.
    whole = case((Refund.status == RefundStatus.COMPLETED, Refund.amount_minor), else_=0)
    by_refund = (
        select(Refund.order_line_id, func.greatest(func.coalesce(made, 0), whole).label("paid"))
        .outerjoin(ProviderRefund, ProviderRefund.refund_id == Refund.refund_id)
        .where(Refund.order_id.in_(ids), Refund.order_line_id.is_not(None))
        .group_by(Refund.refund_id)
        .subquery()
    )
    rows = await session.execute(
        select(OrderLine.order_line_id, func.least(func.sum(by_refund.c.paid), OrderLine.due_minor))
        .join(by_refund, by_refund.c.order_line_id == OrderLine.order_line_id)
        .group_by(OrderLine.order_line_id)
        .having(func.sum(by_refund.c.paid) > 0)
    )
    return {line_id: int(paid) for line_id, paid in rows}


async def provider_refunds_of(session: AsyncSession, refund_id: UUID) -> Sequence[ProviderRefund]:
    """Return the refunds that the provider made for this one, in the order in which it reported them."""
    statement = (
        select(ProviderRefund)
        .where(ProviderRefund.refund_id == refund_id)
        .order_by(ProviderRefund.received_at, ProviderRefund.provider_refund_id)
    )
    return (await session.scalars(statement)).all()


async def parts_of(session: AsyncSession, provider_refund_id: str, *, lock: bool = False) -> Sequence[ProviderRefund]:
    """Return what a refund at the provider pays of each of ours, in the order of their ids, locked if asked."""
    statement = (
        select(ProviderRefund)
        .where(ProviderRefund.provider_refund_id == provider_refund_id)
        .order_by(ProviderRefund.refund_id)
    )
    if lock:
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.scalars(statement)).all()


async def refunds_paid_by(
    session: AsyncSession, provider_refund_ids: Collection[str]
) -> Sequence[tuple[Refund, Sequence[ProviderRefund]]]:
    """Return the refunds of ours that these at the provider pay, each with all that the provider made for it."""
    ours = select(ProviderRefund.refund_id).where(ProviderRefund.provider_refund_id.in_(provider_refund_ids))
    found = await session.scalars(select(Refund).where(Refund.refund_id.in_(ours)).order_by(Refund.refund_id))
    return [(one, await provider_refunds_of(session, one.refund_id)) for one in found.all()]


def was_paid() -> ColumnElement[bool]:
    """Select the provider's refunds that were paid in the currency that is owed."""
    same = or_(ProviderRefund.currency.is_(None), ProviderRefund.currency == Refund.currency)
    return and_(ProviderRefund.status == ProviderRefundStatus.FINISHED, same)


async def lines_paid_by(session: AsyncSession, payment: Payment) -> list[OrderLine]:
    """Return the lines that the payment which confirmed their order paid for: all but those given back before it
    came, or given up."""
    own, other = aliased(Refund), aliased(Refund)
    of_line = own.order_line_id == OrderLine.order_line_id, own.payment_id == payment.payment_id
    unpaid = exists().where(*of_line, own.reason_code == Reason.NOT_PAID_FOR)
    before = exists().where(
        other.order_line_id == OrderLine.order_line_id,
        other.payment_id != payment.payment_id,
        other.reason_code != Reason.NOT_PAID_FOR,
        other.requested_at <= (payment.funded_at or payment.seen_at),
    )
    paid_for = or_(~before, exists().where(*of_line))
    statement = select(OrderLine).where(OrderLine.order_id == payment.order_id, paid_for, ~unpaid)
    return list(await session.scalars(statement.order_by(OrderLine.position)))


async def lost_payment_for(session: AsyncSession, paying: Payment, line: OrderLine) -> Payment | None:
    """Return the lost payment that paid for a line which the one that pays the order does not pay for; None where that
    does, or no such payment is lost."""
    note = aliased(Refund)
    notes = exists().where(note.order_line_id == line.order_line_id, note.reason_code == Reason.NOT_PAID_FOR)
    statement = (
        select(Payment)
        .where(
            Payment.order_id == line.order_id,
            Payment.state == State.LOST,
            Payment.use == Use.ORDER,
            notes.where(note.payment_id == paying.payment_id),
            ~notes.where(note.payment_id == Payment.payment_id),
        )
        .order_by(Payment.funded_at.desc(), Payment.payment_id)
        .limit(1)
    )
    return await session.scalar(statement)


async def owed_for(session: AsyncSession, payment: Payment, line: OrderLine) -> int:
    """Return how much of this payment may go back for a line, in minor units: its price less what went back for it, and
    no more than the payment brought beyond the other lines with access and what goes back of it."""
    others = await lines_not_given_back(session, payment.order_id)
    used = sum(one.due_minor for one in others if one.order_line_id != line.order_line_id)
    beyond = payment.amount_minor - used - await sum_going_back(session, payment.payment_id)
    gone = await session.scalar(
        select(func.coalesce(func.sum(ProviderRefund.amount_minor), 0))
        .join(Refund, Refund.refund_id == ProviderRefund.refund_id)
        .where(Refund.order_line_id == line.order_line_id, was_paid())
    )
    return min(line.due_minor - int(gone or 0), beyond)


async def not_ours_among(session: AsyncSession, provider: str, provider_refund_ids: Collection[str]) -> set[str]:
    """Return those refunds at the provider of which finance has said that they paid none of ours."""
    statement = select(UnmatchedPayment.reference).where(
        UnmatchedPayment.provider == provider,
        UnmatchedPayment.reason == Why.UNKNOWN_REFUND,
        UnmatchedPayment.reference.in_(provider_refund_ids),
        UnmatchedPayment.not_ours,
    )
    return set((await session.scalars(statement)).all())


async def are_ahead(session: AsyncSession, refund: Refund) -> bool:
    """Return whether another refund of the same payment is to be sent, or with the provider, before this one. Those to
    be sent are sent in the order in which they were asked for."""
    earlier = tuple_(Refund.requested_at, Refund.refund_id) < (refund.requested_at, refund.refund_id)
    ahead = select(
        exists().where(
            Refund.order_id == refund.order_id,
            Refund.payment_id == refund.payment_id,
            Refund.refund_id != refund.refund_id,
            or_(Refund.status.in_(ACTIVE), and_(Refund.status == RefundStatus.REQUESTED, earlier)),
        )
    )
    return bool(await session.scalar(ahead))


async def refunds_behind(session: AsyncSession, refund: Refund) -> Sequence[Refund]:
    """Return, locked, the other refunds of the same payment that are to be sent."""
    others = Refund.payment_id == refund.payment_id, Refund.refund_id != refund.refund_id
    statement = select(Refund).where(Refund.order_id == refund.order_id, *others)
    to_send = statement.where(Refund.status == RefundStatus.REQUESTED).order_by(Refund.refund_id)
    locked = to_send.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.scalars(locked)).all()


async def goes_back_otherwise(session: AsyncSession, refund: Refund) -> bool:
    """Return whether another refund that is not cancelled is there for the same line."""
    same = Refund.order_line_id == refund.order_line_id, Refund.refund_id != refund.refund_id
    statement = select(exists().where(*same, Refund.status != RefundStatus.CANCELLED))
    return refund.order_line_id is not None and bool(await session.scalar(statement))


async def refunds_without_money(session: AsyncSession, order_id: UUID) -> Sequence[tuple[Refund, OrderLine]]:
    """Return the refunds of lines of which nothing goes back or went, a line's last one first."""
    other = aliased(Refund)
    alive = exists().where(other.order_line_id == Refund.order_line_id, other.status != RefundStatus.CANCELLED)
    rows = await session.execute(
        select(Refund, OrderLine)
        .join(OrderLine, OrderLine.order_line_id == Refund.order_line_id)
        .where(Refund.order_id == order_id, Refund.reason_code != Reason.NOT_PAID_FOR, ~alive)
        .order_by(OrderLine.position, Refund.requested_at.desc(), Refund.refund_id.desc())
    )
    return [(refund, line) for refund, line in rows]
