"""What a stored reply says of a person goes with the person; that the request was answered stays, so that a repeat does
nothing again."""

import json
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, func, literal, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.messaging.tables import Idempotency

ERASED: Final = 410
"""The status of a reply that is blank; no other refusal is ever stored."""


async def erase_replies(session: AsyncSession, person_id: UUID, *words: str | None) -> None:
    """Blank what was answered to somebody who is erased, and to whomever else it was told: replies that hold their id
    or, as a whole value, one of these words (names, addresses).

    In the person's turn, so that none is written meanwhile. It reads the replies of one day.
    """
    told = {str(person_id).encode(), *(json.dumps(word, ensure_ascii=False).encode() for word in words if word)}
    holds = (func.position(literal(one, LargeBinary).op("in")(Idempotency.body)) > 0 for one in sorted(told))
    await session.execute(
        update(Idempotency)
        .where(Idempotency.body != b"", or_(Idempotency.caller == str(person_id), *holds))
        .values(status=ERASED, headers={}, body=b"")
        .execution_options(synchronize_session=False)
    )
