"""The commands on briefs: an examiner writes the brief of a course, or writes it anew."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.commands.marking import must_not_sit
from assessment.domain import marks
from assessment.tables import Brief, CourseVersion
from shared.database import fetch, now


async def put_brief(
    session: AsyncSession,
    actor: str,
    course_version_id: UUID,
    content: dict[str, Any],  # Any: JSON, of the shape the API let in
) -> tuple[Brief, bool]:
    """Write the brief of a course version; return it, and whether there was none before.

    Raises Unknown, SitsCourse or BriefWeights.
    """
    await fetch(session, CourseVersion, course_version_id, lock=True)
    await must_not_sit(session, actor, course_version_id)
    marks.check_weights([criterion["weight_percent"] for criterion in content["criteria"]])
    brief = await session.get(Brief, course_version_id)
    is_new = brief is None
    if brief is None:
        brief = Brief(course_version_id=course_version_id)
        session.add(brief)
    for name, value in content.items():
        setattr(brief, name, value)
    brief.updated_at = now(session)
    decisions.record(session, "brief_written", course_version_id, actor, **content)
    return brief, is_new
