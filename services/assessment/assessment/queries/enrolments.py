"""What is known of an enrolment: its attempts, its files, what its learner sees; cases and stored files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.domain import attempts, regulations, windows
from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.queries.windows import accepting_windows, next_window
from assessment.tables import (
    Attempt,
    Brief,
    CourseVersion,
    Enrolment,
    EnrolmentState,
    MisconductCase,
    SubjectName,
    Submission,
    Window,
)
from shared.database import fetch, now
from shared.errors import Refusal
from shared.web.paging import Cursor, paginate


async def enrolment_status(session: AsyncSession, enrolment_id: UUID) -> EnrolmentStatus:
    statement = select(EnrolmentState.status).where(EnrolmentState.enrolment_id == enrolment_id)
    return EnrolmentStatus(await session.scalar(statement) or EnrolmentStatus.ACTIVE)


def attempts_of(enrolment_id: UUID) -> Select[Any]:  # Any: a mapped row
    return select(Attempt).where(Attempt.enrolment_id == enrolment_id).order_by(Attempt.attempt_id)


def history(rows: Sequence[Attempt]) -> list[attempts.Attempt]:
    """What the rules look at of these attempts."""
    return [
        attempts.Attempt(
            attempt_id=row.attempt_id,
            attempt_no=row.attempt_no,
            state=AttemptState(row.state),
            passed=row.passed,
            window_id=row.window_id,
            frozen=row.case_id is not None,
        )
        for row in rows
    ]


def current_submission(attempt_id: UUID) -> Select[Any]:  # Any: a mapped row
    return select(Submission).where(Submission.attempt_id == attempt_id, Submission.state == "current")


async def list_submissions(
    session: AsyncSession, enrolment_id: UUID, paging: Cursor
) -> tuple[list[Submission], str | None]:
    statement = select(Submission).where(Submission.enrolment_id == enrolment_id)
    statement = statement.options(joinedload(Submission.attempt))
    return await paginate(
        session, statement, paging, by=[Submission.received_at, Submission.submission_id], descending=True
    )


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether work can be handed in now, into which window, or the stable code that says why not."""

    possible: bool
    window_id: UUID | None
    code: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All a learner sees of the assessment of one enrolment."""

    enrolment: Enrolment
    course_version: CourseVersion
    brief: Brief | None
    status: EnrolmentStatus
    attempts: list[tuple[Attempt, Submission | None]]
    attempts_allowed: int
    attempts_left: int
    permission: Permission
    next_window: Window | None
    now: datetime


async def overview(session: AsyncSession, enrolment: Enrolment) -> Overview:
    at = now(session)
    rows = (
        await session.execute(
            select(Attempt, Submission)
            .outerjoin(
                Submission,
                (Submission.attempt_id == Attempt.attempt_id) & Submission.state.in_(["current", "voided"]),
            )
            .where(Attempt.enrolment_id == enrolment.enrolment_id)
            .options(joinedload(Attempt.window))
            .order_by(Attempt.attempt_id)
        )
    ).all()
    status = await enrolment_status(session, enrolment.enrolment_id)
    past = history([row.Attempt for row in rows])
    rules = regulations.find(enrolment.regulations_version)
    return Overview(
        enrolment=enrolment,
        course_version=await fetch(session, CourseVersion, enrolment.course_version_id),
        brief=await session.get(Brief, enrolment.course_version_id),
        status=status,
        attempts=[(row.Attempt, row.Submission) for row in rows],
        attempts_allowed=rules.attempts_allowed,
        attempts_left=attempts.attempts_left(past, rules.attempts_allowed),
        permission=_permission(status, past, rules, await accepting_windows(session, at), at),
        next_window=await next_window(session, at),
        now=at,
    )


def _permission(
    status: EnrolmentStatus,
    past: Sequence[attempts.Attempt],
    rules: regulations.Regulations,
    accepting: Sequence[windows.Window],
    at: datetime,
) -> Permission:
    try:
        window = attempts.admit(status, past, rules.attempts_allowed, accepting, at)
    except Refusal as refusal:
        return Permission(possible=False, window_id=None, code=refusal.code, detail=refusal.detail)
    return Permission(possible=True, window_id=window.window_id, code=None, detail=None)


async def renamed_subjects(session: AsyncSession, subject_ids: Iterable[UUID], at: datetime) -> dict[UUID, str]:
    """The award names at that instant of those of the subjects that were renamed."""
    statement = (
        select(SubjectName.subject_id, SubjectName.award_name)
        .where(SubjectName.subject_id.in_(set(subject_ids)), SubjectName.effective_from <= at)
        .order_by(SubjectName.effective_from)
    )
    return {row.subject_id: row.award_name for row in await session.execute(statement)}


async def list_cases(
    session: AsyncSession, *, open_: bool | None, paging: Cursor
) -> tuple[list[MisconductCase], str | None]:
    """Cases, the oldest first."""
    statement = select(MisconductCase)
    if open_ is not None:
        undecided = MisconductCase.decided_at.is_(None)
        statement = statement.where(undecided if open_ else ~undecided)
    return await paginate(session, statement, paging, by=[MisconductCase.opened_at, MisconductCase.case_id])


async def known_keys(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Which of these stored files a submission names."""
    found = await session.scalars(select(Submission.storage_key).where(Submission.storage_key == func.any(keys)))
    return set(found)
