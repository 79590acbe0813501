"""The payment provider's callbacks."""

from typing import Annotated

from fastapi import Request, Response

from payments.adapters.provider import PaymentProvider
from payments.api.views import (
    NotificationReceipt,
)
from payments.commands import notifications
from payments.commands.receipts import ReceiptsWait
from payments.domain.payments import BadSignature
from payments.domain.public_urls import PublicUrls
from shared.digests import Digests
from shared.errors import TooLarge
from shared.web import (
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
