"""Placing an order in one look and one statement, for the hour in which everybody does; twin of `orders.place_order`.

Whatever is out of the ordinary is that one's: it says what is the matter.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from payments.commands import orders
from payments.domain.orders import Offer, check_offers
from payments.tables import Order, OrderLine
from shared.database import Database, HotStatement, lock_number
from shared.messaging.hot import HotWrite, LongWay, StoredReply

_BASKET: Final = HotStatement("""
    select item.course_id, course.course_version_id, course.title, course.code, price.amount_minor, price.currency,
        exists (
            select from orders paid join order_lines line using (order_id) join order_confirmations using (order_id)
            where paid.learner_id = item.learner_id and line.course_id = item.course_id
            and (paid.status = 'paid'
                or paid.status = 'reversed' and paid.expires_at <= :at and line.enrolment_id is not null)
            and not exists (
                select from refunds where refunds.order_line_id = line.order_line_id
                and (paid.status = 'reversed' or refunds.status <> 'cancelled'
                    or refunds.payment_id <> order_confirmations.payment_id)
            )
            and not exists (select from ended_enrolments ended where ended.enrolment_id = line.enrolment_id)
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
        select amount_minor, currency from prices
        where prices.course_id = course.course_id and valid_from <= :at
        order by valid_from desc, price_id desc limit 1
    ) price on price.amount_minor > 0
    where learner.learner_id = :learner_id and learner.anonymised_at is null
    order by item.added_at, item.course_id
""")
"""What a registered learner means to buy; without a price what is not on sale."""

_PLACE: Final = HotWrite(
    Order,
    OrderLine,
    looks=[
        """held as (
            select from basket_items where learner_id = :learner_id and course_id = any(:course_ids::uuid[])
            order by course_id for update
        )"""
    ],
    condition="""(select count(*) from held) = cardinality(:course_ids::uuid[])
        and not exists (
            select from orders open_ join order_lines line using (order_id)
            where open_.learner_id = :learner_id and line.course_id = any(:course_ids::uuid[])
            and (open_.status in ('placed', 'underpaid') or open_.status = 'reversed' and open_.expires_at > :at)
        )
        and pg_try_advisory_xact_lock(:turn)""",
    changes=[
        """emptied as (
            delete from basket_items using go
            where ok and learner_id = :learner_id and course_id = any(:course_ids::uuid[])
        )"""
    ],
)
"""Everything is still in the basket, none of it in an open order, and nobody else is at it."""


async def draw_up_order(
    database: Database, learner_id: UUID, course_ids: Sequence[UUID] | None
) -> tuple[Order, list[OrderLine]]:
    """The order to be placed; raises LongWay, and what stands against selling it."""
    at = database.clock()
    rows = await _BASKET.rows(database, learner_id=learner_id, at=at)
    in_basket = {row["course_id"]: row for row in rows}
    wanted = list(in_basket) if course_ids is None else list(dict.fromkeys(course_ids))
    if not in_basket.keys() >= set(wanted) or any(in_basket[course_id]["ordered"] for course_id in wanted):
        raise LongWay
    offers = {
        course_id: Offer(
            course_id, row["course_version_id"], row["title"], row["code"], row["amount_minor"], row["currency"]
        )
        for course_id, row in in_basket.items()
        if row["amount_minor"]
    }
    bought = frozenset(course_id for course_id, row in in_basket.items() if row["bought"])
    check_offers(wanted, offers, bought)
    return orders.draw_up(learner_id, [offers[course_id] for course_id in wanted], at)


async def place_order(database: Database, order: Order, lines: Sequence[OrderLine], reply: StoredReply) -> None:
    """Raises LongWay."""
    await _PLACE.run(
        database,
        [order, *lines],
        [orders.placed(order, lines)],
        reply=reply,
        learner_id=order.learner_id,
        course_ids=[line.course_id for line in lines],
        at=order.placed_at,
        turn=lock_number("basket", order.learner_id),
    )
