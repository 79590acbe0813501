"""Reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.ledger import Account
from payments.domain.orders import Offer, OrderStatus
from payments.domain.refunds import RefundStatus
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


async def bought_courses(session: AsyncSession, learner_id: UUID) -> frozenset[UUID]:
    """Courses of paid lines that were not given back and whose enrolment has not ended."""
    given_back = exists().where(
        Refund.order_line_id == OrderLine.order_line_id, Refund.status != RefundStatus.CANCELLED
    )
    ended = exists().where(EndedEnrolment.enrolment_id == OrderLine.enrolment_id)
    return frozenset(
        await session.scalars(
            select(OrderLine.course_id)
            .join(Order, Order.order_id == OrderLine.order_id)
            .where(Order.learner_id == learner_id, Order.status == OrderStatus.PAID, ~given_back, ~ended)
        )
    )


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


async def refunds_of(session: AsyncSession, order_ids: Iterable[UUID]) -> dict[UUID, list[Refund]]:
    """Refunds by order, the oldest first."""
    found: dict[UUID, list[Refund]] = {order_id: [] for order_id in order_ids}
    for refund in await session.scalars(
        select(Refund).where(Refund.order_id.in_(found)).order_by(Refund.requested_at, Refund.refund_id)
    ):
        found[refund.order_id].append(refund)
    return found


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


async def confirming_payment(session: AsyncSession, order_id: UUID) -> Payment | None:
    """The payment that paid the order."""
    return await session.scalar(
        select(Payment)
        .join(Confirmation, Confirmation.payment_id == Payment.payment_id)
        .where(Confirmation.order_id == order_id)
    )


def disputed_payments() -> Select[UUID]:
    return select(Dispute.payment_id).where(Dispute.closed_at.is_(None))


async def is_disputed(session: AsyncSession, order_id: UUID) -> bool:
    return bool(await session.scalar(select(disputed_payments().where(Dispute.order_id == order_id).exists())))


async def disputes_page(
    session: AsyncSession, *, open_: bool | None, paging: Cursor
) -> tuple[list[Dispute], str | None]:
    statement = select(Dispute)
    if open_ is not None:
        statement = statement.where(Dispute.closed_at.is_(None) if open_ else Dispute.closed_at.is_not(None))
    return await paginate(session, statement, paging, by=[Dispute.opened_at, Dispute.dispute_id])


async def balances(session: AsyncSession, payment_id: UUID) -> Mapping[Account, int]:
    """What stands in each account because of one payment."""
    rows = await session.execute(
        select(Entry.account, func.sum(Entry.amount_minor))
        .join(Posting, Posting.posting_no == Entry.posting_no)
        .where(Posting.payment_id == payment_id)
        .group_by(Entry.account)
    )
    return {Account(account): int(total) for account, total in rows}


async def last_posting(session: AsyncSession, payment_id: UUID, kind: str) -> Mapping[Account, int]:
    """The entries of the newest posting of that kind; nothing where there is none."""
    newest = select(func.max(Posting.posting_no)).where(and_(Posting.payment_id == payment_id, Posting.kind == kind))
    rows = await session.execute(
        select(Entry.account, Entry.amount_minor).where(Entry.posting_no == newest.scalar_subquery())
    )
    return {Account(account): amount for account, amount in rows}


async def orders_page(session: AsyncSession, learner_id: UUID, paging: Cursor) -> tuple[list[Order], str | None]:
    return await paginate(
        session,
        select(Order).where(Order.learner_id == learner_id),
        paging,
        by=[Order.placed_at, Order.order_id],
        descending=True,
    )


async def unmatched_page(session: AsyncSession, paging: Cursor) -> tuple[list[UnmatchedPayment], str | None]:
    return await paginate(
        session,
        select(UnmatchedPayment),
        paging,
        by=[UnmatchedPayment.first_at, UnmatchedPayment.unmatched_id],
        descending=True,
    )


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
