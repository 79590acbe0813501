"""Places in status lists: drawn at random, each for one version of one credential, never given again."""

import secrets
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.notary import Place
from credentials.domain import status_lists
from shared.database import now as now_of

_DRAWS = 64


async def draw_for_badge(session: AsyncSession, badge_id: UUID, *, version: int) -> Place:
    return await _draw(session, badge_id=badge_id, version=version)


async def place_of_record(session: AsyncSession, edition_id: UUID, record_id: UUID, inside_sha256: str) -> Place:
    """The place of a learner record: the same as long as the same badges are inside.

    Else another, and the one before is retired. The caller has taken its turn on the learner.
    """
    held = await queries.live_place_of_record(session, edition_id, record_id)
    if held is not None and held.inside_sha256 == inside_sha256:
        return Place(held.list_number, held.list_index)
    if held is not None:
        held.retired_at = now_of(session)
        await session.flush()
    return await _draw(session, edition_id=edition_id, record_id=record_id, inside_sha256=inside_sha256)


async def retire_records(session: AsyncSession, learner_id: UUID, now: datetime) -> None:
    """Revoke every learner record of somebody, whoever holds it: there is a newer one, or what it states is withdrawn.

    Final. The bits are published with the next status lists, within a minute.
    """
    place, edition, document = tables.BadgePlace, tables.Edition, tables.Document
    theirs = (
        select(edition.edition_id)
        .join(document, document.document_id == edition.document_id)
        .where(document.learner_id == learner_id)
    )
    await session.execute(
        update(place).where(place.edition_id.in_(theirs), place.retired_at.is_(None)).values(retired_at=now)
    )


async def _draw(session: AsyncSession, **whose: object) -> Place:
    """A place in the newest list, at random so that it tells nothing."""
    newest_list = select(func.max(tables.StatusList.number)).scalar_subquery()
    for _ in range(_DRAWS):
        row = (
            await session.execute(
                insert(tables.BadgePlace)
                .values(list_number=newest_list, list_index=secrets.randbelow(status_lists.LENGTH), **whose)
                .on_conflict_do_nothing(index_elements=[tables.BadgePlace.list_number, tables.BadgePlace.list_index])
                .returning(tables.BadgePlace.list_number, tables.BadgePlace.list_index)
            )
        ).first()
        if row is not None:
            return Place(row[0], row[1])
    raise RuntimeError("the newest status list is full: the job that opens the next one is not running")
