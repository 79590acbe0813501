"""Money that was too little: held for a while, so that the whole can be paid, and then returned."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.orders import let_expire
from payments.commands.refunds import return_money
from payments.domain.orders import OrderStatus, status_after
from payments.domain.payments import FUNDED
from payments.domain.policy import policy_of
from payments.domain.refunds import Reason
from payments.queries.payments import confirming_payment, payments_under_way, underpaid_payments
from payments.tables import Order
from shared.clock import later
from shared.database import fetch, now


async def reconsider(session: AsyncSession, order: Order) -> None:
    """Set the order's status from its payments. The order must be locked."""
    await session.flush()
    confirming = await confirming_payment(session, order.order_id)
    order.status = status_after(
        OrderStatus(order.status),
        confirming_funded=None if confirming is None else confirming.state in FUNDED,
        underpaid=bool(await underpaid_payments(session, order.order_id)),
    )


async def return_underpaid(session: AsyncSession, order: Order) -> None:
    """Give back, whole, each payment of the order that was too little. The order must be locked."""
    await session.flush()
    for payment in await underpaid_payments(session, order.order_id):
        await return_money(session, order, payment, payment.amount_minor, Reason.UNDERPAID)


async def give_up_underpaid(session: AsyncSession, order_id: UUID) -> None:
    """Return money that was too little as soon as nothing can be bought with it any more: the order is paid or ended,
    or it was not paid in full in time and expires now. It waits for a payment that is on its way."""
    order = await fetch(session, Order, order_id, lock=True)
    await reconsider(session, order)
    if order.status == OrderStatus.UNDERPAID:
        refund_after = policy_of(order.regulations_version).underpaid_refund_after
        underpaid = await underpaid_payments(session, order_id)
        if any(one.funded_at is None or later(one.funded_at, refund_after) > now(session) for one in underpaid):
            return
        if await payments_under_way(session, order_id):
            return
        await let_expire(session, order)
    await return_underpaid(session, order)
