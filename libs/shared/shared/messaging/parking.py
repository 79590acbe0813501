"""Where messages wait that cannot be handled; what a person does about them is in parked.py."""

import hashlib
import logging
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import take_turns
from shared.ids import new_id
from shared.messaging.message import attributes_of
from shared.messaging.tables import Parked

log = logging.getLogger(__name__)

LONGEST_ERROR: Final = 2000


async def park(session: AsyncSession, body: bytes, reason: str, error: str) -> None:
    """Put a message where a person sees it; the same bytes for the same reason stand there once."""
    await take_turns(session, "parked", hashlib.sha256(body).hexdigest())
    attributes = attributes_of(body)
    try:
        id_ = UUID(str(attributes.get("id")))
    except ValueError:
        id_ = None
    source, type_ = (printable(str(attributes[name])) if name in attributes else None for name in ("source", "type"))
    same = await session.scalar(
        select(Parked.parked_id)
        .where(
            Parked.resolved_at.is_(None),
            Parked.source.is_not_distinct_from(source),
            Parked.id.is_not_distinct_from(id_),
            Parked.body == body,
            Parked.reason == reason,
        )
        .limit(1)
    )
    if same is not None:
        return
    parked = Parked(
        parked_id=new_id(), source=source, id=id_, type=type_, body=body, reason=reason, error=printable(error)
    )
    session.add(parked)
    log.error("message parked", extra={"event": str(id_), "type": type_, "reason": reason, "error": error})


def printable(foreign: str) -> str:
    """A text that came from elsewhere, as PostgreSQL can store it: no NUL, no half characters, not endless."""
    return foreign[:LONGEST_ERROR].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
