"""The HTTP door: basket, orders, checkout, refunds, receipts, the provider's callbacks, and the books."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from payments.adapters.provider import Payer, PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.api.receipts import given_back_of
from payments.api.views import (
    BasketItemView,
    BasketView,
    CheckoutRequest,
    CheckoutView,
    NotificationReceipt,
    OrderLineView,
    OrderPaymentView,
    OrderRequest,
    OrderView,
    RefundView,
)
from payments.commands import basket, cancellation, checkout, fast_orders, notifications, refunds
from payments.commands import orders as ordering
from payments.commands.receipts import ReceiptsWait
from payments.domain.disputes import (
    OrderInDispute,
)
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
    OrderIsExpired,
    OrderNotPaid,
    OrderNotPayable,
    OrderStatus,
    OwnPrice,
    PaymentUnderWay,
    PriceNotAccepted,
    RegistrationNeeded,
    ReturnUrlNotAllowed,
)
from payments.domain.payments import BadSignature
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls
from payments.domain.refunds import (
    CoolingOffEnded,
    RefundAlreadyRequested,
    RefundStatus,
    ResultRatified,
    cooling_off_ends,
)
from payments.queries import orders
from payments.queries.payments import payments_of_orders
from payments.queries.refunds import paid_back_by_line, refunds_of
from payments.tables import Order, OrderLine, Payment, Refund
from shared.database import fetch, now
from shared.digests import Digests
from shared.errors import TooLarge
from shared.web import (
    Call,
    CallerOf,
    Idempotent,
    Money,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    error_responses,
    resource,
)
from shared.web.problems import problem

router = Router()

LARGEST_NOTIFICATION = 64 * 1024

Provider = Annotated[PaymentProvider, resource(PaymentProvider)]
PublicUrlsOf = Annotated[PublicUrls, resource(PublicUrls)]
Keyed = Annotated[Digests, resource(Digests)]


class NotificationTooLarge(TooLarge):
    """A provider's callback is a few kilobytes."""


@router.get("/v1/basket", operation_id="read_basket")
async def read_basket(session: ReadSession, caller: CallerOf) -> BasketView:
    """What the caller means to buy, at present prices."""
    return await _basket(session, caller.own_id)


@router.put(
    "/v1/basket/items/{course_id}",
    operation_id="put_basket_item",
    responses=error_responses(RegistrationNeeded, CourseUnknown, CourseNotOnSale, BasketFull),
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
    lines = await orders.basket(session, learner_id, now(session))
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
    responses=error_responses(
        RegistrationNeeded,
        BasketEmpty,
        NotInBasket,
        CourseNotOnSale,
        AlreadyBought,
        OwnPrice,
        AlreadyOrdered,
        CurrenciesDiffer,
    ),
)
async def place_order(
    session: Session, caller: CallerOf, response: Response, body: OrderRequest | None = None
) -> OrderView:
    """Order the basket, or a part of it. Its prices then hold until `quote_ends_at`."""
    order = await ordering.place_order(session, caller.own_id, body.course_ids if body else None)
    response.headers["Location"] = f"/v1/orders/{order.order_id}"
    return (await _orders(session, [order]))[0]


@router.fast_path("place_order")
async def place_order_fast(call: Call) -> Response:
    body = await call.content(OrderRequest)
    order, lines = await fast_orders.draw_up_order(call.database, call.caller.own_id, body.course_ids if body else None)
    response = Response(
        _order_view(order, lines, [], [], {}).model_dump_json(),
        status.HTTP_201_CREATED,
        {"Location": f"/v1/orders/{order.order_id}"},
        "application/json",
    )
    await fast_orders.place_order(call.database, order, lines, call.stored(response))
    return response


@router.get("/v1/orders", operation_id="list_orders")
async def list_orders(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[OrderView]:
    """The caller's orders, the newest first."""
    found, following = await orders.orders_page(session, caller.own_id, paging)
    return Page(items=await _orders(session, found), next_cursor=following)


@router.get("/v1/orders/{order_id}", operation_id="read_order")
async def read_order(order_id: UUID, session: ReadSession, caller: CallerOf) -> OrderView:
    """One order with its lines and what became of them."""
    order = await fetch(session, Order, order_id)
    caller.must_own(order.learner_id)
    return (await _orders(session, [order]))[0]


async def _orders(session: AsyncSession, found: Sequence[Order]) -> list[OrderView]:
    ids = [order.order_id for order in found]
    lines, returns = await orders.lines_of(session, ids), await refunds_of(session, ids)
    paid = await payments_of_orders(session, ids)
    back = await paid_back_by_line(session, ids)
    ratified = await orders.ratified_among(session, [line for one in lines.values() for line in one])
    return [
        _order_view(order, lines[order.order_id], returns[order.order_id], paid[order.order_id], back, ratified)
        for order in found
    ]


def _order_view(
    order: Order,
    lines: Sequence[OrderLine],
    returns: Sequence[Refund],
    paid: Sequence[Payment],
    back: Mapping[UUID, int],
    ratified: Collection[UUID] = frozenset(),
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
                        if order.paid_at and line.enrolment_id not in ratified
                        else None,
                        "result_ratified": line.enrolment_id in ratified,
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
    responses=error_responses(OrderIsExpired, OrderNotPayable),
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
    responses=error_responses(
        ReturnUrlNotAllowed,
        OrderIsExpired,
        OrderNotPayable,
        CourseNotOnSale,
        AlreadyBought,
        OwnPrice,
        PriceNotAccepted,
        PaymentUnderWay,
        CheckoutRunning,
        ProviderUnavailable,
        ProviderRefused,
    ),
)
async def start_checkout(
    *,
    order_id: UUID,
    body: CheckoutRequest,
    session: Session,
    caller: CallerOf,
    provider: Provider,
    public_urls: PublicUrlsOf,
) -> CheckoutView:
    """A pay page for the order, for the whole of one that was underpaid, or for what is to be paid again of one whose
    payment was taken back.

    If the quote is over and a price changed: 409 price_changed with both totals. While a payment is on its way, such as
    a bank transfer: 409 payment_under_way with its reference, unless it is to be paid beside that.
    """
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    payer = Payer(body.payer.email, body.payer.given_name, body.payer.family_name, body.payer.country)
    back = public_urls.return_url(body.return_url, order_id)
    beside = body.pay_beside_payment_under_way
    attempt = await checkout.start_checkout(
        session,
        provider,
        order_id,
        checkout.CheckoutDetails(payer, back, body.accepted_total, beside),
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
    responses=error_responses(OrderNotPaid, OrderInDispute, CoolingOffEnded, ResultRatified, RefundAlreadyRequested),
)
async def request_refund(order_id: UUID, line_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Cancel one course within the cooling-off period, unless its result was ratified: access ends now, what was paid
    for it goes back."""
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    return RefundView.of(await refunds.request_refund(session, order_id, line_id, caller.name))


@router.post(
    "/v1/payment-notifications",
    operation_id="receive_payment_notification",
    response_model=NotificationReceipt,
    responses=error_responses(BadSignature, NotificationTooLarge, ReceiptsWait),
)
async def receive_payment_notification(
    request: Request, session: Session, provider: Provider, public_urls: PublicUrlsOf, digests: Keyed
) -> NotificationReceipt | Response:
    """The payment provider's signed callback. Its signature is checked over the raw bytes before any is read."""
    body = await _read_capped(request)
    try:
        fact = provider.parse_notification(request.headers, body)
    except BadSignature as error:
        # Answered, not raised: the record of the rejection must be kept.
        await notifications.reject_notification(session, body, digests)
        return problem(error.status, error.code, error.title, error.detail)
    outcome = await notifications.receive_notification(session, provider.name, body, fact, public_urls, digests)
    return NotificationReceipt(outcome=outcome)


async def _read_capped(request: Request) -> bytes:
    """Raises NotificationTooLarge, having read no more than the cap."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_NOTIFICATION:
            raise NotificationTooLarge(f"a notification has {LARGEST_NOTIFICATION} bytes at most")
    return bytes(body)
