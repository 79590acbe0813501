"""What learners ask of assessment: windows, their attempts, handing in, receipts."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from assessment.api.shapes import (
    AssessmentView,
    HandedInView,
    SubmissionReceiptView,
    WindowView,
    assessment_view,
    receipt_view,
    window_view,
)
from assessment.commands import submissions
from assessment.domain.attempts import (
    AlreadyPassed,
    EnrolmentEnded,
    EnrolmentIsSuspended,
    NoAttemptsLeft,
    PendingResult,
)
from assessment.domain.marks import SitsCourse
from assessment.domain.windows import WindowIsClosed, WindowNotOpen, WindowState, WindowStillOpen, closed
from assessment.queries import enrolments, windows
from assessment.tables import Enrolment, Submission
from shared.database import fetch, now
from shared.file_checks import Checked
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy
from shared.web import (
    CallerOf,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    conditional,
    error_responses,
    page_of,
    resource,
    understood,
)
from shared.web.files import ATTACHMENT, UPLOAD_ERRORS, FileWork, attachment, file_body, upload_of
from shared.web.problems import problem

router = Router()

WINDOWS_FRESH_SECONDS = 10  # a window may be closed early, and should not look open for long after


@router.get("/v1/windows", operation_id="list_windows", response_model=Page[WindowView])
async def list_windows(
    request: Request,
    session: ReadSession,
    paging: Paging,
    state: Annotated[WindowState | None, Query(description="Open and upcoming ones unless given")] = None,
) -> Response:
    """Windows in which work may be handed in, by their closing."""
    rows, cursor = await windows.list_windows(session, state, paging)
    at = now(session)
    page = page_of(rows, lambda row: window_view(row, at), cursor)
    return conditional(request, page, max_age_seconds=WINDOWS_FRESH_SECONDS)


@router.get("/v1/assessments/{enrolment_id}", operation_id="read_assessment")
async def read_assessment(enrolment_id: UUID, session: ReadSession, caller: CallerOf) -> AssessmentView:
    """The brief, your attempts and results, and whether work can be handed in now (if not, why)."""
    enrolment = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(enrolment.learner_id)
    with understood(enrolment):
        return assessment_view(await enrolments.overview(session, enrolment))


@router.put(
    "/v1/assessments/{enrolment_id}/submission",
    operation_id="submit_work",
    status_code=201,
    response_model=HandedInView,
    openapi_extra=file_body("pdf, docx, zip, txt or md"),
    responses={200: {"model": HandedInView, "description": "These very bytes are your submission already"}}
    | error_responses(
        EnrolmentIsSuspended,
        EnrolmentEnded,
        AlreadyPassed,
        NoAttemptsLeft,
        PendingResult,
        WindowNotOpen,
        WindowIsClosed,
        *UPLOAD_ERRORS,
    ),
)
async def submit_work(
    *,
    enrolment_id: UUID,
    filename: Annotated[str, Query(min_length=1, max_length=255, examples=["report.pdf"])],
    request: Request,
    response: Response,
    session: Session,
    caller: CallerOf,
    storage: Annotated[ObjectStorage, resource(ObjectStorage)],
    policy: Annotated[UploadPolicy, resource(UploadPolicy)],
    window_id: Annotated[UUID | None, Query(description="The open window that closes first unless given")] = None,
) -> HandedInView | Response:
    """Hand in a file, or replace the one handed in while its window is open. Counted is when its last byte came.

    Of files sent at once the one whose last byte came last stands, whichever is answered first: another is answered
    with the state `superseded`, and `current_submission_id` names the one that counts.
    A file complete too late is refused with `window_closed` and kept as a draft, which counts for nothing.
    """
    enrolment = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(enrolment.learner_id)
    submission, is_new = await submissions.submit_work(
        session, storage, enrolment, window_id, upload_of(request, filename), policy
    )
    receipt = receipt_view(submission)
    if submission.state == "late":  # a refusal that keeps what it refused, so it is not raised
        detail = "the window had closed before the last byte came; the file is kept as a draft and counts for nothing"
        late = closed(detail, await windows.coming_window(session, now(session)))
        draft = receipt.model_dump(mode="json")
        return problem(late.status, late.code, late.title, late.detail, headers=None, **late.extras, draft=draft)
    response.status_code = 201 if is_new else 200
    standing = submission
    if submission.state == "superseded" and submission.attempt_id:
        standing = (await session.scalars(enrolments.current_submission(submission.attempt_id))).one()
    return HandedInView(**receipt.model_dump(), current_submission_id=standing.submission_id)


@router.get("/v1/assessments/{enrolment_id}/submissions", operation_id="list_submissions")
async def list_submissions(
    enrolment_id: UUID, session: ReadSession, caller: CallerOf, paging: Paging
) -> Page[SubmissionReceiptView]:
    """The receipt of every file you handed in, newest first; those replaced or too late are kept too."""
    enrolment = await fetch(session, Enrolment, enrolment_id)
    caller.must_own(enrolment.learner_id)
    rows, cursor = await enrolments.list_submissions(session, enrolment_id, paging)
    return page_of(rows, receipt_view, cursor)


@router.get(
    "/v1/submissions/{submission_id}/file",
    operation_id="read_submission_file",
    response_class=StreamingResponse,
    responses=ATTACHMENT | error_responses(SitsCourse, WindowStillOpen),
)
async def read_submission_file(
    submission_id: UUID,
    session: ReadSession,
    caller: CallerOf,
    work: FileWork,
) -> StreamingResponse:
    """The file as it was received. Its author gets it under its own name, a marker under the submission's id.

    Staff get what stands for an attempt or a case is about, once its window has closed, unless they sit that course.
    """
    submission = await fetch(session, Submission, submission_id)
    caller.must_own(submission.learner_id)
    by_author = caller.id == submission.learner_id
    if not by_author:
        await submissions.must_be_for_staff(session, caller.own_id, submission)
    name = submission.filename if by_author else f"{submission_id}.{submission.kind}"
    recorded = Checked(submission.sha256, submission.size)
    return await attachment(
        session, work, submission.storage_key, recorded, name=name, media_type=submission.media_type
    )
