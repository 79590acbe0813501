"""Cancelling an order that is not paid."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.orders import close_checkouts
from payments.commands.underpayment import return_underpaid
from payments.domain import orders
from payments.domain.orders import OrderStatus
from payments.queries.orders import lines_of, lock_open_orders
from payments.queries.payments import payments_under_way
from payments.tables import BasketItem, Order
from shared.database import fetch, now
from shared.events.payments import OrderCancelled
from shared.messaging import publish


async def cancel_order(session: AsyncSession, order_id: UUID) -> Order:
    """Cancel an order: its pay pages are closed, and whatever arrived or still arrives goes back.

    Raises OrderIsExpired, OrderNotPayable.
    """
    order = await fetch(session, Order, order_id, lock=True)
    at = now(session)
    being_paid = bool(await payments_under_way(session, order_id))
    orders.check_unpaid(order.status, order.expires_at, at, being_paid=being_paid)
    await _leave(session, order)
    return order


async def _leave(session: AsyncSession, order: Order) -> None:
    order.status = OrderStatus.CANCELLED
    left = OrderCancelled(order_id=order.order_id, learner_id=order.learner_id, cancelled_at=now(session))
    publish(session, left)
    await close_checkouts(session, order.order_id)
    await return_underpaid(session, order)


async def leave_others(session: AsyncSession, order: Order, sold: Collection[UUID]) -> None:
    """Cancel the learner's other open orders of the courses in `sold`, so that nobody pays twice.

    An order that had ended, or lost its money, is paid after all and buys them. The other courses of the cancelled
    orders go back into the basket. The order must be locked.
    """
    for other in await lock_open_orders(session, order, sold):
        await _leave(session, other)
        lines = (await lines_of(session, [other.order_id]))[other.order_id]
        rest = [line.course_id for line in lines if line.course_id not in sold]
        if rest:
            items = [{"learner_id": order.learner_id, "course_id": one, "added_at": now(session)} for one in rest]
            await session.execute(insert(BasketItem).values(items).on_conflict_do_nothing())
