"""Cases of misconduct."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.queries.enrolments import courses_sat_by
from assessment.tables import Attempt, MisconductCase
from shared.paging import PageRequest, paginate


async def list_cases(
    session: AsyncSession, examiner_id: UUID, *, open_: bool | None, paging: PageRequest
) -> tuple[list[MisconductCase], str | None]:
    """Return a page of cases, the oldest first; never about the examiner's own work, nor of a module they study."""
    course = select(Attempt.course_version_id).where(Attempt.attempt_id == MisconductCase.attempt_id)
    statement = select(MisconductCase).where(
        MisconductCase.learner_id != examiner_id,
        course.scalar_subquery().not_in(courses_sat_by(examiner_id)),  # row by row: as a join it reads every attempt
    )
    if open_ is not None:
        undecided = MisconductCase.decided_at.is_(None)
        statement = statement.where(undecided if open_ else ~undecided)
    return await paginate(session, statement, paging, by=[MisconductCase.opened_at, MisconductCase.case_id])
