"""Opening a session at the provider for an order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.adapters.provider import (
    Checkout,
    CheckoutOrder,
    Item,
    Payer,
    PaymentProvider,
    ProviderRefused,
    ProviderUnavailable,
)
from payments.commands.orders import close_checkouts
from payments.domain import orders
from payments.domain.orders import UNPAID, OrderStatus, Quoted
from payments.domain.payments import UNDER_WAY
from payments.domain.policy import Policy, in_utc, policy_of
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment
from shared.clock import CLOCKS_APART
from shared.database import fetch, now
from shared.events.payments import CheckoutStarted
from shared.ids import new_id
from shared.messaging import publish

LONGEST_OPENING: Final = timedelta(seconds=30)
"""Longer than the provider's time-out: an attempt still opening then belongs to a process that died."""
WORTH_REUSING: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CheckoutWish:
    payer: Payer
    return_url: str
    accepted_total_minor: int | None
    """The changed total the payer agrees to."""
    beside_payment_under_way: bool = False
    """The payer will not make the payment that is on its way; should both come, the second goes back."""


async def start_checkout(
    session: AsyncSession, provider: PaymentProvider, order_id: UUID, wish: CheckoutWish
) -> CheckoutAttempt:
    """The payer's way to pay: a session at the provider, or the one still open for the same payer and amount.

    One that was paid in serves no more, whatever came of that.

    Raises OrderExpired, OrderNotPayable, CourseNotOnSale, AlreadyBought, PriceChanged, PaymentUnderWay,
    CheckoutRunning, ProviderUnavailable, ProviderRefused.
    """
    attempt, lines = await _open_attempt(session, order_id, wish)
    if attempt.status == "open":
        return attempt
    # The attempt must be on record before the provider hears of it: a time-out may have made the session, and
    # its payment is then told by our reference. Nor may a transaction stay open while we wait.
    await session.commit()
    try:
        checkout = await provider.create_checkout(_described(attempt, lines, wish), now(session))
    except (ProviderUnavailable, ProviderRefused) as failure:
        attempt = await fetch(session, CheckoutAttempt, attempt.attempt_id, lock=True)
        attempt.status = "unknown" if isinstance(failure, ProviderUnavailable) else "refused"
        attempt.ask_at = attempt.ask_at if attempt.status == "unknown" else None
        await session.commit()
        raise
    attempt = await _opened(session, order_id, attempt.attempt_id, checkout, provider.name)
    if attempt.close_at is not None:
        await session.commit()  # the refusal must not undo what was noted of the session at the provider
        order = await fetch(session, Order, order_id)
        orders.check_payable(order.status, order.expires_at, now(session))
    return attempt


async def _open_attempt(
    session: AsyncSession, order_id: UUID, wish: CheckoutWish
) -> tuple[CheckoutAttempt, Sequence[OrderLine]]:
    at = now(session)
    order = await fetch(session, Order, order_id, lock=True)
    policy = policy_of(order.regulations_version)
    payments = await queries.payments_of(session, order_id)
    if order.status in UNPAID | {OrderStatus.REVERSED} and not wish.beside_payment_under_way:
        _check_no_other(payments)
    orders.check_payable(order.status, order.expires_at, at)
    if order.status == OrderStatus.REVERSED:  # bought already, at the price of then
        lines = await queries.lines_not_given_back(session, order_id)
        if not lines:
            raise orders.OrderNotPayable("all of this order was given back", order_status=order.status)
    else:
        lines = await _offered(session, order, wish, at, policy)
    due = sum(line.due_minor for line in lines)

    used = {payment.attempt_id for payment in payments}
    attempts = await queries.attempts_of(session, order_id)
    for attempt in attempts:
        if attempt.status == "opening":
            if at - attempt.started_at < LONGEST_OPENING:
                raise orders.CheckoutRunning("a checkout is being opened", headers={"Retry-After": "2"})
            attempt.status = "unknown"
        elif attempt.attempt_id not in used and _serves(attempt, due, wish, at):
            return attempt, lines
    await close_checkouts(session, order_id)
    attempt_id = new_id()
    attempt = CheckoutAttempt(
        attempt_id=attempt_id,
        order_id=order_id,
        attempt_no=len(attempts) + 1,
        reference=f"ord_{attempt_id.hex}",
        status="opening",
        amount_minor=due,
        currency=order.currency,
        quote={str(line.order_line_id): line.list_minor for line in lines},
        payer_email=wish.payer.email,
        return_url=wish.return_url,
        started_at=at,
        ask_at=policy.next_question(at, at),
    )
    session.add(attempt)
    await session.flush()
    return attempt, lines


def _check_no_other(payments: Sequence[Payment]) -> None:
    for payment in payments:
        if payment.state in UNDER_WAY:
            raise orders.PaymentUnderWay(
                "a payment of this order is on its way; wait for it, or, where it will not be made, send "
                "pay_beside_payment_under_way: should both come, the second goes back",
                payment_reference=payment.reference,
                method=payment.method,
                amount={"amount_minor": payment.amount_minor, "currency": payment.currency},
                since=in_utc(payment.seen_at),
            )


async def _offered(
    session: AsyncSession, order: Order, wish: CheckoutWish, at: datetime, policy: Policy
) -> Sequence[OrderLine]:
    """The lines at the prices that hold now."""
    lines = (await queries.lines_of(session, [order.order_id]))[order.order_id]
    offers = await queries.offers(session, [line.course_id for line in lines], at)
    bought = await queries.bought_courses(session, order.learner_id, at)
    orders.check_offers([line.course_id for line in lines], offers, bought)
    # A quote that ends later than one made now would was written by a clock that stood ahead: it holds no more.
    if not at < order.quote_ends_at <= at + policy.quote + CLOCKS_APART:
        quoted = [Quoted(line.order_line_id, line.course_id, line.list_minor, line.discount_minor) for line in lines]
        apply_quote(lines, orders.requote(quoted, offers, wish.accepted_total_minor, order.currency))
        order.quote_ends_at = at + policy.quote
    return lines


def _serves(attempt: CheckoutAttempt, due: int, wish: CheckoutWish, at: datetime) -> bool:
    return (
        attempt.status == "open"
        and attempt.close_at is None
        and attempt.amount_minor == due
        and (attempt.payer_email, attempt.return_url) == (wish.payer.email, wish.return_url)
        and attempt.session_expires_at is not None
        and at + WORTH_REUSING < attempt.session_expires_at
    )


def apply_quote(lines: Sequence[OrderLine], prices: Mapping[UUID, int]) -> None:
    for line in lines:
        line.list_minor = prices[line.order_line_id]
        line.due_minor = line.list_minor - line.discount_minor


def _described(attempt: CheckoutAttempt, lines: Sequence[OrderLine], wish: CheckoutWish) -> CheckoutOrder:
    return CheckoutOrder(
        reference=attempt.reference,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        items=[Item(line.code, line.title, line.due_minor) for line in lines],
        payer=wish.payer,
        return_url=wish.return_url,
    )


async def _opened(
    session: AsyncSession, order_id: UUID, attempt_id: UUID, checkout: Checkout, provider: str
) -> CheckoutAttempt:
    order = await fetch(session, Order, order_id, lock=True)  # else who ends it now would not see this session
    attempt = await fetch(session, CheckoutAttempt, attempt_id, lock=True)
    attempt.status = "open"
    attempt.provider_session, attempt.pay_url = checkout.provider_session, checkout.url
    attempt.session_expires_at = checkout.expires_at
    try:
        orders.check_payable(order.status, order.expires_at, now(session))
    except (orders.OrderExpired, orders.OrderNotPayable):  # meanwhile, while the provider thought about it
        attempt.close_at = now(session)
    publish(
        session,
        CheckoutStarted(
            attempt_id=attempt_id,
            order_id=order.order_id,
            learner_id=order.learner_id,
            attempt_no=attempt.attempt_no,
            provider=provider,
            started_at=attempt.started_at,
        ),
    )
    return attempt
