"""Reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from payments.domain.disputes import DisputeOutcome
from payments.domain.ledger import Account, Standing
from payments.domain.orders import Offer, OrderStatus
from payments.domain.payments import FUNDED, UNDER_WAY, State, Use
from payments.domain.refunds import IN_FLIGHT, OWED, ProviderRefundStatus, RefundStatus
from payments.tables import (
    BasketItem,
    CheckoutAttempt,
    Confirmation,
    Dispute,
    EndedEnrolment,
    Entry,
    OfferedCourse,
    Order,
    OrderLine,
    Payment,
    Posting,
    Price,
    ProviderRefund,
    Refund,
    UnmatchedPayment,
)
from shared.web import Cursor, paginate


async def offers(session: AsyncSession, course_ids: Iterable[UUID], at: datetime) -> dict[UUID, Offer]:
    """Those of the courses that are on sale, at the price of that instant: the latest begun one."""
    latest = (
        select(Price.amount_minor, Price.currency)
        .where(Price.course_id == OfferedCourse.course_id, Price.valid_from <= at)
        .order_by(Price.valid_from.desc(), Price.price_id.desc())
        .limit(1)
        .lateral()
    )
    rows = await session.execute(
        select(
            OfferedCourse.course_id,
            OfferedCourse.course_version_id,
            OfferedCourse.title,
            OfferedCourse.code,
            latest.c.amount_minor,
            latest.c.currency,
        )
        .join(latest, latest.c.amount_minor > 0)
        .where(
            OfferedCourse.course_id.in_(list(course_ids)),
            OfferedCourse.course_version_id.is_not(None),
            OfferedCourse.withdrawn_at.is_(None),
        )
    )
    return {row.course_id: Offer(*row) for row in rows}


_HAS_ENDED: Final = exists().where(EndedEnrolment.enrolment_id == OrderLine.enrolment_id)
_WAS_GIVEN_BACK: Final = exists().where(Refund.order_line_id == OrderLine.order_line_id)
"""Or was to be, before the money that paid for it was gone."""


async def bought_courses(session: AsyncSession, learner_id: UUID, at: datetime) -> frozenset[UUID]:
    """Courses of paid lines that were not given back and whose enrolment has not ended. Where the money is gone the
    enrolment ends by itself once it is too late to pay again."""
    goes_back = exists().where(
        Refund.order_line_id == OrderLine.order_line_id,
        or_(Refund.status != RefundStatus.CANCELLED, Refund.payment_id != Confirmation.payment_id),
    )
    paid = and_(Order.status == OrderStatus.PAID, ~goes_back)
    ending = and_(
        Order.status == OrderStatus.REVERSED,
        Order.expires_at <= at,
        OrderLine.enrolment_id.is_not(None),
        ~_WAS_GIVEN_BACK,
    )
    return frozenset(
        await session.scalars(
            select(OrderLine.course_id)
            .join(Order, Order.order_id == OrderLine.order_id)
            .join(Confirmation, Confirmation.order_id == Order.order_id)
            .where(Order.learner_id == learner_id, or_(paid, ending), ~_HAS_ENDED)
        )
    )


async def open_orders(session: AsyncSession, learner_id: UUID, at: datetime) -> dict[UUID, UUID]:
    """Course -> the learner's order it is in that can still be paid, or be paid again."""
    again = and_(Order.status == OrderStatus.REVERSED, Order.expires_at > at, ~_WAS_GIVEN_BACK, ~_HAS_ENDED)
    placed = and_(Order.status == OrderStatus.PLACED, or_(Order.expires_at > at, is_being_paid()))
    open_ = or_(placed, Order.status == OrderStatus.UNDERPAID, again)
    rows = await session.execute(
        select(OrderLine.course_id, Order.order_id)
        .join(Order, Order.order_id == OrderLine.order_id)
        .where(Order.learner_id == learner_id, open_)
    )
    return {row.course_id: row.order_id for row in rows}


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A course somebody means to buy; `offer` is None where it is not on sale now."""

    course_id: UUID
    added_at: datetime
    title: str | None
    code: str | None
    offer: Offer | None


async def basket(session: AsyncSession, learner_id: UUID, at: datetime) -> list[BasketLine]:
    rows = (
        await session.execute(
            select(BasketItem.course_id, BasketItem.added_at, OfferedCourse.title, OfferedCourse.code)
            .outerjoin(OfferedCourse, OfferedCourse.course_id == BasketItem.course_id)
            .where(BasketItem.learner_id == learner_id)
            .order_by(BasketItem.added_at, BasketItem.course_id)
        )
    ).all()
    on_sale = await offers(session, [row.course_id for row in rows], at)
    return [BasketLine(*row, offer=on_sale.get(row.course_id)) for row in rows]


async def lines_of(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[OrderLine]]:
    """Lines by order, in their order."""
    found: dict[UUID, list[OrderLine]] = {order_id: [] for order_id in order_ids}
    statement = select(OrderLine).where(OrderLine.order_id.in_(found)).order_by(OrderLine.order_id, OrderLine.position)
    for line in await session.scalars(statement):
        found[line.order_id].append(line)
    return found


async def lines_not_given_back(session: AsyncSession, order_id: UUID) -> list[OrderLine]:
    """What is still to be paid for where the money is gone again, in its order."""
    statement = select(OrderLine).where(OrderLine.order_id == order_id, ~_WAS_GIVEN_BACK)
    return list(await session.scalars(statement.order_by(OrderLine.position)))


async def refunds_of(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[Refund]]:
    """Refunds by order, the oldest first."""
    found: dict[UUID, list[Refund]] = {order_id: [] for order_id in order_ids}
    for refund in await session.scalars(
        select(Refund).where(Refund.order_id.in_(found)).order_by(Refund.requested_at, Refund.refund_id)
    ):
        found[refund.order_id].append(refund)
    return found


async def paid_back_by_line(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, int]:
    """What of each line's price was paid back, in minor units; lines of which nothing was are left out."""
    ids = list(order_ids)
    made = func.sum(ProviderRefund.amount_minor).filter(_was_paid())
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


async def attempts_of(session: AsyncSession, order_id: UUID) -> Sequence[CheckoutAttempt]:
    return (
        await session.scalars(
            select(CheckoutAttempt).where(CheckoutAttempt.order_id == order_id).order_by(CheckoutAttempt.attempt_no)
        )
    ).all()


async def attempt_for(session: AsyncSession, provider: str, reference: str, external: str) -> CheckoutAttempt | None:
    """The checkout a payment belongs to: by the payment if we know it, else by the reference we gave."""
    known = await session.scalar(
        select(CheckoutAttempt)
        .join(Payment, Payment.attempt_id == CheckoutAttempt.attempt_id)
        .where(Payment.provider == provider, Payment.reference == reference)
    )
    if known is not None:
        return known
    return await session.scalar(select(CheckoutAttempt).where(CheckoutAttempt.reference == external))


async def payment_by_reference(session: AsyncSession, provider: str, reference: str) -> Payment | None:
    return await session.scalar(
        select(Payment).where(Payment.provider == provider, Payment.reference == reference).with_for_update()
    )


async def payments_of(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    return (await session.scalars(select(Payment).where(Payment.order_id == order_id).order_by(Payment.seen_at))).all()


async def payments_of_orders(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[Payment]]:
    """Payments by order, the oldest first."""
    found: dict[UUID, list[Payment]] = {order_id: [] for order_id in order_ids}
    statement = select(Payment).where(Payment.order_id.in_(found)).order_by(Payment.seen_at, Payment.payment_id)
    for payment in await session.scalars(statement):
        found[payment.order_id].append(payment)
    return found


def is_being_paid() -> ColumnElement[bool]:
    """Orders of which a payment is on its way, such as a bank transfer."""
    return exists().where(Payment.order_id == Order.order_id, Payment.state.in_(UNDER_WAY))


async def payments_under_way(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    """The oldest first."""
    return [one for one in await payments_of(session, order_id) if one.state in UNDER_WAY]


def unreturned() -> ColumnElement[bool]:
    """Payments that were too little, are there, and do not go back yet."""
    going_back = exists().where(_goes_back_whole(), Refund.payment_id == Payment.payment_id)
    return and_(Payment.use == Use.UNDERPAID, Payment.state.in_(FUNDED), ~going_back)


def _goes_back_whole() -> ColumnElement[bool]:
    return and_(Refund.order_line_id.is_(None), Refund.status != RefundStatus.CANCELLED)


async def held_payments(session: AsyncSession, order_id: UUID) -> Sequence[Payment]:
    """What of this order's money pays for nothing and does not go back yet."""
    statement = select(Payment).where(Payment.order_id == order_id, unreturned()).order_by(Payment.seen_at)
    return (await session.scalars(statement)).all()


async def is_not_used_yet(session: AsyncSession, payment: Payment) -> bool:
    """Whether it is held for being too little, and nothing of it goes back yet."""
    if payment.use != Use.UNDERPAID:
        return False
    going_back = exists().where(_goes_back_whole(), Refund.payment_id == payment.payment_id)
    return not await session.scalar(select(going_back))


async def sum_going_back(session: AsyncSession, payment_id: UUID) -> int:
    """What of a payment goes back, or went, in minor units."""
    statement = select(func.coalesce(func.sum(Refund.amount_minor), 0))
    goes_back = Refund.payment_id == payment_id, Refund.status != RefundStatus.CANCELLED
    return int(await session.scalar(statement.where(*goes_back)) or 0)


async def confirming_payment(session: AsyncSession, order_id: UUID) -> Payment | None:
    """The payment that paid the order."""
    return await session.scalar(
        select(Payment)
        .join(Confirmation, Confirmation.payment_id == Payment.payment_id)
        .where(Confirmation.order_id == order_id)
    )


def disputed_orders() -> Select[UUID]:
    return select(Dispute.order_id).where(Dispute.closed_at.is_(None))


async def is_lost_to_the_bank(session: AsyncSession, payment_id: UUID) -> bool:
    """Whether a dispute about this payment was lost: of that the provider tells nothing."""
    lost = exists().where(Dispute.payment_id == payment_id, Dispute.outcome == DisputeOutcome.LOST)
    return bool(await session.scalar(select(lost)))


async def provider_refunds_of(session: AsyncSession, refund_id: UUID) -> Sequence[ProviderRefund]:
    """What the provider made for this refund, the first it told of first."""
    statement = (
        select(ProviderRefund)
        .where(ProviderRefund.refund_id == refund_id)
        .order_by(ProviderRefund.heard_at, ProviderRefund.provider_refund_id)
    )
    return (await session.scalars(statement)).all()


async def is_disputed(session: AsyncSession, order_id: UUID) -> bool:
    return bool(await session.scalar(select(disputed_orders().where(Dispute.order_id == order_id).exists())))


async def disputes_page(
    session: AsyncSession, *, open_: bool | None, paging: Cursor
) -> tuple[list[Dispute], str | None]:
    statement = select(Dispute)
    if open_ is not None:
        statement = statement.where(Dispute.closed_at.is_(None) if open_ else Dispute.closed_at.is_not(None))
    return await paginate(session, statement, paging, by=[Dispute.opened_at, Dispute.dispute_id])


async def balances(session: AsyncSession, payment_id: UUID) -> Mapping[str, Mapping[Account, int]]:
    """What stands in each account because of one payment, by currency."""
    rows = await session.execute(
        select(Posting.currency, Entry.account, func.sum(Entry.amount_minor))
        .join(Posting, Posting.posting_no == Entry.posting_no)
        .where(Posting.payment_id == payment_id)
        .group_by(Posting.currency, Entry.account)
    )
    found: dict[str, dict[Account, int]] = {}
    for currency, account, total in rows:
        found.setdefault(currency, {})[Account(account)] = int(total)
    return found


def _was_paid() -> ColumnElement[bool]:
    """What the provider has paid back, in the currency that is owed."""
    same = or_(ProviderRefund.currency.is_(None), ProviderRefund.currency == Refund.currency)
    return and_(ProviderRefund.status == ProviderRefundStatus.FINISHED, same)


async def standing(session: AsyncSession, payment: Payment) -> Standing:
    """What is true of a payment, from its row, its lines and its refunds; everything must be flushed."""
    funded = payment.state in FUNDED and payment.use is not None
    owed_of = OWED if funded else IN_FLIGHT
    refunds = (await session.scalars(select(Refund).where(Refund.payment_id == payment.payment_id))).all()
    paid_out: dict[UUID, int] = {}
    for refund_id, amount in await session.execute(
        select(ProviderRefund.refund_id, func.sum(ProviderRefund.amount_minor))
        .join(Refund, Refund.refund_id == ProviderRefund.refund_id)
        .where(
            Refund.payment_id == payment.payment_id,
            _was_paid(),
        )
        .group_by(ProviderRefund.refund_id)
    ):
        paid_out[refund_id] = int(amount)
    completed = {one.refund_id: one.amount_minor for one in refunds if one.status == RefundStatus.COMPLETED}
    # The provider paid less than is owed: the rest is owed still.
    in_part = {
        one.refund_id: paid_out[one.refund_id] for one in refunds if one.refund_id in paid_out and one.status in owed_of
    }
    sold = 0
    if funded and payment.use == Use.ORDER:
        sold = sum(line.due_minor for line in await lines_not_given_back(session, payment.order_id))
    return Standing(
        received=payment.amount_minor if funded else 0,
        settled=payment.state == State.SETTLED,
        sold=sold,
        owed=sum(one.amount_minor - in_part.get(one.refund_id, 0) for one in refunds if one.status in owed_of),
        given_back=sum((completed | in_part).values()),
        # An older release, at work beside this one, keeps no record of what the provider made.
        paid_out=sum((completed | paid_out).values()),
    )


async def lines_paid_by(session: AsyncSession, payment: Payment) -> list[OrderLine]:
    """The lines that the payment which confirmed their order paid for: all but those given back before it came."""
    own, other = aliased(Refund), aliased(Refund)
    of_line = own.order_line_id == OrderLine.order_line_id, own.payment_id == payment.payment_id
    before = exists().where(
        other.order_line_id == OrderLine.order_line_id,
        other.payment_id != payment.payment_id,
        other.requested_at <= (payment.funded_at or payment.seen_at),
    )
    paid_for = or_(~before, exists().where(*of_line))
    statement = select(OrderLine).where(OrderLine.order_id == payment.order_id, paid_for)
    return list(await session.scalars(statement.order_by(OrderLine.position)))


async def owed_for(session: AsyncSession, payment: Payment, line: OrderLine) -> int:
    """What may go back of this payment for a line, in minor units: its price less what went back for it, and no more
    than the payment brought beyond the other lines with access and what goes back of it."""
    others = await lines_not_given_back(session, payment.order_id)
    used = sum(one.due_minor for one in others if one.order_line_id != line.order_line_id)
    beyond = payment.amount_minor - used - await sum_going_back(session, payment.payment_id)
    gone = await session.scalar(
        select(func.coalesce(func.sum(ProviderRefund.amount_minor), 0))
        .join(Refund, Refund.refund_id == ProviderRefund.refund_id)
        .where(Refund.order_line_id == line.order_line_id, _was_paid())
    )
    return min(line.due_minor - int(gone or 0), beyond)


async def goes_back_otherwise(session: AsyncSession, refund: Refund) -> bool:
    """Whether another refund is there for the same line."""
    same = Refund.order_line_id == refund.order_line_id, Refund.refund_id != refund.refund_id
    statement = select(exists().where(*same, Refund.status != RefundStatus.CANCELLED))
    return refund.order_line_id is not None and bool(await session.scalar(statement))


async def refunds_without_money(session: AsyncSession, order_id: UUID) -> Sequence[tuple[Refund, OrderLine]]:
    """Refunds of lines of which nothing goes back or went, a line's last one first."""
    other = aliased(Refund)
    alive = exists().where(other.order_line_id == Refund.order_line_id, other.status != RefundStatus.CANCELLED)
    rows = await session.execute(
        select(Refund, OrderLine)
        .join(OrderLine, OrderLine.order_line_id == Refund.order_line_id)
        .where(Refund.order_id == order_id, ~alive)
        .order_by(OrderLine.position, Refund.requested_at.desc(), Refund.refund_id.desc())
    )
    return [(refund, line) for refund, line in rows]


async def orders_page(session: AsyncSession, learner_id: UUID, paging: Cursor) -> tuple[list[Order], str | None]:
    return await paginate(
        session,
        select(Order).where(Order.learner_id == learner_id),
        paging,
        by=[Order.placed_at, Order.order_id],
        descending=True,
    )


async def parked_sum(session: AsyncSession, payment: Payment, reason: str) -> tuple[int, str] | None:
    """The amount and currency that finance was last shown of a payment, for this reason."""
    row = await session.execute(
        select(UnmatchedPayment.amount_minor, UnmatchedPayment.currency).where(
            UnmatchedPayment.provider == payment.provider,
            UnmatchedPayment.reference == payment.reference,
            UnmatchedPayment.reason == reason,
        )
    )
    return next(((amount, currency) for amount, currency in row if amount is not None), None)


async def unmatched_page(session: AsyncSession, paging: Cursor) -> tuple[list[UnmatchedPayment], str | None]:
    return await paginate(
        session,
        select(UnmatchedPayment),
        paging,
        by=[UnmatchedPayment.first_at, UnmatchedPayment.unmatched_id],
        descending=True,
    )


async def refunds_page(session: AsyncSession, status: RefundStatus, paging: Cursor) -> tuple[list[Refund], str | None]:
    found = select(Refund).where(Refund.status == status)
    return await paginate(session, found, paging, by=[Refund.requested_at, Refund.refund_id])


async def references_of(session: AsyncSession, payment_ids: Collection[UUID]) -> dict[UUID, str]:
    """The provider's references of these payments."""
    payments = await session.scalars(select(Payment).where(Payment.payment_id.in_(payment_ids)))
    return {payment.payment_id: payment.reference for payment in payments}


@dataclass(frozen=True, slots=True)
class PostingWithEntries:
    posting: Posting
    entries: Sequence[Entry]


async def ledger_page(
    session: AsyncSession, order_id: UUID | None, paging: Cursor
) -> tuple[list[PostingWithEntries], str | None]:
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
