"""The jobs of payments. The provider is asked between transactions, never inside one; every due row is handled by
itself, and a bad one is set aside."""

from datetime import timedelta
from typing import Final

from sqlalchemy import exists, or_, select

from payments.commands import erasure, orders, underpayment
from payments.domain.orders import OrderStatus
from payments.domain.policy import policy_at, soonest_underpaid_refund
from payments.jobs import asking, comparing, measuring, refunding
from payments.jobs.asking import ask_about_payments, close_checkouts, find_payments
from payments.jobs.comparing import compare_with_provider
from payments.jobs.measuring import measure_what_waits
from payments.jobs.refunding import follow_refunds, submit_refunds
from payments.queries.payments import is_being_paid, unreturned
from payments.tables import CheckoutAttempt, Order, Payment
from shared.batches import delete_in_batches, in_batches
from shared.due_rows import for_each_in_transaction
from shared.jobs import ENDS, REMOVES, Jobs, Work

LONGEST_SESSION: Final = timedelta(days=2)
"""No session at the provider stays open for so long."""

jobs = Jobs()
for seconds, job in (*asking.EVERY, *refunding.EVERY, *comparing.EVERY):
    jobs.every(seconds)(job)
jobs.every(measuring.EVERY_SECONDS, in_each_process=True)(measuring.measure_what_waits)


@jobs.every(15, effect=ENDS)
async def expire_orders(work: Work) -> None:
    """Let orders expire that nobody paid in time."""
    due = (
        select(Order.order_id)
        .where(Order.status == OrderStatus.PLACED, Order.expires_at <= work.now(), ~is_being_paid())
        .order_by(Order.expires_at)
    )
    await for_each_in_transaction(work, "expire_orders", due, orders.expire_order)


@jobs.every(60, effect=ENDS)
async def end_repayments(work: Work) -> None:
    """Close pay pages that are still open of orders that were not paid again in time."""
    open_ = exists().where(
        CheckoutAttempt.order_id == Order.order_id,
        CheckoutAttempt.status == "open",
        CheckoutAttempt.close_at.is_(None),
    )
    lately = Order.expires_at > work.now() - LONGEST_SESSION, Order.expires_at <= work.now()
    due = select(Order.order_id).where(Order.status == OrderStatus.REVERSED, *lately, open_).order_by(Order.expires_at)
    await for_each_in_transaction(work, "end_repayments", due, orders.end_repayment)


@jobs.every(3600, effect=ENDS)
async def return_underpaid(work: Work) -> None:
    """Give back payments that were too little, once nothing can be bought with them: found by payment, not by order."""
    waiting = Order.status.in_((OrderStatus.PLACED, OrderStatus.UNDERPAID))
    due = (
        select(Order.order_id)
        .join(Payment, Payment.order_id == Order.order_id)
        .where(unreturned(), or_(~waiting, Payment.funded_at <= work.now() - soonest_underpaid_refund()))
        .group_by(Order.order_id)
        .order_by(Order.order_id)
    )
    await for_each_in_transaction(work, "return_underpaid", due, underpayment.give_up_underpaid)


@jobs.every(86400, effect=REMOVES)
async def forget_bodies(work: Work) -> None:
    """Drop raw callbacks, which hold payers' data, and the record of rejected ones, when they are old.

    Callbacks about somebody that came after they were anonymised are dropped at once.
    """
    policy, last = policy_at(work.now()), None
    while True:
        async with work.database.transaction() as session:
            last = await erasure.erase_late_callbacks(session, last)
        if last is None:
            break
    await in_batches(work.database, _FORGET_BODIES, before=work.now() - policy.keep_notification_bodies)
    before = work.now() - policy.keep_rejections
    await delete_in_batches(work.database, "rejected_notifications", "last_at < :before", by="last_at", before=before)


_FORGET_BODIES = """
    update notifications set body = null where body_sha256 = any(array(
        select body_sha256 from notifications where body is not null and received_at < :before
        order by received_at, body_sha256 limit :most
    ))
"""


__all__ = [
    "ask_about_payments",
    "close_checkouts",
    "compare_with_provider",
    "end_repayments",
    "expire_orders",
    "find_payments",
    "follow_refunds",
    "forget_bodies",
    "jobs",
    "measure_what_waits",
    "return_underpaid",
    "submit_refunds",
]
