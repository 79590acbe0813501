"""What markers, examiners and panels ask of assessment: windows, briefs, the queue, marks, misconduct."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from assessment.api.shapes import (
    AssessedCreditView,
    BriefRequest,
    BriefView,
    CaseDecisionRequest,
    CaseRequest,
    CaseView,
    MarksRequest,
    MarkView,
    QueuedView,
    ReinstatementRequest,
    RevocationRequest,
    WindowRequest,
    WindowView,
    window_view,
)
from assessment.commands import boards, briefs, marking, misconduct, windows
from assessment.domain import marks
from assessment.domain.marks import (
    AlreadyMarked,
    AlreadyReleased,
    BriefWeights,
    CreditAlreadyRevoked,
    CreditNotRevoked,
    CreditReplaced,
    MarkOutOfRange,
    NotMarked,
    OwnWork,
    SamePerson,
    SitsCourse,
    StageNotPermitted,
    SubmissionSuperseded,
    SubmissionVoid,
    UnknownReason,
)
from assessment.domain.misconduct import CaseDecided, CaseOpen, OutcomeNotPossible
from assessment.domain.windows import BadWindow, FileOnItsWay, WindowIsClosed, WindowNotOpen, WindowStillOpen
from assessment.queries.cases import list_cases
from assessment.queries.queue import marking_queue
from shared.database import Unknown, now
from shared.web import (
    CallerOf,
    Idempotent,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    error_responses,
    page_of,
)

router = Router()


@router.post(
    "/v1/windows",
    operation_id="make_window",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(SitsCourse, BadWindow),
)
async def make_window(body: WindowRequest, session: Session, caller: CallerOf) -> WindowView:
    """Open a window besides the regular monthly ones."""
    await windows.must_not_study(session, caller.own_id)
    window = await windows.make_window(session, caller.name, body.opens_at, body.closes_at, body.grace_seconds)
    return window_view(window, now(session))


@router.post(
    "/v1/windows/{window_id}/closing",
    operation_id="close_window",
    dependencies=[Idempotent],
    responses=error_responses(SitsCourse, WindowNotOpen, WindowIsClosed),
)
async def close_window(window_id: UUID, session: Session, caller: CallerOf) -> WindowView:
    """Close an open window now instead of at its time."""
    await windows.must_not_study(session, caller.own_id)
    return window_view(await windows.close_window(session, caller.name, window_id), now(session))


@router.put(
    "/v1/briefs/{course_version_id}",
    operation_id="put_brief",
    responses={201: {"model": BriefView}} | error_responses(SitsCourse, BriefWeights),
)
async def put_brief(
    course_version_id: UUID, content: BriefRequest, response: Response, session: Session, caller: CallerOf
) -> BriefView:
    """Write the brief of a course version, or write it anew."""
    brief, is_new = await briefs.put_brief(session, caller.name, course_version_id, content.model_dump())
    response.status_code = 201 if is_new else 200
    return BriefView.model_validate(brief)


@router.get("/v1/marking-queue", operation_id="list_marking_queue")
async def list_marking_queue(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    window_id: Annotated[UUID | None, Query(description="Only work of this window")] = None,
) -> Page[QueuedView]:
    """Work of closed windows that waits for a mark, oldest first. Nothing says whose it is."""
    rows, cursor = await marking_queue(session, caller.own_id, window_id, paging)
    return page_of(rows, QueuedView.model_validate, cursor)


@router.post(
    "/v1/submissions/{submission_id}/marks",
    operation_id="mark_submission",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        StageNotPermitted,
        SubmissionSuperseded,
        SubmissionVoid,
        CaseOpen,
        OwnWork,
        SitsCourse,
        WindowStillOpen,
        FileOnItsWay,
        AlreadyMarked,
        NotMarked,
        AlreadyReleased,
        SamePerson,
        MarkOutOfRange,
    ),
)
async def mark_submission(submission_id: UUID, given: MarksRequest, session: Session, caller: CallerOf) -> MarkView:
    """Mark work once its window has closed; another examiner may moderate the mark until it is released."""
    marks.may_give(given.stage, caller.roles)
    mark = await marking.mark_submission(
        session, submission_id, caller.own_id, stage=given.stage, points=given.mark, feedback=given.feedback
    )
    return MarkView.model_validate(mark)


@router.post(
    "/v1/credits/{credit_id}/revocation",
    operation_id="revoke_credit",
    dependencies=[Idempotent],
    responses=error_responses(OwnWork, SitsCourse, SamePerson, UnknownReason, CreditAlreadyRevoked),
)
async def revoke_credit(
    credit_id: UUID, body: RevocationRequest, session: Session, caller: CallerOf
) -> AssessedCreditView:
    """Take a credit away by a later decision of the board. The badge and every award that used it follow."""
    credit = await boards.revoke_credit(session, caller.name, credit_id, body.reason_code, body.minutes_reference)
    return AssessedCreditView.model_validate(credit)


@router.post(
    "/v1/credits/{credit_id}/reinstatement",
    operation_id="reinstate_credit",
    dependencies=[Idempotent],
    responses=error_responses(OwnWork, SitsCourse, SamePerson, UnknownReason, CreditNotRevoked, CreditReplaced),
)
async def reinstate_credit(
    credit_id: UUID, body: ReinstatementRequest, session: Session, caller: CallerOf
) -> AssessedCreditView:
    """Give a revoked credit back: a new badge is issued, the old one stays revoked."""
    credit = await boards.reinstate_credit(session, caller.name, credit_id, body.reason_code, body.minutes_reference)
    return AssessedCreditView.model_validate(credit)


@router.post(
    "/v1/misconduct-cases",
    operation_id="open_misconduct_case",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        Unknown, SubmissionSuperseded, SubmissionVoid, OwnWork, SitsCourse, UnknownReason, CaseOpen
    ),
)
async def open_misconduct_case(body: CaseRequest, session: Session, caller: CallerOf) -> CaseView:
    """Look into a piece of work: until the case is decided its result is neither marked, released nor ratified."""
    case = await misconduct.open_case(session, caller.own_id, body.submission_id, body.reason_code)
    return CaseView.model_validate(case)


@router.post(
    "/v1/misconduct-cases/{case_id}/decision",
    operation_id="decide_misconduct_case",
    dependencies=[Idempotent],
    responses=error_responses(CaseDecided, OwnWork, SitsCourse, SamePerson, OutcomeNotPossible),
)
async def decide_misconduct_case(
    case_id: UUID, decision: CaseDecisionRequest, session: Session, caller: CallerOf
) -> CaseView:
    """What the panel decided. Which outcomes are possible depends on what became of the work meanwhile."""
    case = await misconduct.decide_case(session, caller.own_id, case_id, decision.outcome, decision.minutes_reference)
    return CaseView.model_validate(case)


@router.get("/v1/misconduct-cases", operation_id="list_misconduct_cases")
async def list_misconduct_cases(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    open_: Annotated[bool | None, Query(alias="open", description="Only those that are open, or are not")] = None,
) -> Page[CaseView]:
    """Cases, the oldest first; none about your own work, nor of modules you study."""
    rows, cursor = await list_cases(session, caller.own_id, open_=open_, paging=paging)
    return page_of(rows, CaseView.model_validate, cursor)
