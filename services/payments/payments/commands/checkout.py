"""Opening a checkout session at the provider for an order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import (
    Checkout,
    CheckoutOrder,
    Item,
    Payer,
    PaymentProvider,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnclear,
)
from payments.commands.orders import close_checkouts
from payments.domain import orders
from payments.domain.orders import UNPAID, OrderStatus, Quoted
from payments.domain.payments import UNDER_WAY
from payments.domain.policy import Policy, in_utc, policy_of
from payments.queries import orders as order_queries
from payments.queries.payments import attempts_of, payments_of
from payments.tables import CheckoutAttempt, Order, OrderLine, Payment
from shared.clock import CLOCKS_APART
from shared.database import fetch, now
from shared.events.payments import CheckoutStarted
from shared.ids import new_id
from shared.messaging import publish
from shared.sessions import keep_despite_error, note_failure, outside_transaction

LONGEST_OPENING: Final = timedelta(seconds=30)
"""Longer than the provider's time-out: an attempt still opening then belongs to a process that died, or waits for a
slot at the provider. Another is opened, and that one is closed once it opens."""
WORTH_REUSING: Final = timedelta(minutes=5)
_SOON: Final = {"Retry-After": "2"}


@dataclass(frozen=True, slots=True)
class CheckoutDetails:
    """What a payer gives when they open a checkout."""

    payer: Payer
    return_url: str
    accepted_total_minor: int | None
    """The changed total the payer agrees to."""
    beside_payment_under_way: bool = False
    """The payer will not make the payment that is on its way; should both come, the second goes back."""


async def start_checkout(
    session: AsyncSession, provider: PaymentProvider, order_id: UUID, details: CheckoutDetails
) -> CheckoutAttempt:
    """Open a checkout session at the provider, or return the one still open for the same payer and amount.

    A session in which a payment was made is not used again, whatever came of the payment.

    Raises OrderIsExpired, OrderNotPayable, CourseNotOnSale, AlreadyBought, OwnPrice, PriceNotAccepted, PaymentUnderWay,
    CheckoutRunning, ProviderUnavailable, ProviderRefused.
    """
    attempt, lines = await _open_attempt(session, order_id, details)
    if attempt.status == "open":
        return attempt
    attempt_id = attempt.attempt_id
    # The attempt must be on record before the provider is asked: a call that timed out may have made the session, and
    # its payment is then found by our reference.
    try:
        async with outside_transaction(session):
            checkout = await provider.create_checkout(_described(attempt, lines, details), now(session))
        attempt = await _opened(session, order_id, attempt_id, checkout, provider.name)
    except (ProviderUnavailable, ProviderRefused) as failure:
        async with note_failure(session):
            attempt = await fetch(session, CheckoutAttempt, attempt_id, lock=True)
            attempt.status = "unknown" if isinstance(failure, ProviderUnavailable) else "refused"
            attempt.ask_at = attempt.ask_at if attempt.status == "unknown" else None
        raise
    if attempt.close_at is not None:
        await keep_despite_error(session)  # the session exists at the provider, and must be closed
        order = await fetch(session, Order, order_id)
        orders.check_payable(order.status, order.expires_at, now(session))
        raise orders.CheckoutRunning("another checkout was opened meanwhile", headers=_SOON)
    return attempt


async def _open_attempt(
    session: AsyncSession, order_id: UUID, details: CheckoutDetails
) -> tuple[CheckoutAttempt, Sequence[OrderLine]]:
    at = now(session)
    order = await fetch(session, Order, order_id, lock=True)
    policy = policy_of(order.regulations_version)
    payments = await payments_of(session, order_id)
    if order.status in UNPAID | {OrderStatus.REVERSED} and not details.beside_payment_under_way:
        _check_no_other(payments)
    orders.check_payable(order.status, order.expires_at, at)
    if order.status == OrderStatus.REVERSED:  # bought already, at the price of then
        lines = await order_queries.lines_still_bought(session, order, at)
        if not lines:
            reason = "every course of this order was given back, has ended or was bought anew"
            raise orders.OrderNotPayable(reason, order_status=order.status)
    else:
        lines = await _offered(session, order, details, at, policy)
    due = sum(line.due_minor for line in lines)

    used = {payment.attempt_id for payment in payments}
    attempts = await attempts_of(session, order_id)
    for attempt in attempts:
        if attempt.status == "opening":
            if at - attempt.started_at < LONGEST_OPENING:
                raise orders.CheckoutRunning("a checkout is being opened", headers=_SOON)
            attempt.status = "unknown"
        elif attempt.attempt_id not in used and _serves(attempt, due, details, at):
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
        payer_email=details.payer.email,
        return_url=details.return_url,
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
    session: AsyncSession, order: Order, details: CheckoutDetails, at: datetime, policy: Policy
) -> Sequence[OrderLine]:
    """Return the order's lines, at the prices that hold now. Raises as `check_offers` and `requote`."""
    lines = (await order_queries.lines_of(session, [order.order_id]))[order.order_id]
    offers = await order_queries.offers(session, [line.course_id for line in lines], at)
    bought = await order_queries.bought_courses(session, order.learner_id, at)
    orders.check_offers([line.course_id for line in lines], offers, bought, order.learner_id)
    # A quote that ends later than one made now would was written by a clock that stood ahead: it holds no more.
    if not at < order.quote_ends_at <= at + policy.quote + CLOCKS_APART:
        quoted = [Quoted(line.order_line_id, line.course_id, line.list_minor, line.discount_minor) for line in lines]
        apply_quote(lines, orders.requote(quoted, offers, details.accepted_total_minor, order.currency))
        order.quote_ends_at = at + policy.quote
    return lines


def _serves(attempt: CheckoutAttempt, due: int, details: CheckoutDetails, at: datetime) -> bool:
    return (
        attempt.status == "open"
        and attempt.close_at is None
        and attempt.amount_minor == due
        and (attempt.payer_email, attempt.return_url) == (details.payer.email, details.return_url)
        and attempt.session_expires_at is not None
        and at + WORTH_REUSING < attempt.session_expires_at
    )


def apply_quote(lines: Sequence[OrderLine], prices: Mapping[UUID, int]) -> None:
    """Set the lines' list prices, and what is due of each, from the quoted price by line."""
    for line in lines:
        line.list_minor = prices[line.order_line_id]
        line.due_minor = line.list_minor - line.discount_minor


def _described(attempt: CheckoutAttempt, lines: Sequence[OrderLine], details: CheckoutDetails) -> CheckoutOrder:
    return CheckoutOrder(
        reference=attempt.reference,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        items=[Item(line.code, line.title, line.due_minor) for line in lines],
        payer=details.payer,
        return_url=details.return_url,
    )


async def _opened(
    session: AsyncSession, order_id: UUID, attempt_id: UUID, checkout: Checkout, provider: str
) -> CheckoutAttempt:
    """Note the session that the provider has opened. Raises ProviderUnclear: it is another checkout's, as where a proxy
    repeats an answer."""
    order = await fetch(session, Order, order_id, lock=True)  # else whoever ends it now would not see this session
    attempt = await fetch(session, CheckoutAttempt, attempt_id, lock=True)
    overtaken = attempt.status != "opening"
    attempt.status = "open"
    attempt.session_expires_at = checkout.expires_at
    try:
        async with session.begin_nested():
            attempt.provider_session, attempt.pay_url = checkout.provider_session, checkout.url
    except IntegrityError as error:
        raise ProviderUnclear("the payment provider named another's pay page; try again", headers=_SOON) from error
    try:
        orders.check_payable(order.status, order.expires_at, now(session))
    except (orders.OrderIsExpired, orders.OrderNotPayable):  # ended while the provider was asked
        overtaken = True
    if overtaken:
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
