"""What is on sale, baskets, and orders with their lines."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from payments.domain.orders import UNPAID, Offer, OrderStatus
from payments.domain.refunds import Reason, RefundStatus
from payments.queries.payments import is_being_paid
from payments.tables import (
    BasketItem,
    BegunEnrolment,
    Confirmation,
    ContestedCredit,
    EndedEnrolment,
    OfferedCourse,
    Order,
    OrderLine,
    Price,
    RatifiedResult,
    Refund,
)
from shared.paging import PageRequest, paginate


async def offers(session: AsyncSession, course_ids: Iterable[UUID], at: datetime) -> dict[UUID, Offer]:
    """Return those of the courses that are on sale, at the price of that instant: the one that began last."""
    latest = (
        select(Price.amount_minor, Price.currency, Price.set_by)
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
            latest.c.set_by,
        )
        .join(latest, latest.c.amount_minor > 0)
        .where(
            OfferedCourse.course_id.in_(list(course_ids)),
            OfferedCourse.course_version_id.is_not(None),
            OfferedCourse.withdrawn_at.is_(None),
        )
    )
    return {row.course_id: Offer(*row) for row in rows}


_EnrolmentId = InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None]


def _has_ended(enrolment_id: _EnrolmentId) -> ColumnElement[bool]:
    return exists().where(EndedEnrolment.enrolment_id == enrolment_id)


def _lost_its_credit(enrolment_id: _EnrolmentId) -> ColumnElement[bool]:
    return exists().where(ContestedCredit.enrolment_id == enrolment_id, ContestedCredit.revoked)


def _was_passed(enrolment_id: _EnrolmentId) -> ColumnElement[bool]:
    return exists().where(
        RatifiedResult.enrolment_id == enrolment_id,
        RatifiedResult.passed,  # pyright: ignore[reportArgumentType] - older rows have none
    )


_PAYING = aliased(Confirmation)
_IS_NOTE: Final = Refund.reason_code == Reason.NOT_PAID_FOR
WAS_GIVEN_BACK: Final = exists().where(
    Refund.order_line_id == OrderLine.order_line_id,
    or_(~_IS_NOTE, exists().where(_PAYING.payment_id == Refund.payment_id)),
)
"""Also a line that was to be given back before the payment for it was lost, and one that the payment which pays the
order does not pay for."""


async def bought_courses(
    session: AsyncSession, learner_id: UUID, at: datetime, *, beside: UUID | None = None
) -> frozenset[UUID]:
    """Return the courses in which the learner has an enrolment, or will have one, that bars another: one that has
    neither ended nor lost its credit. `beside`: an order that is left out, with the enrolments that were begun for it.

    Of orders that were paid here their lines decide, of all other enrolments what enrolment announced. Where the
    payment is lost the enrolment ends by itself once it is too late to pay again. A course that was passed is not sold
    again, whatever became of its money: its credit would bar the enrolment.
    """
    goes_back = exists().where(
        Refund.order_line_id == OrderLine.order_line_id,
        # A note is of the payment that pays the order, a refund without money of one that did before.
        or_(Refund.status != RefundStatus.CANCELLED, (Refund.payment_id != Confirmation.payment_id) != _IS_NOTE),
    )
    paid = and_(Order.status == OrderStatus.PAID, ~goes_back)
    ending = and_(
        Order.status == OrderStatus.REVERSED,
        Order.expires_at <= at,
        OrderLine.enrolment_id.is_not(None),
        ~WAS_GIVEN_BACK,
    )
    paid_here = (
        select(OrderLine.course_id)
        .join(Order, Order.order_id == OrderLine.order_id)
        .join(Confirmation, Confirmation.order_id == Order.order_id)
        .where(
            Order.learner_id == learner_id,
            Order.order_id != beside if beside else true(),
            or_(and_(or_(paid, ending), ~_has_ended(OrderLine.enrolment_id)), _was_passed(OrderLine.enrolment_id)),
            ~_lost_its_credit(OrderLine.enrolment_id),
        )
    )
    others = select(BegunEnrolment.course_id).where(
        BegunEnrolment.learner_id == learner_id,
        BegunEnrolment.order_id.is_distinct_from(beside),
        ~_IS_OF_PAID_LINE,
        or_(~_has_ended(BegunEnrolment.enrolment_id), _was_passed(BegunEnrolment.enrolment_id)),
        ~_lost_its_credit(BegunEnrolment.enrolment_id),
    )
    return frozenset(await session.scalars(union(paid_here, others)))


_IS_OF_PAID_LINE: Final = exists().where(
    OrderLine.order_line_id == BegunEnrolment.order_line_id,
    func.coalesce(OrderLine.enrolment_id, BegunEnrolment.enrolment_id) == BegunEnrolment.enrolment_id,
    Confirmation.order_id == OrderLine.order_id,
)
"""False where this database has forgotten the order, its payment, or another enrolment of the line, as one that was put
back may have."""


async def begun_for(session: AsyncSession, order_id: UUID, learner_id: UUID) -> frozenset[UUID]:
    """Return the courses in which the learner has, or had, an enrolment that was opened for this order."""
    of_order = BegunEnrolment.learner_id == learner_id, BegunEnrolment.order_id == order_id
    return frozenset(await session.scalars(select(BegunEnrolment.course_id).where(*of_order)))


async def ratified_among(session: AsyncSession, lines: Collection[OrderLine]) -> frozenset[UUID]:
    """Return the enrolments of these lines of which a board has ratified a result."""
    begun = [line.enrolment_id for line in lines if line.enrolment_id is not None]
    if not begun:
        return frozenset()
    found = select(RatifiedResult.enrolment_id).where(RatifiedResult.enrolment_id.in_(begun))
    return frozenset(await session.scalars(found))


async def open_orders(session: AsyncSession, learner_id: UUID, at: datetime) -> dict[UUID, UUID]:
    """Return course -> the learner's order it is in that can still be paid, or be paid again."""
    again = and_(
        Order.status == OrderStatus.REVERSED,
        Order.expires_at > at,
        ~WAS_GIVEN_BACK,
        ~_has_ended(OrderLine.enrolment_id),
    )
    placed = and_(Order.status == OrderStatus.PLACED, or_(Order.expires_at > at, is_being_paid()))
    open_ = or_(placed, Order.status == OrderStatus.UNDERPAID, again)
    rows = await session.execute(
        select(OrderLine.course_id, Order.order_id)
        .join(Order, Order.order_id == OrderLine.order_id)
        .where(Order.learner_id == learner_id, open_)
    )
    return {row.course_id: row.order_id for row in rows}


async def lock_open_orders(session: AsyncSession, order: Order, course_ids: Collection[UUID]) -> Sequence[Order]:
    """Lock and return the learner's other orders of any of these courses that nothing has paid yet."""
    of_them = exists().where(OrderLine.order_id == Order.order_id, OrderLine.course_id.in_(course_ids))
    others = Order.learner_id == order.learner_id, Order.order_id != order.order_id, Order.status.in_(UNPAID)
    statement = select(Order).where(*others, of_them).order_by(Order.order_id).with_for_update(key_share=True)
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A course somebody means to buy; `offer` is None where it is not on sale now."""

    course_id: UUID
    added_at: datetime
    title: str | None
    code: str | None
    offer: Offer | None


async def basket(session: AsyncSession, learner_id: UUID, at: datetime) -> list[BasketLine]:
    """Return what is in a learner's basket, in the order it was put there."""
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
    """Return the lines of each order, by position."""
    found: dict[UUID, list[OrderLine]] = {order_id: [] for order_id in order_ids}
    statement = select(OrderLine).where(OrderLine.order_id.in_(found)).order_by(OrderLine.order_id, OrderLine.position)
    for line in await session.scalars(statement):
        found[line.order_id].append(line)
    return found


async def lines_not_given_back(session: AsyncSession, order_id: UUID) -> list[OrderLine]:
    """Return the order's lines that were not given back, by position."""
    statement = select(OrderLine).where(OrderLine.order_id == order_id, ~WAS_GIVEN_BACK)
    return list(await session.scalars(statement.order_by(OrderLine.position)))


async def lines_still_bought(session: AsyncSession, order: Order, at: datetime) -> list[OrderLine]:
    """Return the order's lines, by position, whose access is as before once its lost money is there: they were not
    given back, their enrolment has not ended, and their course was not bought anew."""
    statement = select(OrderLine).where(
        OrderLine.order_id == order.order_id, ~WAS_GIVEN_BACK, ~_has_ended(OrderLine.enrolment_id)
    )
    lines = (await session.scalars(statement.order_by(OrderLine.position))).all()
    anew = await bought_courses(session, order.learner_id, at, beside=order.order_id)
    return [line for line in lines if line.course_id not in anew]


async def orders_page(session: AsyncSession, learner_id: UUID, paging: PageRequest) -> tuple[list[Order], str | None]:
    return await paginate(
        session,
        select(Order).where(Order.learner_id == learner_id),
        paging,
        by=[Order.placed_at, Order.order_id],
        descending=True,
    )
