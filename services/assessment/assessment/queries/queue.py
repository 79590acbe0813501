"""The marking queue: the work that waits for a mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.domain import regulations, windows
from assessment.domain.marks import Part
from assessment.queries.enrolments import courses_sat_by
from assessment.queries.results import has_other_part
from assessment.tables import Attempt, Submission
from shared.database import now
from shared.paging import PageRequest, paginate_each


async def marking_queue(
    session: AsyncSession, marker_id: UUID, window_id: UUID | None, paging: PageRequest
) -> tuple[list["QueuedWork"], str | None]:
    """Return a page of work without a mark whose window has closed, the oldest first; never the marker's own, nor of a
    module the marker studies, nor work about which the marker judged a case."""
    at = now(session)
    had_other_part = (
        select(Attempt.attempt_id)
        .where(Attempt.attempt_id == Submission.attempt_id, has_other_part(str(marker_id), Part.MARKER))
        .correlate(Submission)
        .exists()
    )
    statement = (
        select(Submission)
        .where(
            Submission.awaits_mark,
            Submission.learner_id != marker_id,
            Submission.course_version_id.not_in(courses_sat_by(marker_id)),
            ~had_other_part,
        )
        .options(joinedload(Submission.course_version), joinedload(Submission.window))
    )
    # Window by window, each by its index: what waits in windows that are still open is not read.
    rows, cursor = await paginate_each(
        session,
        [
            statement.where(Submission.window_id == closed)
            for closed in await _windows_to_mark(session, at)
            if window_id in (None, closed)
        ],
        paging,
        by=[Submission.received_at, Submission.submission_id],
    )
    rules = regulations.in_force(at)
    return [_queued(row, rules) for row in rows], cursor


_WINDOWS_TO_MARK = text("""
    with recursive waiting as (
        (select window_id from submissions where awaits_mark order by window_id limit 1)
        union all
        select (
            select next.window_id from submissions next where next.awaits_mark and next.window_id > waiting.window_id
            order by next.window_id limit 1
        ) from waiting where window_id is not null
    )
    select window_id from waiting join windows using (window_id)
    where closes_at + grace_seconds * interval '1 second' <= :at
""")
"""The windows whose work waits, by steps from one window to the next in the index, however much work it is."""


async def _windows_to_mark(session: AsyncSession, at: datetime) -> Sequence[UUID]:
    return (await session.scalars(_WINDOWS_TO_MARK, {"at": at})).all()


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """Work as a marker sees it, without anything that shows who wrote it; a file's name may, and is left out."""

    submission_id: UUID
    window_id: UUID
    course_version_id: UUID
    course_code: str
    course_title: str
    kind: str
    size: int
    sha256: str
    received_at: datetime
    due_on: date


def _queued(row: Submission, rules: regulations.Regulations) -> QueuedWork:
    return QueuedWork(
        submission_id=row.submission_id,
        window_id=row.window_id,
        course_version_id=row.course_version_id,
        course_code=row.course_version.code,
        course_title=row.course_version.title,
        kind=row.kind,
        size=row.size,
        sha256=row.sha256,
        received_at=row.received_at,
        due_on=windows.due_on(row.window.closes_at, rules.turnaround_working_days, rules.marking_zone),
    )
