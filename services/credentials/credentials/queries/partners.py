"""Partners' addresses, and what is to be sent there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.domain.webhooks import DeliveryState
from credentials.queries.records import is_in_force

_AT_ONCE = 4
"""Deliveries to one address in a batch: a slow partner does not keep the others waiting."""


@dataclass(frozen=True)
class Due:
    delivery: tables.WebhookDelivery
    url: str


def endpoints_of(client_id: str, registered_by: datetime | None = None) -> Select[tables.WebhookEndpoint]:
    endpoint = tables.WebhookEndpoint
    statement = select(endpoint).where(endpoint.client_id == client_id, endpoint.removed_at.is_(None))
    return statement if registered_by is None else statement.where(endpoint.created_at <= registered_by)


async def count_endpoints(session: AsyncSession, client_id: str) -> int:
    return await session.scalar(select(func.count()).select_from(endpoints_of(client_id).subquery())) or 0


async def live_secrets(session: AsyncSession, endpoint_id: UUID, now: datetime) -> Sequence[tables.WebhookSecret]:
    """Newest first."""
    secret = tables.WebhookSecret
    statement = select(secret).where(
        secret.endpoint_id == endpoint_id, or_(secret.expires_at.is_(None), secret.expires_at > now)
    )
    return (await session.scalars(statement.order_by(secret.created_at.desc(), secret.secret_id.desc()))).all()


async def deliveries_of(
    session: AsyncSession, client_id: str, endpoint_id: UUID | None, state: str | None
) -> list[Select[tables.WebhookDelivery]]:
    """A partner's, one statement for each of its addresses."""
    delivery, endpoint = tables.WebhookDelivery, tables.WebhookEndpoint
    own = select(endpoint.endpoint_id).where(endpoint.client_id == client_id)
    if endpoint_id is not None:
        own = own.where(endpoint.endpoint_id == endpoint_id)
    statements = [select(delivery).where(delivery.endpoint_id == one) for one in await session.scalars(own)]
    return [one if state is None else one.where(delivery.state == state) for one in statements]


async def attempts_of(session: AsyncSession, delivery_id: UUID) -> Sequence[tables.WebhookAttempt]:
    attempt = tables.WebhookAttempt
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
"""From one address where something waits to the next, by the index: what waits behind the first few costs nothing."""


async def due_deliveries(session: AsyncSession, now: datetime, limit: int) -> list[Due]:
    """What is to be sent now, locked; a few for each address, and what another sender holds is left to it."""
    delivery, endpoint = tables.WebhookDelivery, tables.WebhookEndpoint
    first = await session.scalars(_FIRST_DUE, {"now": now, "at_once": _AT_ONCE, "most": limit})
    statement = (
        select(delivery, endpoint.url)
        .join(endpoint, endpoint.endpoint_id == delivery.endpoint_id)
        # Looked at once more with the lock: another sender may have taken it meanwhile.
        .where(delivery.delivery_id.in_(first.all()), delivery.state == DeliveryState.PENDING, delivery.due_at <= now)
        .order_by(delivery.due_at, delivery.delivery_id)
        .with_for_update(of=delivery, skip_locked=True)
    )
    return [Due(row[0], row[1]) for row in await session.execute(statement)]


async def is_revoked(session: AsyncSession, credit_id: UUID) -> bool:
    revocation = tables.Revocation
    statement = select(revocation.credit_id).where(revocation.credit_id == credit_id, is_in_force())
    return await session.scalar(statement) is not None


async def is_reinstated(session: AsyncSession, credit_id: UUID, at: datetime) -> bool:
    """Whether it had been given back by that instant, and stands."""
    given = tables.Reinstatement
    given_back = select(exists().where(given.credit_id == credit_id, given.reinstated_at <= at))
    return bool(await session.scalar(given_back)) and not await is_revoked(session, credit_id)
