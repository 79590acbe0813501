"""Receipts: for programs with a token, and as a page behind the address that the payer was sent."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Response
from sqlalchemy.ext.asyncio import AsyncSession

from payments.api.views import ReceiptLine, ReceiptView
from payments.domain.orders import OrderNotPaid, OrderStatus, RefundedPart, refunded_part
from payments.domain.policy import policy_of
from payments.domain.public_urls import PublicUrls, Seller
from payments.domain.refunds import RefundStatus
from payments.queries.payments import confirming_payment
from payments.queries.refunds import lines_paid_by, paid_back_by_line, refunds_of
from payments.tables import Order, OrderLine
from shared.database import Unknown, fetch
from shared.money import money_text
from shared.web import (
    CallerOf,
    Money,
    ReadSession,
    Router,
    error_responses,
    error_responses_as_pages,
    resource,
    view_of,
)
from shared.web.pages import CSP, page

router = Router()
astray = APIRouter(include_in_schema=False)
"""No operation: where a browser ends up with an address that was copied in part."""

Accept = Annotated[str, Header(description="`text/html`: what is not there is answered with a page")]

_HTML = "text/html; charset=utf-8"
_PAGE: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    200: {"content": {"text/html": {}}, "description": "The receipt for people, to read and to print"}
}
_STATES = {
    "paid": "Paid",
    "partly_refunded": "Paid, and in part paid back",
    "refunded": "Paid back",
    "reversed": "The payment was taken back: this proves none",
}


@router.get("/v1/orders/{order_id}/receipt", operation_id="read_receipt", responses=error_responses(OrderNotPaid))
async def read_receipt(
    order_id: UUID, session: ReadSession, caller: CallerOf, seller: Annotated[Seller, resource(Seller)]
) -> ReceiptView:
    """What was paid, how, for what, and what of it has gone back. Of a payment that was taken back it says so."""
    order = await fetch(session, Order, order_id)
    caller.must_own(order.learner_id)
    return await _receipt(session, order, seller)


@router.get(
    "/receipts/{order_id:uuid}/{seal}",
    operation_id="read_receipt_page",
    response_class=Response,
    responses=_PAGE | error_responses_as_pages(Unknown),
)
async def read_receipt_page(
    order_id: UUID,
    seal: Annotated[str, Path(description="From the e-mail: it opens this one receipt")],
    session: ReadSession,
    public_urls: Annotated[PublicUrls, resource(PublicUrls)],
    seller: Annotated[Seller, resource(Seller)],
    accept: Accept = "application/json",
) -> Response:
    """The receipt behind the address in the e-mail, which alone knows it. Of the payer it shows the e-mail address."""
    order = await session.get(Order, order_id) if public_urls.opens_receipt(order_id, seal) else None
    try:
        receipt = await _receipt(session, order, seller) if order else None
    except OrderNotPaid:
        receipt = None
    if order is None or receipt is None:
        return await read_no_receipt_page(accept)
    paid_on = policy_of(order.regulations_version).day(receipt.paid_at)
    return _page(f"Receipt {receipt.receipt_number}", *_cards(receipt, paid_on))


@astray.get("/receipts{rest:path}")  # noqa: FAST003 - the same whatever it is
async def read_no_receipt_page(accept: Accept = "application/json") -> Response:
    """The same whatever is missing of the address: in words for people; raises Unknown for programs."""
    if "text/html" not in accept:
        raise Unknown("there is no receipt at this address")
    response = _page("No such receipt", _MISSING, status=Unknown.status)
    response.headers["Vary"] = "Accept"
    return response


_MISSING = (
    "<h1>No such receipt</h1>\n<p>There is no receipt at this address. Copy the address whole from the e-mail it was "
    "sent to you in.</p>"
)


def _page(title: str, *cards: str, status: int = 200) -> Response:
    headers = {"Content-Security-Policy": CSP, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return Response(page(title, *cards), status, headers=headers, media_type=_HTML)


def _cards(receipt: ReceiptView, paid_on: str) -> list[str]:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(line.title)} <span class="soft">{escape(line.code)}</span></th>'
        f'<td class="number">{_shown(line.paid)}</td>'
        f'<td class="number">{_shown(line.refunded) if line.refunded else ""}</td></tr>'
        for line in receipt.lines
    )
    head = (
        f'<p class="soft">Receipt</p>\n<h1>{escape(receipt.receipt_number)}</h1>\n<p>{_STATES[receipt.status]}</p>\n'
        f"<dl>\n<dt>Sold by</dt><dd>{escape(receipt.seller)}</dd>\n"
        f"<dt>Payer</dt><dd>{escape(receipt.payer_email or 'no longer known')}</dd>\n"
        f"<dt>Paid on</dt><dd>{paid_on}</dd>\n"
        f"<dt>Paid by</dt><dd>{escape(receipt.method.replace('_', ' '))}</dd>\n"
        f"<dt>Payment</dt><dd>{escape(receipt.payment_reference)}</dd>\n"
        f"<dt>Order</dt><dd>{receipt.order_id}</dd>\n</dl>"
    )
    table = (
        f'<table>\n<thead><tr><th>For</th> <th class="number">Paid</th> <th class="number">Gone back</th></tr>'
        "</thead>\n"
        f'<tbody>\n{rows}\n<tr><th scope="row"><strong>Total</strong></th>'
        f'<td class="number"><strong>{_shown(receipt.total)}</strong></td>'
        f'<td class="number">{_shown(receipt.refunded) if receipt.refunded.amount_minor else ""}</td></tr>\n'
        f"</tbody>\n</table>\n<p>VAT: {escape(receipt.vat_treatment)}. {escape(receipt.vat_reason)}</p>"
    )
    return [head, table]


def _shown(amount: Money) -> str:
    return money_text(amount.amount_minor, amount.currency)


async def _receipt(session: AsyncSession, order: Order, seller: Seller) -> ReceiptView:
    """Raises OrderNotPaid, UnreadableRecord."""
    payment = await confirming_payment(session, order.order_id)
    if payment is None or order.receipt_number is None or order.paid_at is None:
        raise OrderNotPaid("there is a receipt once the order is paid", order_status=order.status)
    lines = await lines_paid_by(session, payment)
    gone_back = await paid_back_by_line(session, [order.order_id])
    for refund in (await refunds_of(session, [order.order_id]))[order.order_id]:
        view_of(refund, lambda one: RefundStatus(one.status))  # of one that is not understood it is not known what went
    policy = policy_of(order.regulations_version)

    def money(amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=order.currency)

    return ReceiptView(
        receipt_number=order.receipt_number,
        order_id=order.order_id,
        status="reversed" if order.status == OrderStatus.REVERSED else refunded_part_of(lines, gone_back),
        seller=seller.name,
        payer_email=order.payer_email,
        # Paid again, it is the payment that is named here.
        paid_at=max(order.paid_at, payment.funded_at or order.paid_at),
        method=payment.method,
        payment_reference=payment.reference,
        lines=[
            ReceiptLine(
                code=line.code,
                title=line.title,
                paid=money(line.due_minor),
                refunded=money(gone_back[line.order_line_id]) if line.order_line_id in gone_back else None,
            )
            for line in lines
        ],
        total=money(sum(line.due_minor for line in lines)),
        refunded=money(sum(gone_back.get(line.order_line_id, 0) for line in lines)),
        vat_treatment=policy.vat_treatment,
        vat_reason=policy.vat_reason,
    )


def refunded_part_of(lines: Sequence[OrderLine], gone_back: Mapping[UUID, int]) -> RefundedPart:
    """How much of an order has gone back: nothing, part, or all. `gone_back`: in minor units by line."""
    return refunded_part({line.order_line_id: line.due_minor for line in lines}, gone_back)
