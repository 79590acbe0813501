"""Orders: placed, read and cancelled."""

from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

from fastapi import Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from payments.api.receipts import refunded_part_of
from payments.api.views import (
    OrderLineView,
    OrderPaymentView,
    OrderRequest,
    OrderView,
    RefundView,
)
from payments.commands import cancellation, fast_orders
from payments.commands import orders as ordering
from payments.domain.orders import (
    AlreadyBought,
    AlreadyOrdered,
    BasketEmpty,
    CourseNotOnSale,
    CurrenciesDiffer,
    NotInBasket,
    OrderIsExpired,
    OrderNotPayable,
    OrderStatus,
    OwnPrice,
    RegistrationNeeded,
)
from payments.domain.policy import policy_of
from payments.domain.refunds import (
    RefundStatus,
    cooling_off_ends,
)
from payments.queries import orders
from payments.queries.payments import payments_of_orders
from payments.queries.refunds import paid_back_by_line, refunds_of
from payments.tables import Order, OrderLine, Payment, Refund
from shared.database import fetch
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
    page_of,
    view_of,
    views_of,
)

router = Router()


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
    return await _view(session, order)


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
    return page_of(found, await _viewer(session, found), following)


@router.get("/v1/orders/{order_id}", operation_id="read_order")
async def read_order(order_id: UUID, session: ReadSession, caller: CallerOf) -> OrderView:
    """One order with its lines and what became of them."""
    order = await fetch(session, Order, order_id)
    caller.must_own(order.learner_id)
    return await _view(session, order)


async def _view(session: AsyncSession, order: Order) -> OrderView:
    return view_of(order, await _viewer(session, [order]))


async def _viewer(session: AsyncSession, found: Sequence[Order]) -> Callable[[Order], OrderView]:
    ids = [order.order_id for order in found]
    lines, returns = await orders.lines_of(session, ids), await refunds_of(session, ids)
    paid = await payments_of_orders(session, ids)
    back = await paid_back_by_line(session, ids)
    ratified = await orders.ratified_among(session, [line for one in lines.values() for line in one])
    return lambda order: _order_view(
        order, lines[order.order_id], returns[order.order_id], paid[order.order_id], back, ratified
    )


def _order_view(
    order: Order,
    lines: Sequence[OrderLine],
    returns: Sequence[Refund],
    paid: Sequence[Payment],
    back: Mapping[UUID, int],
    ratified: Collection[UUID] = frozenset(),
) -> OrderView:
    refunds, without_refunds = views_of(returns, RefundView.of)
    payments, without_payments = views_of(paid, OrderPaymentView.of)
    # Of several refunds of a line all but one were cancelled with their payment.
    by_line = {
        refund.order_line_id: refund
        for refund in sorted(refunds, key=lambda one: one.status != RefundStatus.CANCELLED)
        if refund.order_line_id
    }
    policy = policy_of(order.regulations_version)

    def money(amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=order.currency)

    return OrderView.model_validate(
        {
            **{name: getattr(order, name) for name in OrderView.model_fields if hasattr(order, name)},
            "status": refunded_part_of(lines, back) if order.status == OrderStatus.PAID else order.status,
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
            "returned": [refund for refund in refunds if refund.order_line_id is None],
            "payments": payments,
            "unreadable": without_refunds + without_payments,
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
    return await _view(session, await cancellation.cancel_order(session, order_id))
