"""Enrolments with their attempts and submissions, the learner's overview of one, and cases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, joinedload

from assessment.domain import attempts, regulations, windows
from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.domain.misconduct import MisconductOutcome
from assessment.queries.windows import accepting_windows, next_window
from assessment.tables import (
    Attempt,
    Brief,
    CourseVersion,
    Credit,
    Enrolment,
    EnrolmentState,
    ErasedAuthor,
    MisconductCase,
    SubjectName,
    Submission,
    Window,
)
from shared.database import fetch, now
from shared.errors import DomainError
from shared.file_checks import Checked
from shared.paging import PageRequest, paginate


async def enrolment_status(session: AsyncSession, enrolment_id: UUID) -> EnrolmentStatus:
    """Return an enrolment's status; active where no other one was announced."""
    statement = select(EnrolmentState.status).where(EnrolmentState.enrolment_id == enrolment_id)
    return EnrolmentStatus(await session.scalar(statement) or EnrolmentStatus.ACTIVE)


async def is_erased(session: AsyncSession, learner_id: UUID) -> bool:
    """Return whether a learner was anonymised."""
    return bool(await session.scalar(select(exists().where(ErasedAuthor.learner_id == learner_id))))


async def of_learner(session: AsyncSession, learner_id: UUID) -> Sequence[UUID]:
    """Return a learner's enrolments, in the order in which their locks are taken."""
    statement = select(Enrolment.enrolment_id).where(Enrolment.learner_id == learner_id)
    return (await session.scalars(statement.order_by(Enrolment.enrolment_id))).all()


def attempts_of(enrolment_id: UUID) -> Select[Any]:  # Any: a mapped row
    return select(Attempt).where(Attempt.enrolment_id == enrolment_id).order_by(Attempt.attempt_id)


async def past(
    session: AsyncSession, enrolment_id: UUID, rows: Sequence[Attempt], allowed: int
) -> list[attempts.Attempt]:
    """Return an enrolment's attempts, and those of earlier enrolments that still count, as far as the rules need
    them."""
    earlier = (await session.scalars(_attempts_before(enrolment_id))).all()
    return attempts.carried_over(history(earlier, earlier=True), allowed) + history(rows)


async def holds_credit(session: AsyncSession, enrolment: Enrolment) -> bool:
    """Return whether credit for an enrolment's module stands, perhaps reinstated after the module was bought again."""
    statement = (
        select(Credit.credit_id)
        .join(CourseVersion, CourseVersion.module_family == Credit.module_family)
        .where(
            CourseVersion.course_version_id == enrolment.course_version_id,
            Credit.learner_id == enrolment.learner_id,
            Credit.revoked_at.is_(None),
        )
    )
    return await session.scalar(statement.limit(1)) is not None


def history(rows: Sequence[Attempt], *, earlier: bool = False) -> list[attempts.Attempt]:
    """Return these attempts, as far as the rules need them."""
    return [
        attempts.Attempt(
            attempt_id=row.attempt_id,
            attempt_no=row.attempt_no,
            state=AttemptState(row.state),
            passed=row.passed,
            window_id=row.window_id,
            frozen=row.case_id is not None,
            earlier=earlier,
        )
        for row in rows
    ]


def _attempts_before(enrolment_id: UUID) -> Select[Any]:  # Any: a mapped row
    """Select the attempts in the module under the learner's earlier enrolments whose result was released, or that a
    case is open about.

    A released result counts, whatever has become of the enrolment, unless a panel gave the attempt back.
    """
    given_back = select(MisconductCase.case_id).where(
        MisconductCase.attempt_id == Attempt.attempt_id, MisconductCase.outcome == MisconductOutcome.RESUBMIT
    )
    before, its_course = aliased(Enrolment), aliased(CourseVersion)
    return (
        _beside(enrolment_id, before, its_course, _in_order(before) < _in_order(Enrolment))
        .join(Attempt, Attempt.enrolment_id == before.enrolment_id)
        .with_only_columns(Attempt)
        .where(Attempt.case_id.is_not(None) | (Attempt.released_at.is_not(None) & ~given_back.exists()))
        .order_by(before.activated_at, before.enrolment_id, Attempt.attempt_no)
    )


async def went_on(session: AsyncSession, enrolment_id: UUID) -> bool:
    """Return whether an attempt was begun in the same module under a later enrolment of the learner."""
    after, its_course = aliased(Enrolment), aliased(CourseVersion)
    later = (
        _beside(enrolment_id, after, its_course, _in_order(after) > _in_order(Enrolment))
        .join(Attempt, Attempt.enrolment_id == after.enrolment_id)
        .where(Attempt.state != AttemptState.VOIDED)
    )
    return bool(await session.scalar(select(later.exists())))


def _beside(
    enrolment_id: UUID,
    other: type[Enrolment],
    its_course: type[CourseVersion],
    which: ColumnElement[bool],
) -> Select[Any]:  # Any: a mapped row
    """Select the learner's other enrolments in the same module for which `which` holds."""
    return (
        select(other.enrolment_id)
        .join(Enrolment, Enrolment.learner_id == other.learner_id)
        .join(CourseVersion, CourseVersion.course_version_id == Enrolment.course_version_id)
        .join(its_course, its_course.course_version_id == other.course_version_id)
        .where(
            Enrolment.enrolment_id == enrolment_id,
            its_course.module_family == CourseVersion.module_family,
            which,
        )
    )


def courses_sat_by(person: UUID) -> Select[UUID]:
    """Select every version of the courses in the modules somebody studies: those they are enrolled on, without a
    ratified pass or a ratified fail of the last attempt."""
    its_course, course = aliased(CourseVersion), aliased(CourseVersion)
    ended = select(EnrolmentState.enrolment_id).where(
        EnrolmentState.enrolment_id == Enrolment.enrolment_id, EnrolmentState.status == EnrolmentStatus.CANCELLED
    )
    last = (
        (Enrolment.regulations_version == one.version) & (Attempt.attempt_no >= one.attempts_allowed)
        for one in regulations.versions.all.values()
    )
    over = select(Attempt.attempt_id).where(
        Attempt.enrolment_id == Enrolment.enrolment_id,
        Attempt.state == AttemptState.RATIFIED,
        or_(Attempt.passed, *last),  # pyright: ignore[reportArgumentType] - it is null until it is known
    )
    return (
        select(course.course_version_id)
        .join(its_course, its_course.module_family == course.module_family)
        .join(Enrolment, Enrolment.course_version_id == its_course.course_version_id)
        .where(
            Enrolment.learner_id == person,
            ~ended.correlate(Enrolment).exists(),
            ~over.correlate(Enrolment).exists(),
        )
    )


async def sits(session: AsyncSession, person: UUID, course_version_id: UUID) -> bool:
    """Return whether somebody studies the module of that course version."""
    course = courses_sat_by(person).subquery()
    return bool(await session.scalar(select(exists().where(course.c.course_version_id == course_version_id))))


async def sits_any(session: AsyncSession, person: UUID) -> bool:
    """Return whether somebody studies any module."""
    return bool(await session.scalar(select(courses_sat_by(person).exists())))


async def may_be_read(session: AsyncSession, submission: Submission) -> bool:
    """Return whether staff may read a file: it stands for an attempt, or a case is about it."""
    if submission.state in ("current", "voided"):
        return True
    about = select(exists().where(MisconductCase.submission_id == submission.submission_id))
    return bool(await session.scalar(about))


def _in_order(of: type[Enrolment]) -> ColumnElement[Any]:  # Any: a pair
    return tuple_(of.activated_at, of.enrolment_id)


def current_submission(attempt_id: UUID) -> Select[Submission]:
    return select(Submission).where(Submission.attempt_id == attempt_id, Submission.state == "current")


async def list_submissions(
    session: AsyncSession, enrolment_id: UUID, paging: PageRequest
) -> tuple[list[Submission], str | None]:
    statement = select(Submission).where(Submission.enrolment_id == enrolment_id)
    statement = statement.options(joinedload(Submission.attempt))
    return await paginate(
        session, statement, paging, by=[Submission.received_at, Submission.submission_id], descending=True
    )


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether work can be handed in now, and into which window; or the stable code for why it cannot."""

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
    """Return all that a learner sees of the assessment of one enrolment."""
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
    rules = regulations.find(enrolment.regulations_version)
    known = await past(session, enrolment.enrolment_id, [row.Attempt for row in rows], rules.attempts_allowed)
    return Overview(
        enrolment=enrolment,
        course_version=await fetch(session, CourseVersion, enrolment.course_version_id),
        brief=await session.get(Brief, enrolment.course_version_id),
        status=status,
        attempts=[(row.Attempt, row.Submission) for row in rows],
        attempts_allowed=rules.attempts_allowed,
        attempts_left=attempts.attempts_left(known, rules.attempts_allowed),
        permission=_permission(status, known, rules, await accepting_windows(session, at), at),
        next_window=await next_window(session, at),
        now=at,
    )


def _permission(
    status: EnrolmentStatus,
    known: Sequence[attempts.Attempt],
    rules: regulations.Regulations,
    accepting: Sequence[windows.Window],
    at: datetime,
) -> Permission:
    try:
        window = attempts.admit(status, known, rules.attempts_allowed, accepting, at)
    except DomainError as error:
        return Permission(possible=False, window_id=None, code=error.code, detail=error.detail)
    return Permission(possible=True, window_id=window.window_id, code=None, detail=None)


async def renamed_subjects(session: AsyncSession, subject_ids: Iterable[UUID], at: datetime) -> dict[UUID, str]:
    """Return the award names at that instant of those of the subjects that were renamed."""
    statement = (
        select(SubjectName.subject_id, SubjectName.award_name)
        .where(SubjectName.subject_id.in_(set(subject_ids)), SubjectName.effective_from <= at)
        .order_by(SubjectName.effective_from)
    )
    return {row.subject_id: row.award_name for row in await session.execute(statement)}


async def known_keys(session: AsyncSession, keys: Sequence[str]) -> Mapping[str, Checked]:
    """Return which of these stored files a submission names, and what it says of each."""
    columns = select(Submission.storage_key, Submission.sha256, Submission.size)
    found = await session.execute(columns.where(Submission.storage_key == func.any(keys)))
    return {key: Checked(sha256, size) for key, sha256, size in found}


async def names_any_file(session: AsyncSession) -> bool:
    """Return whether any submission names a stored file."""
    return bool(await session.scalar(select(exists().select_from(Submission))))
