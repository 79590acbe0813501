"""Partners' endpoints, and the deliveries to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials.exchange.domain.webhooks import DeliveryState
from credentials.queries.records import is_in_force
from credentials.tables.facts import Revocation
from credentials.tables.issued import Badge
from credentials.tables.partners import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookSecret

_AT_ONCE = 4
"""Deliveries to one endpoint in a batch, so that a slow partner does not keep the others waiting."""


@dataclass(frozen=True)
class Due:
    """A delivery that is due, and the address it goes to."""

    delivery: WebhookDelivery
    url: str


def endpoints_of(client_id: str, registered_by: datetime | None = None) -> Select[WebhookEndpoint]:
    """Select a partner's endpoints, or those registered by an instant."""
    endpoint = WebhookEndpoint
    statement = select(endpoint).where(endpoint.client_id == client_id, endpoint.removed_at.is_(None))
    return statement if registered_by is None else statement.where(endpoint.created_at <= registered_by)


async def count_endpoints(session: AsyncSession, client_id: str) -> int:
    return await session.scalar(select(func.count()).select_from(endpoints_of(client_id).subquery())) or 0


async def live_secrets(session: AsyncSession, endpoint_id: UUID, now: datetime) -> Sequence[WebhookSecret]:
    """Return the secrets of an endpoint that have not ended, newest first."""
    secret = WebhookSecret
    statement = select(secret).where(
        secret.endpoint_id == endpoint_id, or_(secret.expires_at.is_(None), secret.expires_at > now)
    )
    return (await session.scalars(statement.order_by(secret.created_at.desc(), secret.secret_id.desc()))).all()


async def deliveries_of(
    session: AsyncSession, client_id: str, endpoint_id: UUID | None, state: str | None
) -> list[Select[WebhookDelivery]]:
    """Return statements that select a partner's deliveries, one for each endpoint."""
    delivery, endpoint = WebhookDelivery, WebhookEndpoint
    own = select(endpoint.endpoint_id).where(endpoint.client_id == client_id)
    if endpoint_id is not None:
        own = own.where(endpoint.endpoint_id == endpoint_id)
    statements = [select(delivery).where(delivery.endpoint_id == one) for one in await session.scalars(own)]
    return [one if state is None else one.where(delivery.state == state) for one in statements]


async def attempts_of(session: AsyncSession, delivery_id: UUID) -> Sequence[WebhookAttempt]:
    attempt = WebhookAttempt
    statement = select(attempt).where(attempt.delivery_id == delivery_id).order_by(attempt.attempt_id)
    return (await session.scalars(statement)).all()


_FIRST_DUE = text("""
    with recursive busy as (
        (select endpoint_id from webhook_deliveries where state = 'pending' order by endpoint_id limit 1)
        union all
        select next.endpoint_id from busy, lateral (
            select endpoint_id from webhook_deliveries
            where state = 'pending' and endpoint_id > busy.endpoint_id order by endpoint_id limit 1
        ) next
    )
    select first.delivery_id
    from busy join webhook_endpoints endpoint using (endpoint_id), lateral (
        select delivery_id, due_at from webhook_deliveries
        where state = 'pending' and endpoint_id = busy.endpoint_id and due_at <= :now
        order by endpoint_id, due_at, delivery_id limit :at_once
    ) first
    where endpoint.disabled_at is null and endpoint.removed_at is null
    order by first.due_at, first.delivery_id limit :most
""")
"""Steps by the index from one endpoint with pending deliveries to the next; what waits behind the first few costs
nothing."""


async def due_deliveries(session: AsyncSession, now: datetime, limit: int) -> list[Due]:
    """Return the deliveries to send now, locked: a few for each endpoint, without those another sender holds."""
    delivery, endpoint = WebhookDelivery, WebhookEndpoint
    first = await session.scalars(_FIRST_DUE, {"now": now, "at_once": _AT_ONCE, "most": limit})
    statement = (
        select(delivery, endpoint.url)
        .join(endpoint, endpoint.endpoint_id == delivery.endpoint_id)
        # Checked once more with the lock: another sender may have taken it meanwhile.
        .where(delivery.delivery_id.in_(first.all()), delivery.state == DeliveryState.PENDING, delivery.due_at <= now)
        .order_by(delivery.due_at, delivery.delivery_id)
        .with_for_update(of=delivery, skip_locked=True, key_share=True)
    )
    return [Due(row[0], row[1]) for row in await session.execute(statement)]


async def is_revoked(session: AsyncSession, credit_id: UUID) -> bool:
    """Return whether a revocation of the credit is in force."""
    revocation = Revocation
    statement = select(revocation.credit_id).where(revocation.credit_id == credit_id, is_in_force())
    return await session.scalar(statement) is not None


async def is_reinstated(session: AsyncSession, credit_id: UUID, badge_id: UUID) -> bool:
    """Return whether this badge is the one by which the credit was given back: it stands, and an earlier one was
    revoked."""
    badge, before = Badge, aliased(Badge)
    stands = exists().where(badge.badge_id == badge_id, badge.revoked_at.is_(None))
    revoked = exists().where(before.credit_id == credit_id, before.revoked_at.is_not(None))
    return bool(await session.scalar(select(and_(stands, revoked))))
