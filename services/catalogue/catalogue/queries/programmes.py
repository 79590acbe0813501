"""Reads of degree programmes and their module maps."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.tables import Programme, ProgrammeMap, ProgrammeModule
from shared.database import Unknown


def published_programmes() -> Select[Any]:  # Any: rows of Programme
    return select(Programme).where(exists().where(ProgrammeMap.programme_id == Programme.programme_id))


async def present_map(session: AsyncSession, programme_id: UUID) -> ProgrammeMap | None:
    return await session.scalar(
        select(ProgrammeMap)
        .where(ProgrammeMap.programme_id == programme_id)
        .order_by(ProgrammeMap.version.desc())
        .limit(1)
    )


async def map_in_use(session: AsyncSession, programme_id: UUID) -> ProgrammeMap:
    """Return the programme's latest module map.

    :raises Unknown: 404, it has none
    """
    found = await present_map(session, programme_id)
    if found is None:
        raise Unknown(f"no programme {programme_id} takes in credit")
    return found


async def modules_of(session: AsyncSession, drawn: ProgrammeMap) -> Sequence[ProgrammeModule]:
    statement = (
        select(ProgrammeModule)
        .where(ProgrammeModule.programme_id == drawn.programme_id, ProgrammeModule.version == drawn.version)
        .order_by(ProgrammeModule.module_code, ProgrammeModule.course_version_id)
    )
    return (await session.scalars(statement)).all()


def module_text(row: ProgrammeModule) -> domain.ModuleText:
    return domain.ModuleText(
        course_version_id=row.course_version_id,
        module_code=row.module_code,
        module_title=row.module_title,
        credits=row.credits,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        decided_by=row.decided_by,
    )
