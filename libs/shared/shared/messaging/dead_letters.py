"""What a person does about dead letters: list, show, redrive (edited if need be), discard with a reason."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, fetch, now
from shared.errors import Conflict
from shared.messaging.dead_lettering import printable
from shared.messaging.deduplication import claim
from shared.messaging.inbox import Inbox
from shared.messaging.message import subject_of
from shared.messaging.tables import DeadLetter, Incoming


class AlreadyResolved(Conflict):
    """A dead letter is redriven or discarded once."""


class AnotherEvent(Conflict):
    """What is to be handled in its place has another source or id than the dead letter."""


_WITHOUT_KEY: Final = frozenset({"malformed", "same_id_other_body"})
"""Reasons by which a message has no key of its own."""


async def list_dead_letters(session: AsyncSession) -> Sequence[DeadLetter]:
    """Return the dead letters that are not resolved, oldest first."""
    return (
        await session.scalars(
            select(DeadLetter).where(DeadLetter.resolved_at.is_(None)).order_by(DeadLetter.dead_lettered_at)
        )
    ).all()


async def count_dead_letters(session: AsyncSession) -> int:
    """Return how many dead letters are not resolved."""
    return await session.scalar(select(func.count()).where(DeadLetter.resolved_at.is_(None))) or 0


async def redrive(
    database: Database, inbox: Inbox, dead_letter_id: UUID, *, by: str, reason: str, body: bytes | None = None
) -> bool:
    """Handle a dead letter now, in one transaction; `body` is an edited one to handle in its place.

    Returns False where another delivery had been handled meanwhile. Raises AlreadyResolved, AnotherEvent, Unreadable,
    Locked, and whatever the handler raises: then nothing has changed.
    """
    async with database.transaction() as session:
        dead_letter = await _open(session, dead_letter_id)
        message = inbox.read(body if body is not None else dead_letter.body)
        received = message
        if dead_letter.reason not in _WITHOUT_KEY:
            if message.key != (dead_letter.source, dead_letter.id):
                raise AnotherEvent("a mended message keeps its source and id, or the one it mends is handled as well")
            received = replace(message, body=dead_letter.body)  # the form in which another delivery may come
        claimed = bool(await claim(session, [received]))
        if claimed:
            await inbox.handle(session, message)
        _resolve(session, dead_letter, "redriven", by, reason)
        return claimed


async def discard(database: Database, dead_letter_id: UUID, *, by: str, reason: str) -> None:
    """Resolve a dead letter so that its message is never handled, should it come again.

    Raises AlreadyResolved: it was redriven or discarded before.
    """
    async with database.transaction() as session:
        dead_letter = await _open(session, dead_letter_id)
        if dead_letter.reason not in _WITHOUT_KEY:
            digest, subject = hashlib.sha256(dead_letter.body).digest(), subject_of(dead_letter.body)
            claimed = insert(Incoming).values(
                source=dead_letter.source,
                id=dead_letter.id,
                type=dead_letter.type,
                body_sha256=digest,
                subject=printable(subject or "") or None,
            )
            await session.execute(claimed.on_conflict_do_nothing())
        _resolve(session, dead_letter, "discarded", by, reason)


async def _open(session: AsyncSession, dead_letter_id: UUID) -> DeadLetter:
    dead_letter = await fetch(session, DeadLetter, dead_letter_id, lock=True)
    if dead_letter.resolved_at is not None:
        raise AlreadyResolved(f"message {dead_letter_id} was {dead_letter.resolution} by {dead_letter.resolved_by}")
    return dead_letter


def _resolve(session: AsyncSession, dead_letter: DeadLetter, resolution: str, by: str, reason: str) -> None:
    dead_letter.resolved_at = now(session)
    dead_letter.resolution, dead_letter.resolved_by, dead_letter.resolution_reason = resolution, by, reason
