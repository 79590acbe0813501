"""Dead-lettering of messages that cannot be handled; what a person does about them is in dead_letters.py."""

import hashlib
import logging
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.committed_log import log_once_committed
from shared.database import advisory_lock
from shared.ids import new_id
from shared.messaging.message import attributes_of
from shared.messaging.tables import DeadLetter

log = logging.getLogger(__name__)

LONGEST_ERROR: Final = 2000
LONGEST_NAME: Final = 200
"""Limit of a source or a type, in characters, so that whatever they are an index can hold them."""


async def dead_letter(session: AsyncSession, body: bytes, reason: str, error: str) -> None:
    """Store a message as a dead letter for a person to look at.

    The same bytes for the same reason are stored once; where they were resolved before, that decision stands.
    """
    await advisory_lock(session, "dead letter", hashlib.sha256(body).hexdigest())
    attributes = attributes_of(body)
    try:
        id_ = UUID(str(attributes.get("id")))
    except ValueError:
        id_ = None
    source, type_ = (
        printable(str(attributes[name]))[:LONGEST_NAME] if name in attributes else None for name in ("source", "type")
    )
    same = await session.scalar(
        select(DeadLetter.dead_letter_id)
        .where(
            DeadLetter.source == source,
            DeadLetter.id == id_,
            DeadLetter.body == body,
            DeadLetter.reason == reason,
        )
        .limit(1)
    )
    if same is not None:
        return
    dead_letter = DeadLetter(
        dead_letter_id=new_id(), source=source, id=id_, type=type_, body=body, reason=reason, error=printable(error)
    )
    session.add(dead_letter)
    said = {"event": str(id_), "type": type_, "reason": reason, "error": error}
    log_once_committed(session, log, logging.ERROR, "message dead-lettered", said)


def printable(foreign: str) -> str:
    """Return a foreign text as PostgreSQL can store it: no NUL, no half of a surrogate pair, at most LONGEST_ERROR
    characters."""
    return foreign[:LONGEST_ERROR].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
