"""Erasure of a person from stored replies; the keys stay, so that a repeated request has no effect a second time."""

import json
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, func, literal, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.messaging.tables import Idempotency

ERASED: Final = 410
"""The status of a blank reply; no error is ever stored as a reply otherwise."""


async def erase_replies(session: AsyncSession, person_id: UUID, *words: str | None) -> None:
    """Blank the stored replies to a person who is erased, and those to others that hold their id or, as a whole value,
    one of these words (names, addresses).

    The caller holds the person's advisory lock, so that no reply is written meanwhile. Reads the replies of one day.
    """
    private = {str(person_id).encode(), *(json.dumps(word, ensure_ascii=False).encode() for word in words if word)}
    holds = (func.position(literal(one, LargeBinary).op("in")(Idempotency.body)) > 0 for one in sorted(private))
    await session.execute(
        update(Idempotency)
        .where(Idempotency.body != b"", or_(Idempotency.caller == str(person_id), *holds))
        .values(status=ERASED, headers={}, body=b"")
        .execution_options(synchronize_session=False)
    )
