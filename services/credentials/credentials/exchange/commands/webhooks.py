"""Notify partners by webhook: order a delivery for each event that concerns them, send it, try again, give up."""

import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.exchange.adapters.webhooks import WebhookClient, signatures
from credentials.exchange.domain import sharing, webhooks
from credentials.exchange.domain.webhooks import Answer, DeliveryState, Document
from credentials.exchange.queries.partners import (
    count_endpoints,
    due_deliveries,
    endpoints_of,
    is_reinstated,
    is_revoked,
    live_secrets,
)
from credentials.exchange.queries.sharing import is_redeemed, live_shares_with_partners
from credentials.exchange.queries.transfers import transfers_holding
from credentials.tables.partners import (
    Partner,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookPosition,
    WebhookSecret,
)
from shared.database import Unknown, advisory_lock, fetch
from shared.database import now as now_of
from shared.emails import enqueue_email
from shared.events import Event
from shared.events.credentials import (
    AwardConferred,
    AwardRescinded,
    AwardRestored,
    AwardSuperseded,
    BadgeIssued,
    BadgeRevoked,
    RecognitionRevoked,
    ShareRevoked,
    TransferCompleted,
    TransferDecided,
    TransferRequested,
    TransferReturned,
    TransferWithdrawn,
    WebhookDisabled,
)
from shared.ids import made_at, new_id
from shared.messaging import publish
from shared.messaging.epochs import START, kept_cursor
from shared.secret_box import SecretBox

_OF_AWARDS: Final = {
    AwardConferred: ("award.conferred", "conferred_at"),
    AwardSuperseded: ("award.superseded", "superseded_at"),
    AwardRescinded: ("award.rescinded", "rescinded_at"),
    AwardRestored: ("award.restored", "restored_at"),
}
_OF_TRANSFERS: Final = {
    TransferRequested: ("transfer.requested", "requested_at"),
    TransferDecided: ("transfer.decided", "decided_at"),
    TransferCompleted: ("transfer.completed", "completed_at"),
    TransferReturned: ("transfer.returned", "returned_at"),
    TransferWithdrawn: ("transfer.withdrawn", "withdrawn_at"),
}
"""Our events about transfers -> the webhook's type, and the event's member that is its instant."""

ANNOUNCED_TO_PARTNERS: Final = (
    BadgeIssued,
    BadgeRevoked,
    RecognitionRevoked,
    ShareRevoked,
    *_OF_AWARDS,
    *_OF_TRANSFERS,
)
"""Our own events that partners may have to be notified of."""

ANNOUNCED_TYPES: Final = tuple(kind.type for kind in ANNOUNCED_TO_PARTNERS)

_LOG = "events"
_SKEW = timedelta(hours=1)
"""The most by which two clocks ever differ."""
_LEASE = timedelta(minutes=1)
"""How long one sender has a delivery; after that it must have died."""


@dataclass(frozen=True)
class SignedDelivery:
    """A delivery ready to be posted."""

    delivery_id: UUID
    url: str
    headers: dict[str, str]
    body: str


# Endpoints


async def register_endpoint(
    session: AsyncSession,
    client_id: str,
    url: str,
    contact_email: str,
    *,
    webhook_client: WebhookClient,
    secret_box: SecretBox,
) -> tuple[WebhookEndpoint, str]:
    """Register an address of a partner. Returns its signing secret, too, which is shown only this once.

    Raises WebhookAddressRefused, TooManyEndpoints, PartnerEnded, Unknown for a partner not known here yet.
    """
    await webhook_client.check(
        url
    )  # looks the name up, bounded in time; rare enough to wait for while the request's idempotency key is held
    await advisory_lock(session, "webhook endpoints", client_id)
    await _must_be_open(session, client_id)
    if await count_endpoints(session, client_id) >= webhooks.MOST_ENDPOINTS:
        raise webhooks.TooManyEndpoints(f"a partner has {webhooks.MOST_ENDPOINTS} addresses at most")
    endpoint = WebhookEndpoint(
        endpoint_id=new_id(), client_id=client_id, url=url, contact_email=contact_email, created_at=now_of(session)
    )
    session.add(endpoint)
    await session.flush()
    return endpoint, _new_secret(session, endpoint.endpoint_id, secret_box)


async def rotate_secret(
    session: AsyncSession, client_id: str, endpoint_id: UUID, overlap: timedelta, *, secret_box: SecretBox
) -> str:
    """Return a new secret, which is shown only this once; older ones sign beside it until the overlap is over.

    Raises Unknown, PartnerEnded, EndpointRemoved, TooManyWebhookSecrets.
    """
    endpoint = await own_endpoint(session, client_id, endpoint_id)
    now = now_of(session)
    live = await live_secrets(session, endpoint.endpoint_id, now)
    if len(live) >= webhooks.MOST_SECRETS:
        raise webhooks.TooManyWebhookSecrets(f"{webhooks.MOST_SECRETS} secrets live already; wait until one has ended")
    for older in live:
        older.expires_at = min(filter(None, (older.expires_at, now + overlap)))
    return _new_secret(session, endpoint_id, secret_box)


async def remove_endpoint(session: AsyncSession, client_id: str, endpoint_id: UUID) -> None:
    """Remove an endpoint, to which nothing more is sent. Safe to repeat. Raises Unknown."""
    endpoint = await _endpoint_of(session, client_id, endpoint_id)
    endpoint.removed_at = endpoint.removed_at or now_of(session)


async def enable_endpoint(session: AsyncSession, client_id: str, endpoint_id: UUID) -> WebhookEndpoint:
    """Enable a disabled endpoint; what was held back meanwhile goes out now. Raises as `own_endpoint`."""
    endpoint = await own_endpoint(session, client_id, endpoint_id)
    endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
    return endpoint


async def ping(session: AsyncSession, client_id: str, endpoint_id: UUID) -> WebhookDelivery:
    """Order a delivery to try the address and the signature with. Raises as `own_endpoint`."""
    endpoint = await own_endpoint(session, client_id, endpoint_id)
    delivery_id = await _order(session, endpoint, new_id(), "webhook.ping", now_of(session), {})
    assert delivery_id is not None, "the event's id is new"
    return await fetch(session, WebhookDelivery, delivery_id)


async def replay(session: AsyncSession, client_id: str, delivery_id: UUID) -> WebhookDelivery:
    """Send a delivery once more from the start, under the same id. Raises as `own_endpoint`."""
    delivery = await own_delivery(session, client_id, delivery_id)
    await own_endpoint(session, client_id, delivery.endpoint_id)
    await session.refresh(delivery, with_for_update={"key_share": True})
    delivery.state, delivery.settled_at = DeliveryState.PENDING, None
    delivery.due_at, delivery.tries = now_of(session), 0
    return delivery


async def own_delivery(session: AsyncSession, client_id: str, delivery_id: UUID) -> WebhookDelivery:
    """Return a delivery of the partner's. Raises Unknown."""
    delivery = await fetch(session, WebhookDelivery, delivery_id)
    endpoint = await fetch(session, WebhookEndpoint, delivery.endpoint_id)
    if endpoint.client_id != client_id:
        raise Unknown(f"no delivery {delivery_id}")
    return delivery


async def own_endpoint(session: AsyncSession, client_id: str, endpoint_id: UUID) -> WebhookEndpoint:
    """Return an endpoint of the partner's. Raises Unknown, PartnerEnded, EndpointRemoved."""
    await _must_be_open(session, client_id)
    endpoint = await _endpoint_of(session, client_id, endpoint_id)
    if endpoint.removed_at is not None:
        raise webhooks.EndpointRemoved("this address was removed; register it anew")
    return endpoint


async def _must_be_open(session: AsyncSession, client_id: str) -> None:
    """Check that a partner is not closed, and lock it so until the transaction ends. Raises PartnerEnded, Unknown."""
    if (await fetch(session, Partner, client_id, lock=True)).closed_at is not None:
        raise webhooks.PartnerEnded("this partner was closed")


async def _endpoint_of(session: AsyncSession, client_id: str, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = await session.get(
        WebhookEndpoint, endpoint_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if endpoint is None or endpoint.client_id != client_id:
        raise Unknown(f"no endpoint {endpoint_id}")
    return endpoint


def _new_secret(session: AsyncSession, endpoint_id: UUID, secret_box: SecretBox) -> str:
    secret_id, secret = new_id(), secrets.token_bytes(32)
    session.add(
        WebhookSecret(
            secret_id=secret_id,
            endpoint_id=endpoint_id,
            wrapped=secret_box.seal(secret, f"webhook secret {secret_id}"),
            created_at=now_of(session),
        )
    )
    return webhooks.shown_secret(secret)


# Notifying


async def notify_partners(session: AsyncSession, event_id: UUID, event: Event) -> None:
    """Order the deliveries that an event of ours calls for; a second time orders nothing.

    The event log may be read anew from its beginning: nobody is notified of what was announced before the endpoint was
    registered, or the consent given.
    """
    by = made_at(event_id) + _SKEW
    match event:
        case ShareRevoked(client_id=str(client_id)) if await is_redeemed(session, event.share_id):
            data: Document = {"share_id": str(event.share_id)}
            await _notify(session, client_id, event_id, by, "consent.withdrawn", event.revoked_at, data)
        case BadgeRevoked(credit_id=UUID() as credit_id):
            if await is_revoked(session, credit_id):
                await _notify_of_credit(
                    session, event_id, by, event.learner_id, credit_id, "credit.revoked", event.revoked_at
                )
        case BadgeIssued(credit_id=UUID() as credit_id):
            if await is_reinstated(session, credit_id, event.badge_id):
                await _notify_of_credit(
                    session, event_id, by, event.learner_id, credit_id, "credit.reinstated", event.issued_at
                )
        case RecognitionRevoked():
            for credit_id in event.credit_ids:  # each a message of its own
                about = uuid5(event_id, str(credit_id))
                await _notify_of_credit(
                    session, about, by, event.learner_id, credit_id, "credit.revoked", event.revoked_at
                )
        case AwardConferred() | AwardSuperseded() | AwardRescinded() | AwardRestored():
            type_, instant = _OF_AWARDS[type(event)]
            at = getattr(event, instant)
            await _notify_of_award(session, event_id, by, event.learner_id, event.award_id, type_, at)
        case TransferRequested() | TransferDecided() | TransferCompleted() | TransferReturned() | TransferWithdrawn():
            type_, instant = _OF_TRANSFERS[type(event)]
            data = {"transfer_id": str(event.transfer_id), "programme_id": str(event.programme_id)}
            await _notify(session, event.client_id, event_id, by, type_, getattr(event, instant), data)
        case _:
            pass


async def position(session: AsyncSession) -> str:
    """Return the cursor up to which our event log has been read."""
    held = await session.get(WebhookPosition, _LOG)
    return START if held is None else kept_cursor(held.cursor, "webhooks")


async def move_on(session: AsyncSession, cursor: str) -> None:
    """Store the cursor up to which our event log has been read."""
    statement = insert(WebhookPosition).values(name=_LOG, cursor=cursor)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[WebhookPosition.name], set_={"cursor": cursor})
    )


async def _notify_of_credit(
    session: AsyncSession, event_id: UUID, by: datetime, learner_id: UUID, credit_id: UUID, type_: str, at: datetime
) -> None:
    """Notify every partner that has a live consent for the credit, redeemed by then, or holds it for a degree."""
    transfers = await transfers_holding(session, credit_id)
    consents = await _consents(session, learner_id, by, lambda scope: scope.covers_credit(credit_id))
    for client_id in dict.fromkeys([*(transfer.client_id for transfer in transfers), *consents]):
        accepted_by = [str(transfer.transfer_id) for transfer in transfers if transfer.client_id == client_id]
        data = {"credit_id": str(credit_id), "share_ids": consents.get(client_id, []), "transfer_ids": accepted_by}
        await _notify(session, client_id, event_id, by, type_, at, data)


async def _notify_of_award(
    session: AsyncSession, event_id: UUID, by: datetime, learner_id: UUID, award_id: UUID, type_: str, at: datetime
) -> None:
    consents = await _consents(session, learner_id, by, lambda scope: scope.covers_award(award_id))
    for client_id, share_ids in consents.items():
        data = {"award_id": str(award_id), "share_id": share_ids[0], "share_ids": share_ids}
        await _notify(session, client_id, event_id, by, type_, at, data)


async def _consents(
    session: AsyncSession, learner_id: UUID, by: datetime, covers: Callable[[sharing.Scope], bool]
) -> dict[str, list[str]]:
    """Return each partner's live consents that cover it, so that a partner with several is notified of an event
    once."""
    found: dict[str, list[str]] = {}
    for share in await live_shares_with_partners(session, learner_id, now_of(session), by):
        if share.client_id is not None and covers(sharing.scope_of(share.scope)):
            found.setdefault(share.client_id, []).append(str(share.share_id))
    return found


async def _notify(
    session: AsyncSession, client_id: str, event_id: UUID, by: datetime, type_: str, at: datetime, data: Document
) -> None:
    """Order a delivery to each endpoint of a partner, unless the partner was closed."""
    if (await fetch(session, Partner, client_id)).closed_at is not None:
        return
    for endpoint in (await session.scalars(endpoints_of(client_id, by))).all():
        await _order(session, endpoint, event_id, type_, at, data)


async def _order(
    session: AsyncSession, endpoint: WebhookEndpoint, event_id: UUID, type_: str, at: datetime, data: Document
) -> UUID | None:
    now = now_of(session)
    statement = insert(WebhookDelivery).values(
        delivery_id=new_id(),
        endpoint_id=endpoint.endpoint_id,
        event_id=event_id,
        type=type_,
        payload=json.dumps(webhooks.message(type_, at, data), separators=(",", ":")),
        state=DeliveryState.PENDING,
        created_at=now,
        due_at=now,
    )
    return await session.scalar(statement.on_conflict_do_nothing().returning(WebhookDelivery.delivery_id))


# Sending


@dataclass(frozen=True)
class Unsendable:
    """A delivery that cannot be signed; it is tried again when its lease is over."""

    delivery_id: UUID
    error: Exception


async def take_due(session: AsyncSession, secret_box: SecretBox, limit: int) -> list[SignedDelivery | Unsendable]:
    """Take the deliveries that are due, signed, under a lease.

    Each is counted as tried before it is posted: after a crash in between it is posted again.
    """
    now = now_of(session)
    signed_deliveries: list[SignedDelivery | Unsendable] = []
    for due in await due_deliveries(session, now, limit):
        delivery = due.delivery
        delivery.tries += 1
        delivery.due_at = now + _LEASE
        live = await live_secrets(session, delivery.endpoint_id, now)
        try:
            opened = [secret_box.open(secret.wrapped, f"webhook secret {secret.secret_id}") for secret in live]
        except Exception as error:  # noqa: BLE001 - its neighbours go out; the job sets it aside
            signed_deliveries.append(Unsendable(delivery.delivery_id, error))
            continue
        name = f"msg_{delivery.delivery_id.hex}"
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures(opened, name, now, delivery.payload),
        }
        signed_deliveries.append(SignedDelivery(delivery.delivery_id, due.url, headers, delivery.payload))
    return signed_deliveries


async def note_answer(session: AsyncSession, delivery_id: UUID, answer: Answer) -> None:
    """Store the outcome of a try: the delivery was accepted, is tried again later, or is given up."""
    now = now_of(session)
    delivery = await fetch(session, WebhookDelivery, delivery_id, lock=True)
    endpoint = await fetch(session, WebhookEndpoint, delivery.endpoint_id, lock=True)
    session.add(
        WebhookAttempt(
            attempt_id=new_id(),
            delivery_id=delivery_id,
            attempted_at=now,
            milliseconds=answer.milliseconds,
            status=answer.status,
            response=answer.response,
            error=answer.error,
        )
    )
    if answer.taken:
        delivery.state, delivery.settled_at, endpoint.failing_since = DeliveryState.DELIVERED, now, None
        return
    failing_since = endpoint.failing_since = endpoint.failing_since or now
    again = None if answer.gone else webhooks.next_try(delivery.tries, now, random.random())  # noqa: S311 - jitter
    if again is not None:
        delivery.due_at = again
    else:
        delivery.state, delivery.settled_at = DeliveryState.FAILED, now
    reason = webhooks.disable_because(answer, given_up=again is None, failing_since=failing_since, now=now)
    if reason is not None and endpoint.disabled_at is None:
        await _disable(session, endpoint, reason, now)


async def _disable(session: AsyncSession, endpoint: WebhookEndpoint, reason: str, now: datetime) -> None:
    endpoint.disabled_at, endpoint.disabled_reason = now, reason
    publish(
        session,
        WebhookDisabled(
            endpoint_id=endpoint.endpoint_id, client_id=endpoint.client_id, reason_code=reason, disabled_at=now
        ),
    )
    await enqueue_email(
        session,
        kind="webhook_disabled",
        about=f"{endpoint.endpoint_id} {now.isoformat()}",
        to=endpoint.contact_email,
        subject="Your webhook address no longer answers",
        body=(
            f"We could not deliver to {endpoint.url} and have stopped trying ({reason}).\n\n"
            "What we have to tell you is kept. Once the address answers, enable the endpoint again\n"
            f"(POST /v1/webhook-endpoints/{endpoint.endpoint_id}/enablement): what was held back is sent then,\n"
            "and each failed delivery can be replayed.\n"
        ),
    )
