"""Webhooks: where a partner wants to be notified, and what came of each delivery."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field

from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.api.sharing import partner_of
from credentials.exchange.commands import webhooks
from credentials.exchange.domain.webhooks import (
    DeliveryState,
    EndpointRemoved,
    PartnerEnded,
    TooManyEndpoints,
    TooManyWebhookSecrets,
    WebhookAddressRefused,
)
from credentials.exchange.queries.partners import attempts_of, deliveries_of, endpoints_of
from credentials.tables.partners import WebhookDelivery, WebhookEndpoint
from shared.database import Unknown
from shared.paging import paginate, paginate_each
from shared.secret_box import SecretBox
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    resource,
)
from shared.web.content import Email

router = Router(tags=["webhooks"])

Sending = Annotated[WebhookClient, resource(WebhookClient)]
SecretBoxOf = Annotated[SecretBox, resource(SecretBox)]


_PAYLOAD = (
    '{"type":"consent.withdrawn","timestamp":"2026-11-24T10:15:00Z",'
    '"data":{"share_id":"0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"}}'
)


class EndpointRequest(RequestModel):
    """An address where a partner wants to be notified."""

    url: str = Field(max_length=2048, description="A public https address", examples=["https://hooks.example.edu/mc"])
    contact_email: Email = Field(
        description="An address of your organisation: e-mailed when we stop trying", examples=["it@example.edu"]
    )


class EndpointView(View):
    """An address where a partner is notified; `failing_since`, `disabled_at` and `disabled_reason` are null while
    it works."""

    endpoint_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    url: str = Field(examples=["https://hooks.example.edu/mc"])
    contact_email: str = Field(examples=["it@example.edu"])
    created_at: Instant
    failing_since: Instant | None = Field(description="Since when nothing has succeeded there")
    disabled_at: Instant | None = Field(description="We stopped writing to it then; `enablement` starts again")
    disabled_reason: str | None = Field(examples=["failing"])


class EndpointSecret(View):
    """A new secret that signs what is sent to an address."""

    secret: str = Field(description="Shown this once", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class RegisteredEndpoint(EndpointView, EndpointSecret):
    """A new address where a partner is notified, with the secret that signs what is sent there (Standard Webhooks)."""


class Rotation(RequestModel):
    """How a signing secret is replaced."""

    overlap_hours: int = Field(
        default=24, ge=0, le=168, description="How long messages carry the old signature as well", examples=[24]
    )


class DeliveryView(View):
    """A message to one address of a partner; `settled_at` is null while it is still to be delivered."""

    delivery_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    endpoint_id: UUID
    type: str = Field(examples=["consent.withdrawn"])
    payload: str = Field(description="The body, exactly as it is sent", examples=[_PAYLOAD])
    state: DeliveryState
    tries: int = Field(description="Since it was ordered or replayed", examples=[1])
    created_at: Instant
    due_at: Instant = Field(description="When it is tried next, while pending")
    settled_at: Instant | None


class DeliveryAttemptView(View):
    """One try to deliver a message, and what the address answered."""

    attempted_at: Instant
    milliseconds: int = Field(examples=[120])
    status: int | None = Field(description="HTTP status; null where there was no answer", examples=[200])
    response: str = Field(description="Its first 2,048 characters", examples=["thanks"])
    error: str | None = Field(description="Why it did not count", examples=["answered 503"])


class DeliveryWithAttempts(DeliveryView):
    """A message with every try to deliver it."""

    attempts: Sequence[DeliveryAttemptView]


@router.post(
    "/v1/webhook-endpoints",
    operation_id="register_webhook_endpoint",
    status_code=201,
    responses=error_responses(Unknown, PartnerEnded, WebhookAddressRefused, TooManyEndpoints),
)
async def register_webhook_endpoint(
    new: EndpointRequest, session: Session, caller: CallerOf, webhook_client: Sending, secret_box: SecretBoxOf
) -> RegisteredEndpoint:
    """Be notified at this address; `webhooks` in this document says what is sent. The reply holds a secret, so it is
    not kept for a repeat: it takes no Idempotency-Key, and an endpoint registered twice by mistake is removed."""
    endpoint, secret = await webhooks.register_endpoint(
        session, partner_of(caller), new.url, new.contact_email, webhook_client=webhook_client, secret_box=secret_box
    )
    return RegisteredEndpoint(**EndpointView.model_validate(endpoint).model_dump(), secret=secret)


@router.get("/v1/webhook-endpoints", operation_id="list_webhook_endpoints")
async def list_webhook_endpoints(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[EndpointView]:
    """The addresses at which your organisation is notified."""
    statement = endpoints_of(partner_of(caller))
    rows, cursor = await paginate(session, statement, paging, by=[WebhookEndpoint.endpoint_id])
    return page_of(rows, EndpointView.model_validate, cursor)


@router.delete("/v1/webhook-endpoints/{endpoint_id}", operation_id="remove_webhook_endpoint", status_code=204)
async def remove_webhook_endpoint(endpoint_id: UUID, session: Session, caller: CallerOf) -> Response:
    """Remove a webhook's address: nothing more is sent there."""
    await webhooks.remove_endpoint(session, partner_of(caller), endpoint_id)
    return Response(status_code=204)


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/secrets",
    operation_id="rotate_webhook_secret",
    status_code=201,
    responses=error_responses(PartnerEnded, EndpointRemoved, TooManyWebhookSecrets),
)
async def rotate_webhook_secret(
    endpoint_id: UUID, rotation: Rotation, session: Session, caller: CallerOf, secret_box: SecretBoxOf
) -> EndpointSecret:
    """A new signing secret; messages carry both signatures until the overlap is over. No Idempotency-Key, as above."""
    overlap = timedelta(hours=rotation.overlap_hours)
    secret = await webhooks.rotate_secret(session, partner_of(caller), endpoint_id, overlap, secret_box=secret_box)
    return EndpointSecret(secret=secret)


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/pings",
    operation_id="ping_webhook_endpoint",
    status_code=202,
    dependencies=[Idempotent],
    responses=error_responses(PartnerEnded, EndpointRemoved),
)
async def ping_webhook_endpoint(endpoint_id: UUID, session: Session, caller: CallerOf) -> DeliveryView:
    """Have a `webhook.ping` sent there."""
    return DeliveryView.model_validate(await webhooks.ping(session, partner_of(caller), endpoint_id))


@router.post(
    "/v1/webhook-endpoints/{endpoint_id}/enablement",
    operation_id="enable_webhook_endpoint",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(PartnerEnded, EndpointRemoved),
)
async def enable_webhook_endpoint(endpoint_id: UUID, session: Session, caller: CallerOf) -> EndpointView:
    """Send to a webhook's address again; what was held back meanwhile is sent."""
    return EndpointView.model_validate(await webhooks.enable_endpoint(session, partner_of(caller), endpoint_id))


@router.get("/v1/webhook-deliveries", operation_id="list_webhook_deliveries")
async def list_webhook_deliveries(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    endpoint_id: Annotated[UUID | None, Query()] = None,
    state: Annotated[DeliveryState | None, Query()] = None,
) -> Page[DeliveryView]:
    """What was sent or is to be, newest first. Messages may arrive in any order, and more than once."""
    statements = await deliveries_of(session, partner_of(caller), endpoint_id, state)
    by = [WebhookDelivery.delivery_id]
    rows, cursor = await paginate_each(session, statements, paging, by=by, descending=True)
    return page_of(rows, DeliveryView.model_validate, cursor)


@router.get("/v1/webhook-deliveries/{delivery_id}", operation_id="read_webhook_delivery")
async def read_webhook_delivery(delivery_id: UUID, session: ReadSession, caller: CallerOf) -> DeliveryWithAttempts:
    """A message with every try."""
    delivery = await webhooks.own_delivery(session, partner_of(caller), delivery_id)
    attempts = await attempts_of(session, delivery_id)
    return DeliveryWithAttempts(
        **DeliveryView.model_validate(delivery).model_dump(),
        attempts=[DeliveryAttemptView.model_validate(row) for row in attempts],
    )


@router.post(
    "/v1/webhook-deliveries/{delivery_id}/replay",
    operation_id="replay_webhook_delivery",
    status_code=202,
    dependencies=[Idempotent],
    responses=error_responses(PartnerEnded, EndpointRemoved),
)
async def replay_webhook_delivery(delivery_id: UUID, session: Session, caller: CallerOf) -> DeliveryView:
    """Have a webhook's message sent again under the same id, with all its tries before it."""
    return DeliveryView.model_validate(await webhooks.replay(session, partner_of(caller), delivery_id))
