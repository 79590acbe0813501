"""Keep the copy of the partners that the gateway knows."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.tables.partners import Partner, WebhookEndpoint
from credentials.tables.sharing import Share
from shared.messaging import RetryLater


async def open_partner(session: AsyncSession, client_id: str, *scopes: str) -> Partner | None:
    """Return the partner if it is open and has all these scopes, and lock it until the transaction ends.

    Else it could be closed meanwhile, and a consent just given would not end with it. The learner's advisory lock is
    taken before.
    """
    partner = await session.get(Partner, client_id, with_for_update={"read": True}, populate_existing=True)
    if partner is None or partner.closed_at is not None or not set(scopes) <= set(partner.scopes):
        return None
    return partner


async def close_partner(session: AsyncSession, client_id: str, at: datetime) -> None:
    """Close a partner: disable its webhook endpoints and end all consents for it. Raises RetryLater for an unknown
    partner."""
    partner = await session.get(Partner, client_id, with_for_update={"key_share": True}, populate_existing=True)
    if partner is None:
        raise RetryLater(f"the partner {client_id} is not known here yet")
    partner.closed_at = at
    endpoint, share = WebhookEndpoint, Share
    await session.execute(
        update(endpoint)
        .where(endpoint.client_id == client_id, endpoint.disabled_at.is_(None))
        .values(disabled_at=at, disabled_reason="partner_closed")
    )
    standing = (
        select(share.share_id)
        .where(share.client_id == client_id, share.withdrawn_at.is_(None), share.expires_at > at)
        .order_by(share.share_id)
        .with_for_update(key_share=True)
    )
    ids = (await session.scalars(standing)).all()
    await session.execute(update(share).where(share.share_id.in_(ids)).values(expires_at=at))
