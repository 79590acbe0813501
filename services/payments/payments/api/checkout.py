"""A pay page for an order."""

from typing import Annotated
from uuid import UUID

from fastapi import status

from payments.adapters.provider import Payer, PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.api.views import (
    CheckoutRequest,
    CheckoutView,
)
from payments.commands import checkout
from payments.domain.orders import (
    AlreadyBought,
    CheckoutRunning,
    CourseNotOnSale,
    OrderIsExpired,
    OrderNotPayable,
    OwnPrice,
    PaymentUnderWay,
    PriceNotAccepted,
    ReturnUrlNotAllowed,
)
from payments.domain.public_urls import PublicUrls
from payments.tables import Order
from shared.database import fetch
from shared.web import (
    CallerOf,
    Idempotent,
    Money,
    Router,
    Session,
    error_responses,
    resource,
)

router = Router()

Provider = Annotated[PaymentProvider, resource(PaymentProvider)]
PublicUrlsOf = Annotated[PublicUrls, resource(PublicUrls)]


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
