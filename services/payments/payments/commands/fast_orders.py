"""The fast path for placing an order: one query and one statement, for the hour in which everybody orders.

Where a request is out of the ordinary it raises Fallback, and `orders.place_order`, its twin, answers it.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from payments.commands import orders
from payments.domain.orders import Offer, check_offers
from payments.tables import Order, OrderLine
from shared.database import Database, RawStatement, lock_number
from shared.idempotency import StoredReply
from shared.messaging.fast_path import Fallback, FastInsert

_BASKET: Final = RawStatement("""
    select item.course_id, course.course_version_id, course.title, course.code, price.amount_minor, price.currency,
        price.set_by,
        exists (
            select from orders paid join order_lines line using (order_id) join order_confirmations using (order_id)
            where paid.learner_id = item.learner_id and line.course_id = item.course_id
            and ((paid.status = 'paid'
                    or paid.status = 'reversed' and paid.expires_at <= :at and line.enrolment_id is not null)
                and not exists (
                    select from refunds where refunds.order_line_id = line.order_line_id
                    and (paid.status = 'reversed' or refunds.status <> 'cancelled'
                        or refunds.payment_id <> order_confirmations.payment_id)
                )
                and not exists (select from ended_enrolments ended where ended.enrolment_id = line.enrolment_id)
                or exists (
                    select from ratified_results result
                    where result.enrolment_id = line.enrolment_id and result.passed
                ))
        ) or exists (
            select from begun_enrolments begun
            where begun.learner_id = item.learner_id and begun.course_id = item.course_id
            and not exists (
                select from order_lines line join order_confirmations using (order_id)
                where line.order_line_id = begun.order_line_id
                and coalesce(line.enrolment_id, begun.enrolment_id) = begun.enrolment_id
            )
            and (not exists (select from ended_enrolments ended where ended.enrolment_id = begun.enrolment_id)
                or exists (
                    select from ratified_results result where result.enrolment_id = begun.enrolment_id and result.passed
                ))
        ) as bought,
        exists (
            select from orders open_ join order_lines line using (order_id)
            where open_.learner_id = item.learner_id and line.course_id = item.course_id
            and (open_.status in ('placed', 'underpaid') or open_.status = 'reversed' and open_.expires_at > :at)
        ) as ordered
    from learners learner
    join basket_items item using (learner_id)
    left join offered_courses course on course.course_id = item.course_id
        and course.course_version_id is not null and course.withdrawn_at is null
    left join lateral (
        select amount_minor, currency, set_by from prices
        where prices.course_id = course.course_id and valid_from <= :at
        order by valid_from desc, price_id desc limit 1
    ) price on price.amount_minor > 0
    where learner.learner_id = :learner_id and learner.anonymised_at is null
    order by item.added_at, item.course_id
""")
"""What is in the basket of a registered learner; without a price where it is not on sale."""

_PLACE: Final = FastInsert(
    Order,
    OrderLine,
    looks=[
        """held as (
            select from basket_items where learner_id = :learner_id and course_id = any(:course_ids::uuid[])
            order by course_id for no key update
        )"""
    ],
    condition="""(select count(*) from held) = cardinality(:course_ids::uuid[])
        and not exists (
            select from orders open_ join order_lines line using (order_id)
            where open_.learner_id = :learner_id and line.course_id = any(:course_ids::uuid[])
            and (open_.status in ('placed', 'underpaid') or open_.status = 'reversed' and open_.expires_at > :at)
        )
        and pg_try_advisory_xact_lock(:basket_lock)""",
    changes=[
        """emptied as (
            delete from basket_items using go
            where ok and learner_id = :learner_id and course_id = any(:course_ids::uuid[])
        )"""
    ],
)
"""Writes the order where everything is still in the basket, none of it in an open order, and no other request holds the
lock of the basket."""


async def draw_up_order(
    database: Database, learner_id: UUID, course_ids: Sequence[UUID] | None
) -> tuple[Order, list[OrderLine]]:
    """Return the order to be placed, with its lines; nothing is written. Raises Fallback, and as `check_offers`."""
    at = database.clock()
    rows = await _BASKET.rows(database, learner_id=learner_id, at=at)
    in_basket = {row["course_id"]: row for row in rows}
    wanted = list(in_basket) if course_ids is None else list(dict.fromkeys(course_ids))
    if not in_basket.keys() >= set(wanted) or any(in_basket[course_id]["ordered"] for course_id in wanted):
        raise Fallback
    offers = {
        course_id: Offer(
            course_id=course_id,
            course_version_id=row["course_version_id"],
            title=row["title"],
            code=row["code"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            set_by=row["set_by"],
        )
        for course_id, row in in_basket.items()
        if row["amount_minor"]
    }
    bought = frozenset(course_id for course_id, row in in_basket.items() if row["bought"])
    check_offers(wanted, offers, bought, learner_id)
    return orders.draw_up(learner_id, [offers[course_id] for course_id in wanted], at)


async def place_order(database: Database, order: Order, lines: Sequence[OrderLine], reply: StoredReply) -> None:
    """Write the order, its event and its reply. Raises Fallback where the basket or the open orders have changed, or
    another request holds the lock of the basket."""
    await _PLACE.run(
        database,
        [order, *lines],
        [orders.placed(order, lines)],
        reply=reply,
        learner_id=order.learner_id,
        course_ids=[line.course_id for line in lines],
        at=order.placed_at,
        basket_lock=lock_number("basket", order.learner_id),
    )
