"""Enrolments, the materials they open, and progress through them."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field

from enrolment import queries
from enrolment.commands import enrolments as commands
from enrolment.commands import progress
from enrolment.domain import enrolments as rules
from enrolment.domain import regulations, study
from enrolment.domain.enrolments import EnrolmentNotOpen, EnrolmentNotSuspended, MaterialsClosed, OwnEnrolment
from enrolment.tables import Enrolment, Unit, UnitProgress
from shared.database import Unknown, fetch
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    view_of,
)

router = Router()


class EnrolledCourseView(View):
    """The course version that was bought, as it was published."""

    course_id: UUID
    course_version_id: UUID
    version: int = Field(examples=[1])
    slug: str = Field(examples=["data-engineering"])
    code: str = Field(examples=["7DS505"])
    title: str = Field(examples=["Data Engineering"])
    module_family: str = Field(examples=["7DS505"])
    subject_name: str = Field(examples=["Data Science"])
    institution_name: str = Field(examples=["Northbridge University"])
    credits: int = Field(examples=[15])
    level: int = Field(examples=[7])
    weeks: int = Field(examples=[10])


class ProgressView(View):
    """How much of a course a learner has worked through, counted in units."""

    units: int = Field(examples=[6])
    started: int = Field(description="Units begun, finished ones included", examples=[4])
    finished: int = Field(examples=[3])
    percent: int = Field(description="Share of the units finished, rounded down", examples=[50])


class EnrolmentView(View):
    """A learner's place on a course version that was paid for, and what it opens."""

    enrolment_id: UUID
    learner_id: UUID
    order_id: UUID
    order_line_id: UUID
    course: EnrolledCourseView
    status: rules.EnrolmentStatus = Field(examples=["active"])
    reason_code: str | None = Field(description="Why it is suspended, cancelled or failed", examples=[None])
    sequence: int = Field(description="Counts the states it went through", examples=[1])
    regulations_version: str = Field(description="In force at payment; pinned", examples=["mc-regs-2026.2"])
    activated_at: Instant
    changed_at: Instant
    entitlements: list[str] = Field(examples=[["materials", "library", "careers", "study_assistant"]])
    progress: ProgressView


class StateView(View):
    """One state an enrolment went through, from `at` on; `reason_code` is null where the state needs no reason."""

    sequence: int = Field(examples=[1])
    status: rules.EnrolmentStatus = Field(examples=["active"])
    reason_code: str | None = Field(examples=[None])
    at: Instant


class EnrolmentDetails(EnrolmentView):
    """An enrolment with its history."""

    states: list[StateView] = Field(description="The states it went through, oldest first")


class UnitStatus(StrEnum):
    """How far a learner is with a unit of study."""

    NOT_STARTED = "not_started"
    STARTED = "started"
    FINISHED = "finished"


class UnitSummary(View):
    """A unit of study without its text, with the learner's progress; the times are null until it was begun or
    finished."""

    unit_id: UUID
    position: int = Field(examples=[1])
    title: str = Field(examples=["Pipelines and contracts"])
    minutes: int = Field(examples=[120])
    objectives: list[str] = Field(examples=[["Explain idempotent loads"]])
    status: UnitStatus = Field(examples=["started"])
    started_at: Instant | None
    finished_at: Instant | None


class StudyUnitView(UnitSummary):
    """A unit of study with its text and the learner's progress."""

    text: str = Field(description="Study text, Markdown", examples=["## What a pipeline promises\n…"])


class ProgressStep(RequestModel):
    """That a unit was begun or finished."""

    status: Literal["started", "finished"] = Field(examples=["finished"])


class EnrolmentReason(RequestModel):
    """Why staff change an enrolment."""

    reason_code: str = Field(description="Why, in a stable word", pattern=r"^[a-z_]{3,40}$", examples=["repaid"])


async def _viewed(session: Session, row: Enrolment) -> EnrolmentView:
    return view_of(row, await _viewer(session, [row]))


async def _viewer(session: Session, rows: list[Enrolment]) -> Callable[[Enrolment], EnrolmentView]:
    courses = await queries.courses_of(session, [row.course_version_id for row in rows])
    progressed = await queries.progress_of(session, [row.enrolment_id for row in rows])
    return lambda row: _view(row, courses[row.course_version_id], progressed[row.enrolment_id])


def _view(row: Enrolment, course: study.Course, progressed: study.Progress) -> EnrolmentView:
    return EnrolmentView(
        enrolment_id=row.enrolment_id,
        learner_id=row.learner_id,
        order_id=row.order_id,
        order_line_id=row.order_line_id,
        course=EnrolledCourseView.model_validate(course),
        status=rules.EnrolmentStatus(row.status),
        reason_code=row.reason_code,
        sequence=row.sequence,
        regulations_version=row.regulations_version,
        activated_at=row.activated_at,
        changed_at=row.changed_at,
        entitlements=list(regulations.find(row.regulations_version).opened_by(row.status)),
        progress=ProgressView.model_validate(progressed),
    )


def _summary(unit: Unit, done: UnitProgress | None) -> UnitSummary:
    status = UnitStatus.NOT_STARTED
    if done is not None:
        status = UnitStatus.FINISHED if done.finished_at else UnitStatus.STARTED
    return UnitSummary(
        unit_id=unit.unit_id,
        position=unit.position,
        title=unit.title,
        minutes=unit.minutes,
        objectives=unit.objectives,
        status=status,
        started_at=done.started_at if done else None,
        finished_at=done.finished_at if done else None,
    )


@router.get("/v1/enrolments", operation_id="list_enrolments", responses=error_responses(Unknown))
async def list_enrolments(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    learner_id: Annotated[UUID | None, Query(description="Whose; advisors only, else one's own")] = None,
) -> Page[EnrolmentView]:
    """One's own enrolments, newest first; for an advisor those of the learner they name."""
    if learner_id is None:
        learner_id = caller.own_id
    caller.must_own(learner_id)
    rows, cursor = await paginate(
        session,
        queries.enrolments_page(learner_id),
        paging,
        by=[Enrolment.activated_at, Enrolment.enrolment_id],
        descending=True,
    )
    return page_of(rows, await _viewer(session, rows), cursor)


@router.get("/v1/enrolments/{enrolment_id}", operation_id="read_enrolment")
async def read_enrolment(enrolment_id: UUID, session: ReadSession, caller: CallerOf) -> EnrolmentDetails:
    """An enrolment with its progress and the states it went through."""
    row = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(row.learner_id)
    view = await _viewed(session, row)
    states = [StateView.model_validate(state) for state in await queries.states_of(session, enrolment_id)]
    return EnrolmentDetails(**dict(view), states=states)


@router.post(
    "/v1/enrolments/{enrolment_id}/withdrawal",
    operation_id="withdraw_enrolment",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(EnrolmentNotOpen),
)
async def withdraw_enrolment(enrolment_id: UUID, session: Session, caller: CallerOf) -> EnrolmentView:
    """Give the course up, without a refund (that is asked of payments). Final; access ends at once."""
    caller.must_own((await fetch(session, Enrolment, enrolment_id)).learner_id)
    row = await commands.withdraw_enrolment(session, enrolment_id)
    return await _viewed(session, row)


@router.post(
    "/v1/enrolments/{enrolment_id}/reinstatement",
    operation_id="reinstate_enrolment",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(OwnEnrolment, EnrolmentNotSuspended),
)
async def reinstate_enrolment(
    enrolment_id: UUID, reason: EnrolmentReason, session: Session, caller: CallerOf
) -> EnrolmentView:
    """Staff: the missing money is there."""
    row = await commands.reinstate_enrolment(session, enrolment_id, by=caller.name, reason_code=reason.reason_code)
    return await _viewed(session, row)


@router.get("/v1/enrolments/{enrolment_id}/units", operation_id="list_units")
async def list_units(enrolment_id: UUID, session: ReadSession, caller: CallerOf, paging: Paging) -> Page[UnitSummary]:
    """The units of the course version, in order, with one's progress; their text is read one by one."""
    row = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(row.learner_id)
    units, cursor = await paginate(
        session, queries.units_page(row.course_version_id), paging, by=[Unit.position, Unit.unit_id]
    )
    done = await queries.unit_progress(session, enrolment_id)
    return page_of(units, lambda unit: _summary(unit, done.get(unit.unit_id)), cursor)


@router.get(
    "/v1/enrolments/{enrolment_id}/units/{unit_id}",
    operation_id="read_unit",
    responses=error_responses(MaterialsClosed),
)
async def read_unit(enrolment_id: UUID, unit_id: UUID, session: ReadSession, caller: CallerOf) -> StudyUnitView:
    """The study text of one unit."""
    row = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(row.learner_id)
    rules.must_open("materials", row.status, regulations.find(row.regulations_version))
    unit = await fetch(session, Unit, (row.course_version_id, unit_id))
    done = await session.get(UnitProgress, (enrolment_id, unit_id))
    return StudyUnitView(**dict(_summary(unit, done)), text=unit.text)


@router.put(
    "/v1/enrolments/{enrolment_id}/units/{unit_id}/progress",
    operation_id="record_progress",
    responses=error_responses(MaterialsClosed),
)
async def record_progress(
    enrolment_id: UUID, unit_id: UUID, step: ProgressStep, session: Session, caller: CallerOf
) -> EnrolmentView:
    """Note that a unit is begun or finished; neither is undone by a later call. Answers with the new progress."""
    row = await fetch(session, Enrolment, enrolment_id, lock=True)
    caller.must_own(row.learner_id)
    await progress.record_progress(session, row, unit_id, finished=step.status == "finished")
    return await _viewed(session, row)
