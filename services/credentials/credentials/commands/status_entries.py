"""Status entries: drawn as if at random, each for one version of one credential, never given again."""

import secrets
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from itertools import count, islice
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import StatusListEntry
from credentials.queries.issued import live_entry_of_record
from credentials.tables.documents import Document, Edition
from credentials.tables.issued import AssignedStatusEntry, StatusList
from openbadges import status_lists
from shared.database import now as now_of

_DRAWS = 64


async def draw_for_badge(session: AsyncSession, badge_id: UUID, *, version: int) -> StatusListEntry:
    """Draw a status entry for a version of a badge.

    It follows from the badge's id, so that a badge ordered anew on a restored database gets the same one, and the lost
    badge can be revoked by it.
    """
    digests = (sha256(f"{badge_id}/{version}/{number}".encode()).digest() for number in count())
    indices = (int.from_bytes(digest[:8]) % status_lists.LENGTH for digest in digests)
    return await _draw(session, indices, badge_id=badge_id, version=version)


async def entry_of_record(
    session: AsyncSession, edition_id: UUID, record_id: UUID, inside_sha256: str
) -> StatusListEntry:
    """Return the status entry of a learner record: the same as long as the same badges are inside.

    Otherwise another one is drawn, and the one before retired. The caller holds the learner's advisory lock.
    """
    held = await live_entry_of_record(session, edition_id, record_id)
    if held is not None and held.inside_sha256 == inside_sha256:
        return StatusListEntry(held.list_number, held.list_index)
    if held is not None:
        held.retired_at = now_of(session)
        await session.flush()
    indices = (secrets.randbelow(status_lists.LENGTH) for _ in count())
    return await _draw(session, indices, edition_id=edition_id, record_id=record_id, inside_sha256=inside_sha256)


async def retire_records(session: AsyncSession, learner_id: UUID, now: datetime) -> None:
    """Revoke every learner record of a learner for good, since there is a newer one, or what it states is withdrawn.

    The bits are published with the next status lists, within a minute.
    """
    status_entry, edition, document = AssignedStatusEntry, Edition, Document
    theirs = (
        select(edition.edition_id)
        .join(document, document.document_id == edition.document_id)
        .where(document.learner_id == learner_id)
    )
    await session.execute(
        update(status_entry)
        .where(status_entry.edition_id.in_(theirs), status_entry.retired_at.is_(None))
        .values(retired_at=now)
    )


async def _draw(session: AsyncSession, indices: Iterator[int], **whose: object) -> StatusListEntry:
    """Take the first of these indices that is free in the newest list; they are spread so that an index says
    nothing."""
    newest_list = select(func.max(StatusList.number)).scalar_subquery()
    for index in islice(indices, _DRAWS):
        row = (
            await session.execute(
                insert(AssignedStatusEntry)
                .values(list_number=newest_list, list_index=index, **whose)
                .on_conflict_do_nothing(
                    index_elements=[AssignedStatusEntry.list_number, AssignedStatusEntry.list_index]
                )
                .returning(AssignedStatusEntry.list_number, AssignedStatusEntry.list_index)
            )
        ).first()
        if row is not None:
            return StatusListEntry(row[0], row[1])
    raise RuntimeError("the newest status list is full: the job that opens the next one is not running")
