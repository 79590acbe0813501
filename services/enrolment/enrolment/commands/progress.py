"""Studying: progress through the units of a course."""

from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment.domain.enrolments import must_open
from enrolment.domain.regulations import find
from enrolment.tables import Enrolment, Unit, UnitProgress
from shared.database import fetch, now


async def record_progress(
    session: AsyncSession, enrolment: Enrolment, unit_id: UUID, *, finished: bool
) -> UnitProgress:
    """Record that a unit is begun or finished, once each; neither is undone later. `enrolment` is locked.

    Raises MaterialsClosed and Unknown (no such unit in the course version).
    """
    must_open("materials", enrolment.status, find(enrolment.regulations_version))
    await fetch(session, Unit, (enrolment.course_version_id, unit_id))
    at = now(session)
    statement = insert(UnitProgress).values(
        enrolment_id=enrolment.enrolment_id, unit_id=unit_id, started_at=at, finished_at=at if finished else None
    )
    done = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["enrolment_id", "unit_id"],
            set_={"finished_at": func.coalesce(UnitProgress.finished_at, statement.excluded.finished_at)},
        ).returning(UnitProgress),
        execution_options={"populate_existing": True},
    )
    return done.scalar_one()
