"""Results of a window: released to their learners, ratified by the board."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field

from assessment.api.shapes import AT, ID, At, Identifier, Reference
from assessment.commands import boards, marking, releases
from assessment.domain.attempts import AttemptState
from assessment.domain.marks import (
    AlreadyReleased,
    NothingToRatify,
    NotMarked,
    OwnWork,
    ResultsBusy,
    SamePerson,
    SitsCourse,
    SubmissionSuperseded,
    SubmissionVoid,
)
from assessment.domain.misconduct import CaseOpen
from assessment.queries import results
from assessment.tables import Attempt, Board, Release, Submission
from shared.database import Unknown, fetch
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


class OutcomeView(View):
    """What became of one piece of work, for the examiners."""

    submission_id: Identifier
    attempt_id: Identifier
    enrolment_id: Identifier
    learner_id: Identifier
    course_code: Annotated[str, Field(examples=["7DS501"])]
    attempt_no: Annotated[int, Field(examples=[1])]
    state: Annotated[AttemptState, Field(examples=["marked"])]
    raw_mark: Annotated[Decimal | None, Field(description="What the work earned", examples=["64.5"])]
    mark: Annotated[Decimal | None, Field(description="What is recorded", examples=["64.5"])]
    passed: Annotated[bool | None, Field(examples=[True])]
    capped: Annotated[bool | None, Field(examples=[False])]
    marked_at: Annotated[Instant | None, Field(examples=[AT])]
    released_at: Annotated[Instant | None, Field(examples=[AT])]
    ratified_at: Annotated[Instant | None, Field(examples=[None])]


def _outcome_view(attempt: Attempt, submission_id: UUID, course_code: str) -> OutcomeView:
    return OutcomeView(
        submission_id=submission_id,
        attempt_id=attempt.attempt_id,
        enrolment_id=attempt.enrolment_id,
        learner_id=attempt.learner_id,
        course_code=course_code,
        attempt_no=attempt.attempt_no,
        state=AttemptState(attempt.state),
        raw_mark=attempt.raw_mark,
        mark=attempt.mark,
        passed=attempt.passed,
        capped=attempt.capped,
        marked_at=attempt.marked_at,
        released_at=attempt.released_at,
        ratified_at=attempt.ratified_at,
    )


def _outcome_of(row: tuple[Attempt, Submission | None]) -> OutcomeView:
    attempt, work = row
    assert work is not None, "its work is in no state that is known"
    return _outcome_view(attempt, work.submission_id, work.course_version.code)


class Progress(StrEnum):
    """Whether a release or a board is still going through its results (`under_way`) or has gone through all of them."""

    UNDER_WAY = "under_way"
    FINISHED = "finished"


_PROGRESS = Field(description="under_way: it goes on by itself, read it again in a while", examples=["finished"])
_EXPECTED = Field(description="How many results it is to go through", examples=[42])


class ReleaseView(View):
    """Releasing results to learners: how many are released so far, and of how many."""

    release_id: Identifier
    window_id: Identifier
    state: Annotated[Progress, _PROGRESS]
    expected: Annotated[int, _EXPECTED]
    released: Annotated[int, Field(examples=[42])]
    passed: Annotated[int, Field(examples=[37])]
    failed: Annotated[int, Field(examples=[5])]
    requested_at: At


def _release_view(release: Release) -> ReleaseView:
    return ReleaseView(
        release_id=release.release_id,
        window_id=release.window_id,
        state=_progress(release),
        expected=release.expected,
        released=release.released,
        passed=release.passed,
        failed=release.released - release.passed,
        requested_at=release.requested_at,
    )


def _progress(work: Release | Board) -> Progress:
    return Progress.UNDER_WAY if work.under_way else Progress.FINISHED


class BoardRequest(RequestModel):
    """The window whose released results the board ratifies, and where the minutes of its sitting are filed."""

    window_id: Identifier
    minutes_reference: Reference


class BoardView(View):
    """A sitting of the board: how many results it ratified, and how many wait (suspended, or a case is open)."""

    board_id: Identifier
    window_id: Annotated[UUID | None, Field(examples=[ID])]
    minutes_reference: Annotated[str, Field(examples=["EB/26/11"])]
    state: Annotated[Progress, _PROGRESS]
    expected: Annotated[int, _EXPECTED]
    ratified: Annotated[int, Field(examples=[42])]
    credits_awarded: Annotated[int, Field(examples=[37])]
    held: Annotated[
        int,
        Field(
            description="Released results left for another board: suspended, under a case, or this member's own marks. "
            "Counted when it has finished",
            examples=[0],
        ),
    ]
    decided_at: At


def _board_view(board: Board) -> BoardView:
    expected = board.ratified if board.expected is None else board.expected
    fields = ("board_id", "window_id", "minutes_reference", "ratified", "credits_awarded", "decided_at")
    values = {name: getattr(board, name) for name in fields}
    return BoardView(**values, held=board.deferred, state=_progress(board), expected=expected)


@router.get("/v1/windows/{window_id}/results", operation_id="list_results")
async def list_results(
    window_id: UUID,
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[AttemptState | None, Query(description="Only work in this state")] = None,
) -> Page[OutcomeView]:
    """The work of a window with marks and states, for release and for the board; of modules you study, none."""
    rows, cursor = await results.list_results(session, caller.name, window_id, state, paging)
    return page_of(rows, _outcome_of, cursor)


@router.post(
    "/v1/windows/{window_id}/release",
    operation_id="release_window",
    dependencies=[Idempotent],
    responses={202: {"model": ReleaseView, "description": "Under way: `Location` says how far"}}
    | error_responses(ResultsBusy),
)
async def release_window(window_id: UUID, response: Response, session: Session, caller: CallerOf) -> ReleaseView:
    """Release every marked result of a window to its learner, as provisional. Many take a while: 202."""
    release = await releases.release_window(session, caller.name, window_id)
    if release.under_way:
        response.status_code, response.headers["Location"] = 202, f"/v1/releases/{release.release_id}"
    return _release_view(release)


@router.get("/v1/releases/{release_id}", operation_id="read_release")
async def read_release(release_id: UUID, session: ReadSession) -> ReleaseView:
    """How many results of a window are released so far, and of how many."""
    return view_of(await fetch(session, Release, release_id), _release_view)


@router.post(
    "/v1/submissions/{submission_id}/release",
    operation_id="release_submission",
    dependencies=[Idempotent],
    responses=error_responses(
        OwnWork, SitsCourse, NotMarked, AlreadyReleased, SubmissionSuperseded, SubmissionVoid, CaseOpen
    ),
)
async def release_submission(submission_id: UUID, session: Session, caller: CallerOf) -> OutcomeView:
    """Release one marked result to its learner, as provisional."""
    attempt = await marking.release_submission(session, caller.name, submission_id)
    return _outcome_view(attempt, submission_id, attempt.course_version.code)


@router.post(
    "/v1/boards",
    operation_id="ratify_results",
    status_code=201,
    dependencies=[Idempotent],
    responses={202: {"model": BoardView, "description": "Under way: `Location` says how far"}}
    | error_responses(Unknown, NothingToRatify, SamePerson, ResultsBusy),
)
async def ratify_results(body: BoardRequest, response: Response, session: Session, caller: CallerOf) -> BoardView:
    """The board ratifies every released result of a window that its member neither marked nor moderated.

    Passes become credit. Many results take a while: 202.
    """
    board = await boards.ratify_window(session, caller.name, body.window_id, body.minutes_reference)
    response.headers["Location"] = f"/v1/boards/{board.board_id}"
    if board.under_way:
        response.status_code = 202
    return _board_view(board)


@router.get("/v1/boards/{board_id}", operation_id="read_board")
async def read_board(board_id: UUID, session: ReadSession) -> BoardView:
    """A sitting of the board, and how far its results are ratified."""
    return view_of(await fetch(session, Board, board_id), _board_view)
