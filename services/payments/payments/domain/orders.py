"""Baskets and orders: what may be bought, at which price, for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from payments.domain.policy import Policy, in_utc
from shared.errors import Conflict, Forbidden, Invalid, NotFound


class OrderStatus(StrEnum):
    PLACED = "placed"
    UNDERPAID = "underpaid"
    """Less arrived than was due; it goes back unless the whole is paid."""
    PAID = "paid"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    """The learner cancelled it, or paid another order of one of its courses; money that still arrives goes back."""
    REVERSED = "reversed"
    """It was paid, and the money is gone again; for a while it can be paid again."""


RefundedPart = Literal["paid", "partly_refunded", "refunded"]
"""How a paid order is shown: by how much of it went back."""

UNPAID = frozenset({OrderStatus.PLACED, OrderStatus.UNDERPAID})
"""Not paid yet: the learner may cancel the order."""
ENDED_UNPAID = frozenset({OrderStatus.EXPIRED, OrderStatus.CANCELLED})


class CourseUnknown(NotFound):
    """There is no such course."""

    remedy = "Look for the course with `GET /v1/courses`."


class CourseNotOnSale(Conflict):
    """The course is withdrawn, or has no price yet."""

    remedy = "Choose another course, or wait until it is on sale."


class BasketFull(Conflict):
    """A basket holds only so many courses."""

    remedy = "Order what is in the basket, or take something out."


class BasketEmpty(Conflict):
    """An order needs at least one course in the basket."""

    remedy = "Put a course into the basket first."


class NotInBasket(Conflict):
    """Only what is in the basket can be ordered."""

    remedy = "Put the course into the basket first."


class RegistrationNeeded(Conflict):
    """Only a registered learner orders: the short form and its declaration come first. A registration made just now
    counts a moment later."""

    remedy = "Register first: `POST /v1/learners`; who has just done so asks again in some seconds."


class AlreadyBought(Conflict):
    """The learner has paid for this course, and that enrolment has neither ended nor failed."""

    remedy = "Study in the enrolment you have: `GET /v1/enrolments`."


class AlreadyOrdered(Conflict):
    """The course is in another order that can still be paid: pay that one, or leave it first. One whose payment was
    taken back can be paid again, and ends by itself."""

    remedy = "Pay the order that the answer names, or cancel it."


class PaymentUnderWay(Conflict):
    """A payment of this order is on its way, such as a bank transfer; a second one would pay twice."""

    remedy = "Wait for the payment, or send `pay_beside_payment_under_way` if it will not be made."


class CurrenciesDiffer(Conflict):
    """One order is paid in one currency."""

    remedy = "Order the courses of each currency by themselves."


class PriceNotAccepted(Conflict):
    """The quote is over and the price is another now; nothing is charged that was not agreed to."""

    code = "price_changed"
    remedy = "Send the checkout again with the answer's `current.amount_minor` as `accepted_total`, or leave the order."


class OrderIsExpired(Conflict):
    """The order can no longer be paid; place a new one."""

    code = "order_expired"
    remedy = "Place a new order."


class OrderNotPayable(Conflict):
    """The order is paid or cancelled, or nothing of it is left to pay: each course was given back, has ended or was
    bought anew."""

    remedy = "Read the order: if nothing is paid there, place a new one."


class OwnPrice(Forbidden):
    """Nobody buys at a price they set themselves."""

    remedy = "Have another editor set the price."


class OwnOrder(Forbidden):
    """Finance decides nothing about an order of their own: somebody else does."""

    remedy = "Leave it to a colleague."


class OrderNotPaid(Conflict):
    """There is a receipt, or a refund, only for what was paid."""

    remedy = "Pay the order first. A dispute about money that is lost again names it in `payment_reference`."


class CheckoutRunning(Conflict):
    """A checkout for this order is being opened at this moment."""

    remedy = "Ask again in some seconds."


class ReturnUrlNotAllowed(Invalid):
    """The payer may be sent back only to this platform or to a configured front end."""

    remedy = "Name an address of this platform, or have the front end's origin added to `MC_ORIGINS`."


@dataclass(frozen=True, slots=True)
class Offer:
    """A course on sale at its present price."""

    course_id: UUID
    course_version_id: UUID
    title: str
    code: str
    amount_minor: int
    currency: str
    set_by: str | None = None
    """The account that set this price."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """The price quoted for a line of an order. `list_minor` less the discount is due."""

    order_line_id: UUID
    course_id: UUID
    list_minor: int
    discount_minor: int

    @property
    def due_minor(self) -> int:
        return self.list_minor - self.discount_minor


def check_offers(wanted: Sequence[UUID], offers: Mapping[UUID, Offer], bought: frozenset[UUID], buyer: UUID) -> None:
    """Check that the buyer may order these courses together.

    Raises BasketEmpty, CourseNotOnSale, AlreadyBought, OwnPrice or CurrenciesDiffer, naming the courses at fault.
    """
    if not wanted:
        raise BasketEmpty("put a course into the basket first")
    missing = [str(course_id) for course_id in wanted if course_id not in offers]
    if missing:
        raise CourseNotOnSale("not every course is on sale", course_ids=missing)
    again = [str(course_id) for course_id in wanted if course_id in bought]
    if again:
        raise AlreadyBought("a course here is bought already", course_ids=again)
    own = [str(course_id) for course_id in wanted if offers[course_id].set_by == str(buyer)]
    if own:
        raise OwnPrice("you set the present price of a course here", course_ids=own)
    if len({offers[course_id].currency for course_id in wanted}) > 1:
        raise CurrenciesDiffer("order courses of different currencies separately")


def check_payable(status: str, expires_at: datetime, now: datetime) -> None:
    """Check that an order can be paid, for the first time or again. Raises OrderIsExpired or OrderNotPayable."""
    ends = status in {OrderStatus.PLACED, OrderStatus.REVERSED}
    if status == OrderStatus.EXPIRED or (ends and now >= expires_at):
        raise OrderIsExpired("this order can no longer be paid", expired_at=in_utc(expires_at))
    if status not in UNPAID and status != OrderStatus.REVERSED:
        raise OrderNotPayable(f"the order is {status}", order_status=status)


def check_unpaid(status: str, expires_at: datetime, now: datetime, *, being_paid: bool) -> None:
    """Check that an order waits for its first payment; `being_paid`: one is on its way. Raises OrderIsExpired or
    OrderNotPayable."""
    if being_paid and status == OrderStatus.PLACED:
        return
    if status == OrderStatus.REVERSED:
        raise OrderNotPayable(f"the order is {status}", order_status=status)
    check_payable(status, expires_at, now)


def check_not_ordered(wanted: Sequence[UUID], open_orders: Mapping[UUID, UUID]) -> None:
    """Check that no course is in an order that can still be paid. `open_orders`: course -> that order. Raises
    AlreadyOrdered."""
    again = {str(course_id): str(open_orders[course_id]) for course_id in wanted if course_id in open_orders}
    if again:
        raise AlreadyOrdered(
            "a course here is in an order that can still be paid",
            course_ids=list(again),
            order_ids=sorted(set(again.values())),
        )


def status_after(current: OrderStatus, *, confirming_funded: bool | None, underpaid: bool) -> OrderStatus:
    """Return the status of an order, from its payments.

    `confirming_funded`: whether the money that paid it is there; None where nothing did. `underpaid`: whether money is
    held that was too little.
    """
    if confirming_funded is not None:
        return OrderStatus.PAID if confirming_funded else OrderStatus.REVERSED
    if current in ENDED_UNPAID:
        return current
    return OrderStatus.UNDERPAID if underpaid else OrderStatus.PLACED


def refunded_part(due: Mapping[UUID, int], gone_back: Mapping[UUID, int]) -> RefundedPart:
    """Return how much of a paid order has gone back. `due`: the price by line; `gone_back`: what was paid back of it;
    both in minor units."""
    if not any(gone_back.get(line_id) for line_id in due):
        return "paid"
    return (
        "refunded" if all(gone_back.get(line_id, 0) >= price for line_id, price in due.items()) else "partly_refunded"
    )


def requote(
    quoted: Sequence[Quoted], offers: Mapping[UUID, Offer], accepted_minor: int | None, currency: str
) -> Mapping[UUID, int]:
    """Return the list price by line once the quote is over.

    Raises PriceNotAccepted where a price changed and the new total is not accepted.

    Discounts are in absolute amounts and stay.
    """
    now = {line.order_line_id: offers[line.course_id].amount_minor for line in quoted}
    before, after = (
        sum(line.due_minor for line in quoted),
        sum(now[line.order_line_id] - line.discount_minor for line in quoted),
    )
    if any(line.list_minor != now[line.order_line_id] for line in quoted) and accepted_minor != after:
        raise PriceNotAccepted(
            "the price changed after the quote ended; accept the new total or leave the order",
            quoted={"amount_minor": before, "currency": currency},
            current={"amount_minor": after, "currency": currency},
            lines=[
                {
                    "order_line_id": str(line.order_line_id),
                    "course_id": str(line.course_id),
                    "quoted_minor": line.list_minor,
                    "current_minor": now[line.order_line_id],
                }
                for line in quoted
            ],
        )
    return now


def receipt_number(number: int, at: datetime, policy: Policy) -> str:
    """Return a receipt's number, `MC-year-number`; the year is that of the policy's time zone."""
    return f"MC-{at.astimezone(policy.time_zone).year}-{number:06d}"
