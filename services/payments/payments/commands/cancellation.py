"""Leaving an order that is not paid."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.commands.orders import close_checkouts
from payments.commands.underpayment import return_underpaid
from payments.domain import orders
from payments.domain.orders import OrderStatus
from payments.tables import Order
from shared.database import fetch, now
from shared.events.payments import OrderCancelled
from shared.messaging import publish


async def cancel_order(session: AsyncSession, order_id: UUID) -> Order:
    """Nothing of it can be paid any more: its pay pages are closed, and whatever arrived or still arrives goes back.

    Raises OrderExpired, OrderNotPayable.
    """
    order = await fetch(session, Order, order_id, lock=True)
    at = now(session)
    being_paid = bool(await queries.payments_under_way(session, order_id))
    orders.check_unpaid(order.status, order.expires_at, at, being_paid=being_paid)
    order.status = OrderStatus.CANCELLED
    publish(session, OrderCancelled(order_id=order_id, learner_id=order.learner_id, cancelled_at=at))
    await close_checkouts(session, order_id)
    await return_underpaid(session, order)
    return order
