"""The HTTP door: basket, orders, checkout, refunds, receipts, the provider's callbacks, and the books."""

from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.adapters.provider import Payer, PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.api.receipts import given_back_of
from payments.api.views import (
    BasketItemView,
    BasketView,
    CheckoutRequest,
    CheckoutView,
    DisputeClosing,
    DisputeView,
    DisputeWish,
    NotificationReceipt,
    OrderLineView,
    OrderPaymentView,
    OrderView,
    OrderWish,
    PostingView,
    RefundView,
    UnmatchedPaymentView,
)
from payments.commands import basket, cancellation, checkout, disputes, hot_orders, notifications, refunds
from payments.commands import orders as ordering
from payments.domain.addresses import Addresses
from payments.domain.disputes import DisputeAlreadyClosed, DisputeAlreadyOpen, OrderInDispute, UnknownDisputeReason
from payments.domain.orders import (
    AlreadyBought,
    AlreadyOrdered,
    BasketEmpty,
    BasketFull,
    CheckoutRunning,
    CourseNotOnSale,
    CourseUnknown,
    CurrenciesDiffer,
    NotInBasket,
    OrderExpired,
    OrderNotPaid,
    OrderNotPayable,
    OrderStatus,
    OwnOrder,
    PaymentUnderWay,
    PriceChanged,
    RegistrationNeeded,
    ReturnUrlNotAllowed,
)
from payments.domain.payments import BadSignature
from payments.domain.policy import policy_of
from payments.domain.refunds import (
    CoolingOffEnded,
    RefundAlreadyRequested,
    RefundNotFailed,
    RefundStatus,
    cooling_off_ends,
)
from payments.tables import Order, OrderLine, Payment, Refund
from shared.database import Unknown, fetch, now
from shared.digests import Digests
from shared.errors import TooLarge
from shared.web import Call, CallerOf, Idempotent, Money, Page, Paging, Router, Session, refusals, resource
from shared.web.problems import problem

router = Router()

LARGEST_NOTIFICATION = 64 * 1024

Provider = Annotated[PaymentProvider, resource(PaymentProvider)]
Places = Annotated[Addresses, resource(Addresses)]
Keyed = Annotated[Digests, resource(Digests)]


class NotificationTooLarge(TooLarge):
    """A provider's callback is a few kilobytes."""


@router.get("/v1/basket", operation_id="read_basket")
async def read_basket(session: Session, caller: CallerOf) -> BasketView:
    """What the caller means to buy, at present prices."""
    return await _basket(session, caller.own_id)


@router.put(
    "/v1/basket/items/{course_id}",
    operation_id="put_basket_item",
    responses=refusals(CourseUnknown, CourseNotOnSale, BasketFull),
)
async def put_basket_item(course_id: UUID, session: Session, caller: CallerOf) -> BasketView:
    """Put a course into the basket; a second time changes nothing."""
    await basket.put_basket_item(session, caller.own_id, course_id)
    return await _basket(session, caller.own_id)


@router.delete(
    "/v1/basket/items/{course_id}", operation_id="remove_basket_item", status_code=status.HTTP_204_NO_CONTENT
)
async def remove_basket_item(course_id: UUID, session: Session, caller: CallerOf) -> None:
    """Take a course out of the basket; what is not there need not be removed."""
    await basket.remove_basket_item(session, caller.own_id, course_id)


async def _basket(session: AsyncSession, learner_id: UUID) -> BasketView:
    lines = await queries.basket(session, learner_id, now(session))
    totals: dict[str, int] = {}
    for line in lines:
        if line.offer is not None:
            totals[line.offer.currency] = totals.get(line.offer.currency, 0) + line.offer.amount_minor
    return BasketView(
        items=[
            BasketItemView(
                course_id=line.course_id,
                title=line.title,
                code=line.code,
                price=Money.model_validate(line.offer) if line.offer else None,
                on_sale=line.offer is not None,
                added_at=line.added_at,
            )
            for line in lines
        ],
        totals=[Money(amount_minor=amount, currency=currency) for currency, amount in sorted(totals.items())],
    )


@router.post(
    "/v1/orders",
    operation_id="place_order",
    status_code=status.HTTP_201_CREATED,
    dependencies=[Idempotent],
    responses=refusals(
        RegistrationNeeded, BasketEmpty, NotInBasket, CourseNotOnSale, AlreadyBought, AlreadyOrdered, CurrenciesDiffer
    ),
)
async def place_order(
    session: Session, caller: CallerOf, response: Response, wish: OrderWish | None = None
) -> OrderView:
    """Order the basket, or a part of it. Its prices then hold until `quote_ends_at`."""
    order = await ordering.place_order(session, caller.own_id, wish.course_ids if wish else None)
    response.headers["Location"] = f"/v1/orders/{order.order_id}"
    return (await _orders(session, [order]))[0]


@router.hot("place_order")
async def place_order_hot(call: Call) -> Response:
    wish = await call.content(OrderWish)
    order, lines = await hot_orders.draw_up_order(call.database, call.caller.own_id, wish.course_ids if wish else None)
    response = Response(
        _order_view(order, lines, [], [], {}).model_dump_json(),
        status.HTTP_201_CREATED,
        {"Location": f"/v1/orders/{order.order_id}"},
        "application/json",
    )
    await hot_orders.place_order(call.database, order, lines, call.stored(response))
    return response


@router.get("/v1/orders", operation_id="list_orders")
async def list_orders(session: Session, caller: CallerOf, paging: Paging) -> Page[OrderView]:
    """The caller's orders, the newest first."""
    found, following = await queries.orders_page(session, caller.own_id, paging)
    return Page(items=await _orders(session, found), next_cursor=following)


@router.get("/v1/orders/{order_id}", operation_id="read_order")
async def read_order(order_id: UUID, session: Session, caller: CallerOf) -> OrderView:
    """One order with its lines and what became of them."""
    order = await fetch(session, Order, order_id)
    caller.must_own(order.learner_id)
    return (await _orders(session, [order]))[0]


async def _orders(session: AsyncSession, found: Sequence[Order]) -> list[OrderView]:
    ids = [order.order_id for order in found]
    lines, returns = await queries.lines_of(session, ids), await queries.refunds_of(session, ids)
    paid = await queries.payments_of_orders(session, ids)
    back = await queries.paid_back_by_line(session, ids)
    return [
        _order_view(order, lines[order.order_id], returns[order.order_id], paid[order.order_id], back)
        for order in found
    ]


def _order_view(
    order: Order,
    lines: Sequence[OrderLine],
    returns: Sequence[Refund],
    paid: Sequence[Payment],
    back: Mapping[UUID, int],
) -> OrderView:
    # Of several refunds of a line all but one were cancelled with their payment.
    by_line = {
        refund.order_line_id: RefundView.of(refund)
        for refund in sorted(returns, key=lambda one: one.status != RefundStatus.CANCELLED)
        if refund.order_line_id
    }
    policy = policy_of(order.regulations_version)

    def money(amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=order.currency)

    return OrderView.model_validate(
        {
            **{name: getattr(order, name) for name in OrderView.model_fields if hasattr(order, name)},
            "status": given_back_of(lines, back) if order.status == OrderStatus.PAID else order.status,
            "total": money(sum(line.due_minor for line in lines)),
            "lines": [
                OrderLineView.model_validate(
                    {
                        **{name: getattr(line, name) for name in OrderLineView.model_fields if hasattr(line, name)},
                        "list_price": money(line.list_minor),
                        "discount": money(line.discount_minor),
                        "due": money(line.due_minor),
                        "refundable_until": cooling_off_ends(order.paid_at, line.access_at, policy)
                        if order.paid_at
                        else None,
                        "refund": by_line.get(line.order_line_id),
                    }
                )
                for line in lines
            ],
            "returned": [RefundView.of(refund) for refund in returns if refund.order_line_id is None],
            "payments": [OrderPaymentView.of(payment) for payment in paid],
        }
    )


@router.post(
    "/v1/orders/{order_id}/cancellation",
    operation_id="cancel_order",
    dependencies=[Idempotent],
    responses=refusals(OrderExpired, OrderNotPayable),
)
async def cancel_order(order_id: UUID, session: Session, caller: CallerOf) -> OrderView:
    """Leave an order that is not paid: its pay page is closed, and money that is on its way goes back."""
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    return (await _orders(session, [await cancellation.cancel_order(session, order_id)]))[0]


@router.post(
    "/v1/orders/{order_id}/checkout",
    operation_id="start_checkout",
    status_code=status.HTTP_201_CREATED,
    dependencies=[Idempotent],
    responses=refusals(
        ReturnUrlNotAllowed,
        OrderExpired,
        OrderNotPayable,
        CourseNotOnSale,
        AlreadyBought,
        PriceChanged,
        PaymentUnderWay,
        CheckoutRunning,
        ProviderUnavailable,
        ProviderRefused,
    ),
)
async def start_checkout(
    *, order_id: UUID, wish: CheckoutRequest, session: Session, caller: CallerOf, provider: Provider, places: Places
) -> CheckoutView:
    """A pay page for the order, for the whole of one that was underpaid, or for what is to be paid again of one whose
    payment was taken back.

    If the quote is over and a price changed: 409 price_changed with both totals. While a payment is on its way, such as
    a bank transfer: 409 payment_under_way with its reference, unless it is to be paid beside that.
    """
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    payer = Payer(wish.payer.email, wish.payer.given_name, wish.payer.family_name, wish.payer.country)
    back = places.return_url(wish.return_url, order_id)
    beside = wish.pay_beside_payment_under_way
    attempt = await checkout.start_checkout(
        session,
        provider,
        order_id,
        checkout.CheckoutWish(payer, back, wish.accepted_total, beside),
    )
    return CheckoutView(
        order_id=order_id,
        attempt_no=attempt.attempt_no,
        amount=Money.model_validate(attempt),
        pay_url=attempt.pay_url or "",
        expires_at=attempt.session_expires_at,
    )


@router.post(
    "/v1/orders/{order_id}/lines/{line_id}/refund",
    operation_id="request_refund",
    status_code=status.HTTP_201_CREATED,
    dependencies=[Idempotent],
    responses=refusals(OrderNotPaid, OrderInDispute, CoolingOffEnded, RefundAlreadyRequested),
)
async def request_refund(order_id: UUID, line_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Cancel one course within the cooling-off period: access ends now, what was paid for it goes back."""
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    return RefundView.of(await refunds.request_refund(session, order_id, line_id, caller.name))


@router.post(
    "/v1/orders/{order_id}/refunds/{refund_id}/retry",
    operation_id="retry_refund",
    dependencies=[Idempotent],
    responses=refusals(OwnOrder, RefundNotFailed),
)
async def retry_refund(order_id: UUID, refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Finance sends a refund again that the provider will not pay, or the rest of one of which it paid a part."""
    return RefundView.of(await refunds.retry_refund(session, order_id, refund_id, caller.name))


@router.post(
    "/v1/payment-notifications",
    operation_id="receive_payment_notification",
    response_model=NotificationReceipt,
    responses=refusals(BadSignature, NotificationTooLarge),
)
async def receive_payment_notification(
    request: Request, session: Session, provider: Provider, places: Places, digests: Keyed
) -> NotificationReceipt | Response:
    """The payment provider's signed callback. Its signature is checked over the raw bytes before any is read."""
    body = await _read_capped(request)
    try:
        fact = provider.parse_notification(request.headers, body)
    except BadSignature as refusal:
        # Answered, not raised: the record of the rejection must be kept.
        await notifications.reject_notification(session, body, digests)
        return problem(refusal.status, refusal.code, refusal.title, refusal.detail)
    outcome = await notifications.receive_notification(session, provider.name, body, fact, places, digests)
    return NotificationReceipt(outcome=outcome)


async def _read_capped(request: Request) -> bytes:
    """Raises NotificationTooLarge, having read no more than the cap."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_NOTIFICATION:
            raise NotificationTooLarge(f"a notification has {LARGEST_NOTIFICATION} bytes at most")
    return bytes(body)


@router.get("/v1/unmatched-payments", operation_id="list_unmatched_payments")
async def list_unmatched_payments(session: Session, paging: Paging) -> Page[UnmatchedPaymentView]:
    """Money the provider tells of and we cannot place, the newest first; finance looks at each."""
    found, following = await queries.unmatched_page(session, paging)
    return Page(
        items=[
            UnmatchedPaymentView.model_validate(
                {
                    **{name: getattr(one, name) for name in UnmatchedPaymentView.model_fields if name != "amount"},
                    "amount": Money.model_validate(one) if one.amount_minor is not None and one.currency else None,
                }
            )
            for one in found
        ],
        next_cursor=following,
    )


@router.post(
    "/v1/disputes",
    operation_id="open_dispute",
    status_code=201,
    dependencies=[Idempotent],
    responses=refusals(Unknown, OwnOrder, UnknownDisputeReason, OrderNotPaid, DisputeAlreadyOpen),
)
async def open_dispute(wish: DisputeWish, session: Session, caller: CallerOf) -> DisputeView:
    """The payer asks their bank for the money back: enrolments are suspended, claims and refunds wait."""
    dispute = await disputes.open_dispute(
        session, wish.order_id, reason_code=wish.reason_code, case_reference=wish.case_reference, by=caller.name
    )
    return DisputeView.model_validate(dispute)


@router.post(
    "/v1/disputes/{dispute_id}/closing",
    operation_id="close_dispute",
    dependencies=[Idempotent],
    responses=refusals(OwnOrder, DisputeAlreadyClosed),
)
async def close_dispute(dispute_id: UUID, closing: DisputeClosing, session: Session, caller: CallerOf) -> DisputeView:
    """The bank has decided. Won or withdrawn, all goes on; lost, the order counts as reversed."""
    return DisputeView.model_validate(await disputes.close_dispute(session, dispute_id, closing.outcome, caller.name))


@router.get("/v1/disputes", operation_id="list_disputes")
async def list_disputes(
    session: Session,
    paging: Paging,
    open_: Annotated[bool | None, Query(alias="open", description="Only those that are open, or are not")] = None,
) -> Page[DisputeView]:
    """What is disputed, the oldest first."""
    found, following = await queries.disputes_page(session, open_=open_, paging=paging)
    return Page(items=[DisputeView.model_validate(one) for one in found], next_cursor=following)


@router.get("/v1/ledger", operation_id="list_ledger")
async def list_ledger(
    session: Session,
    paging: Paging,
    order_id: Annotated[UUID | None, Query(description="Only this order's postings")] = None,
) -> Page[PostingView]:
    """The books, from the first posting on."""
    found, following = await queries.ledger_page(session, order_id, paging)
    return Page(
        items=[
            PostingView.model_validate(
                {
                    **{name: getattr(one.posting, name) for name in PostingView.model_fields if name != "entries"},
                    "entries": list(one.entries),
                }
            )
            for one in found
        ],
        next_cursor=following,
    )
