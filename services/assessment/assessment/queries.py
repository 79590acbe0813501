from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.domain import attempts, regulations, windows
from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.domain.marks import Stage
from assessment.domain.misconduct import Outcome
from assessment.domain.windows import WindowState
from assessment.tables import (
    Attempt,
    Brief,
    CourseVersion,
    Enrolment,
    EnrolmentState,
    Mark,
    MisconductCase,
    SubjectName,
    Submission,
    Window,
)
from shared.database import fetch, now
from shared.errors import Refusal
from shared.web.paging import Cursor, encode, paginate

_accepts_until: ColumnElement[datetime] = Window.closes_at + Window.grace_seconds * timedelta(seconds=1)


async def list_windows(
    session: AsyncSession, state: WindowState | None, paging: Cursor
) -> tuple[list[Window], str | None]:
    """Windows by their closing, the closed ones left out unless asked for."""
    at = now(session)
    wanted = {
        None: _accepts_until > at,
        WindowState.UPCOMING: Window.opens_at > at,
        WindowState.OPEN: (Window.opens_at <= at) & (_accepts_until > at),
        WindowState.CLOSED: _accepts_until <= at,
    }[state]
    return await paginate(session, select(Window).where(wanted), paging, by=[Window.closes_at, Window.window_id])


def is_own(actor: str) -> ColumnElement[bool]:
    """Whether an attempt is the actor's own."""
    return cast(Attempt.learner_id, Text) == actor


def was_judged_by(actor: str) -> ColumnElement[bool]:
    """Whether the actor gave an attempt a mark: as marker, as moderator, or on the panel that took it to nought."""
    marked = select(Mark.mark_id).where(Mark.attempt_id == Attempt.attempt_id, Mark.marked_by == actor)
    zeroed = select(MisconductCase.case_id).where(
        MisconductCase.attempt_id == Attempt.attempt_id,
        MisconductCase.decided_by == actor,
        MisconductCase.outcome == Outcome.MARK_ZERO,
    )
    return marked.correlate(Attempt).exists() | zeroed.correlate(Attempt).exists()


async def gave_first_mark(session: AsyncSession, attempt_id: UUID, actor: str) -> bool:
    first = select(Mark.mark_id).where(Mark.attempt_id == attempt_id, Mark.stage == Stage.FIRST)
    return await session.scalar(first.where(Mark.marked_by == actor)) is not None


def windows_opened_since(at: datetime) -> Select[Any]:  # Any: a mapped row
    unannounced = Window.opened_at.is_(None) & Window.closed_at.is_(None)
    return select(Window).where(unannounced, Window.opens_at <= at).order_by(Window.opens_at)


def windows_closed_since(at: datetime) -> Select[Any]:  # Any: a mapped row
    return select(Window).where(Window.closed_at.is_(None), _accepts_until <= at).order_by(Window.closes_at)


def seen(row: Window) -> windows.Window:
    """What the rules look at of this window."""
    return windows.Window(row.window_id, row.opens_at, row.closes_at, row.grace_seconds)


async def accepting_windows(session: AsyncSession, at: datetime) -> list[windows.Window]:
    statement = select(Window).where(Window.opens_at <= at, _accepts_until > at)
    return [seen(row) for row in await session.scalars(statement)]


async def next_window(session: AsyncSession, at: datetime) -> Window | None:
    """The window that opens next."""
    statement = select(Window).where(Window.opens_at > at).order_by(Window.opens_at, Window.closes_at).limit(1)
    return await session.scalar(statement)


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


async def marking_queue(
    session: AsyncSession, marker_id: UUID, window_id: UUID | None, paging: Cursor
) -> tuple[list["QueuedWork"], str | None]:
    """Frozen work without a mark, oldest first; never the marker's own."""
    at = now(session)
    statement = (
        select(Submission)
        .where(Submission.awaits_mark, Submission.learner_id != marker_id)
        .options(joinedload(Submission.course_version), joinedload(Submission.window))
    )
    by = (Submission.received_at, Submission.submission_id)
    # Window by window, each by its index: what waits in windows that are open still is not walked through.
    pages = [
        await paginate(session, statement.where(Submission.window_id == closed), paging, by=by)
        for closed in await _windows_to_mark(session, at)
        if window_id in (None, closed)
    ]
    rows = sorted((row for page, _ in pages for row in page), key=lambda row: (row.received_at, row.submission_id))
    page, more = rows[: paging.limit], len(rows) > paging.limit or any(cursor for _, cursor in pages)
    rules = regulations.in_force(at)
    queued = [_queued(row, rules) for row in page]
    return queued, encode([page[-1].received_at, page[-1].submission_id]) if more else None


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
"""From window to window in the index of what waits, however much it is."""


async def _windows_to_mark(session: AsyncSession, at: datetime) -> Sequence[UUID]:
    return (await session.scalars(_WINDOWS_TO_MARK, {"at": at})).all()


@dataclass(frozen=True, slots=True)
class QueuedWork:
    """What a marker sees: nothing that tells who wrote it (a file's name may)."""

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


async def list_results(
    session: AsyncSession, window_id: UUID, state: AttemptState | None, paging: Cursor
) -> tuple[list[Submission], str | None]:
    """The work of a window with what became of it, for the examiners."""
    await fetch(session, Window, window_id)
    statement = (
        select(Submission)
        .join(Submission.attempt)
        .where(Attempt.window_id == window_id, Submission.state == "current")
        .options(joinedload(Submission.attempt), joinedload(Submission.course_version))
    )
    if state is not None:
        statement = statement.where(Attempt.state == state)
    return await paginate(session, statement, paging, by=[Attempt.attempt_id])


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
