"""Keep the copy of who the partners are."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from shared.messaging import NotYet


async def close_partner(session: AsyncSession, client_id: str, at: datetime) -> None:
    """It gets no tokens any more, and nothing is sent to it. Raises NotYet for an unknown partner."""
    partner = await session.get(tables.Partner, client_id, with_for_update=True, populate_existing=True)
    if partner is None:
        raise NotYet(f"the partner {client_id} is not known here yet")
    partner.closed_at = at
    endpoint = tables.WebhookEndpoint
    await session.execute(
        update(endpoint)
        .where(endpoint.client_id == client_id, endpoint.disabled_at.is_(None))
        .values(disabled_at=at, disabled_reason="partner_closed")
    )
