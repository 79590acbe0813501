"""What a person does about parked messages: list, show, redrive (edited if need be), discard with a reason."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, fetch, now
from shared.errors import Conflict
from shared.messaging.claim import claim
from shared.messaging.inbox import Inbox
from shared.messaging.tables import Incoming, Parked


class AlreadyResolved(Conflict):
    """A parked message is redriven or discarded once."""


async def list_parked(session: AsyncSession) -> Sequence[Parked]:
    return (await session.scalars(select(Parked).where(Parked.resolved_at.is_(None)).order_by(Parked.parked_at))).all()


async def count_parked(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).where(Parked.resolved_at.is_(None))) or 0


async def redrive(
    database: Database, inbox: Inbox, parked_id: UUID, *, by: str, reason: str, body: bytes | None = None
) -> bool:
    """Handle a parked message now, in one transaction; `body` is a mended one.

    False where it had been handled meanwhile by another delivery. Raises AlreadyResolved, Unreadable, InHand, and
    whatever the handler raises: then nothing has changed.
    """
    async with database.transaction() as session:
        parked = await _open(session, parked_id)
        message = inbox.read(body if body is not None else parked.body)
        claimed = bool(await claim(session, [message]))
        if claimed:
            await inbox.handle(session, message)
        _resolve(session, parked, "redriven", by, reason)
        return claimed


async def discard(database: Database, parked_id: UUID, *, by: str, reason: str) -> None:
    """Never handle this message, should it come again. Raises AlreadyResolved."""
    async with database.transaction() as session:
        parked = await _open(session, parked_id)
        if parked.reason not in {"malformed", "same_id_other_body"}:  # these have no key of their own
            digest = hashlib.sha256(parked.body).digest()
            claimed = insert(Incoming).values(source=parked.source, id=parked.id, type=parked.type, body_sha256=digest)
            await session.execute(claimed.on_conflict_do_nothing())
        _resolve(session, parked, "discarded", by, reason)


async def _open(session: AsyncSession, parked_id: UUID) -> Parked:
    parked = await fetch(session, Parked, parked_id, lock=True)
    if parked.resolved_at is not None:
        raise AlreadyResolved(f"message {parked_id} was {parked.resolution} by {parked.resolved_by}")
    return parked


def _resolve(session: AsyncSession, parked: Parked, resolution: str, by: str, reason: str) -> None:
    parked.resolved_at = now(session)
    parked.resolution, parked.resolved_by, parked.resolution_reason = resolution, by, reason
