"""Placing an order, letting it expire, and closing its checkouts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain import orders
from payments.domain.orders import Offer, OrderStatus
from payments.domain.policy import policy_at
from payments.queries import orders as order_queries
from payments.queries.payments import payments_under_way
from payments.tables import BasketItem, CheckoutAttempt, Learner, Order, OrderLine
from shared.database import advisory_lock, fetch, now
from shared.events.payments import Line, OrderExpired, OrderPlaced
from shared.ids import new_id
from shared.messaging import publish

REGISTRATION_ARRIVES_SECONDS: Final = 2
"""When to ask again where a registration may have been made that has not arrived here yet."""


async def place_order(session: AsyncSession, learner_id: UUID, course_ids: Sequence[UUID] | None) -> Order:
    """Order the basket, or those courses of it, at the present prices, which hold for the quote's time.

    Raises RegistrationNeeded, BasketEmpty, NotInBasket, CourseNotOnSale, AlreadyBought, OwnPrice, AlreadyOrdered,
    CurrenciesDiffer.
    """
    at = now(session)
    await advisory_lock(session, "basket", learner_id)
    learner = await session.get(Learner, learner_id)
    if learner is None:
        raise orders.RegistrationNeeded(
            "no registration is known here; if you registered just now, ask again in some seconds",
            headers={"Retry-After": str(REGISTRATION_ARRIVES_SECONDS)},
        )
    if learner.anonymised_at is not None:
        raise orders.RegistrationNeeded("this account was closed")
    in_basket = (
        await session.scalars(
            select(BasketItem.course_id)
            .where(BasketItem.learner_id == learner_id)
            .order_by(BasketItem.added_at, BasketItem.course_id)
        )
    ).all()
    wanted = in_basket if course_ids is None else list(dict.fromkeys(course_ids))
    absent = [str(course_id) for course_id in wanted if course_id not in in_basket]
    if absent:
        raise orders.NotInBasket("put the course into the basket first", course_ids=absent)
    offers = await order_queries.offers(session, wanted, at)
    orders.check_offers(wanted, offers, await order_queries.bought_courses(session, learner_id, at), learner_id)
    orders.check_not_ordered(wanted, await order_queries.open_orders(session, learner_id, at))

    order, lines = draw_up(learner_id, [offers[course_id] for course_id in wanted], at)
    session.add(order)
    await session.flush()
    session.add_all(lines)
    await session.execute(
        delete(BasketItem).where(BasketItem.learner_id == learner_id, BasketItem.course_id.in_(wanted))
    )
    publish(session, placed(order, lines))
    return order


def draw_up(learner_id: UUID, offers: Sequence[Offer], at: datetime) -> tuple[Order, list[OrderLine]]:
    """Return an order of these courses at their present prices, under the policy in force; nothing is written."""
    policy = policy_at(at)
    order = Order(
        order_id=new_id(),
        learner_id=learner_id,
        status=OrderStatus.PLACED,
        currency=offers[0].currency,
        placed_at=at,
        quote_ends_at=at + policy.quote,
        expires_at=at + policy.order,
        regulations_version=policy.version,
    )
    lines = [
        OrderLine(
            order_line_id=new_id(),
            order_id=order.order_id,
            position=position,
            course_id=offer.course_id,
            course_version_id=offer.course_version_id,
            code=offer.code,
            title=offer.title,
            list_minor=offer.amount_minor,
            discount_minor=0,
            due_minor=offer.amount_minor,
        )
        for position, offer in enumerate(offers, start=1)
    ]
    return order, lines


def placed(order: Order, lines: Sequence[OrderLine]) -> OrderPlaced:
    """Return the event that announces a new order."""
    return OrderPlaced(
        order_id=order.order_id,
        learner_id=order.learner_id,
        lines=tuple(map(announced, lines)),
        currency=order.currency,
        expires_at=order.expires_at,
        placed_at=order.placed_at,
    )


async def expire_order(session: AsyncSession, order_id: UUID) -> None:
    """Let an order expire that nobody paid in time; its sessions at the provider are then closed. It waits for a
    payment that is on its way."""
    order = await fetch(session, Order, order_id, lock=True)
    if order.status != OrderStatus.PLACED or order.expires_at > now(session):
        return
    if not await payments_under_way(session, order_id):
        await let_expire(session, order)


async def let_expire(session: AsyncSession, order: Order) -> None:
    """Let an order expire: it can no longer be paid. The order must be locked."""
    order.status = OrderStatus.EXPIRED
    publish(session, OrderExpired(order_id=order.order_id, learner_id=order.learner_id, expired_at=now(session)))
    await close_checkouts(session, order.order_id)


async def end_repayment(session: AsyncSession, order_id: UUID) -> None:
    """Close the pay pages of an order that was not paid again in time: payers would pay there for nothing."""
    order = await fetch(session, Order, order_id, lock=True)
    if order.status == OrderStatus.REVERSED and order.expires_at <= now(session):
        await close_checkouts(session, order_id)


async def close_repayment_of(session: AsyncSession, learner_id: UUID, enrolment_id: UUID) -> None:
    """Close the pay pages of an order to be paid again for an enrolment that has ended: they ask for too much."""
    of_it = exists().where(OrderLine.order_id == Order.order_id, OrderLine.enrolment_id == enrolment_id)
    lost = select(Order).where(Order.learner_id == learner_id, Order.status == OrderStatus.REVERSED, of_it)
    for order in await session.scalars(lost.order_by(Order.order_id).with_for_update(key_share=True)):
        await close_checkouts(session, order.order_id)


def next_announcement_at(session: AsyncSession, order: Order) -> datetime:
    """Return the instant at which to announce where an order's money is, later than each before, whichever replica's
    clock gave that: subscribers go by the latest. The order must be locked."""
    at = now(session)
    if order.announced_at is not None:
        at = max(at, order.announced_at + timedelta(microseconds=1))
    order.announced_at = at
    return at


async def close_checkouts(session: AsyncSession, order_id: UUID, *, but: UUID | None = None) -> None:
    """Have the order's open sessions at the provider closed soon, so that nobody pays there for nothing. `but`: an
    attempt that stays open."""
    await session.execute(
        update(CheckoutAttempt)
        .where(
            CheckoutAttempt.order_id == order_id,
            CheckoutAttempt.status == "open",
            CheckoutAttempt.attempt_id != but if but else CheckoutAttempt.attempt_id.is_not(None),
        )
        .values(close_at=now(session))
    )


def announced(line: OrderLine) -> Line:
    """Return an order line as events carry it."""
    return Line(
        order_line_id=line.order_line_id,
        course_id=line.course_id,
        course_version_id=line.course_version_id,
        list_minor=line.list_minor,
        discount_minor=line.discount_minor,
        due_minor=line.due_minor,
    )
