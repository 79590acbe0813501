"""The request and response bodies of assessment, and how rows become them."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from assessment.domain import windows
from assessment.domain.attempts import AttemptState
from assessment.domain.marks import Stage
from assessment.domain.misconduct import MisconductOutcome
from assessment.domain.windows import WindowState
from assessment.queries.enrolments import Overview
from assessment.queries.windows import seen
from assessment.tables import Attempt, Brief, Submission, Window
from shared.web import Instant, RequestModel, View
from shared.web.content import Text

ID = "019a1c2e-7b5a-7c31-9d55-1f0e6f3b2a10"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
AT = "2026-11-03T09:30:00Z"

Identifier = Annotated[UUID, Field(examples=[ID])]
At = Annotated[Instant, Field(examples=[AT])]
Points = Annotated[Decimal, Field(description="Points, as a string so that no float touches them", examples=["64.5"])]
Reference = Annotated[
    Text, Field(min_length=1, max_length=200, description="Where the minutes are", examples=["EB/26/11"])
]


class WindowRequest(RequestModel):
    """A window to be published, beside the regular ones of each month."""

    opens_at: Annotated[Instant, Field(description="First instant", examples=["2026-11-20T09:00:00Z"])]
    closes_at: Annotated[Instant, Field(description="First instant too late", examples=["2026-11-27T17:00:00Z"])]
    grace_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=86_400,
            description="How much later a file may be complete; the regulations' unless given",
            examples=[0],
        ),
    ] = None


class WindowView(View):
    """A half-open span [opens_at, closes_at) in which work may be handed in."""

    window_id: Identifier
    period: Annotated[str | None, Field(description="The month of a regular window", examples=["2026-11"])]
    opens_at: Annotated[Instant, Field(examples=["2026-11-01T00:00:00Z"])]
    closes_at: Annotated[Instant, Field(examples=["2026-11-08T00:00:00Z"])]
    grace_seconds: Annotated[int, Field(examples=[0])]
    state: Annotated[WindowState, Field(examples=["open"])]


def window_view(window: Window, now: datetime) -> WindowView:
    return WindowView(
        window_id=window.window_id,
        period=window.period,
        opens_at=window.opens_at.astimezone(UTC),
        closes_at=window.closes_at.astimezone(UTC),
        grace_seconds=window.grace_seconds,
        state=windows.state(seen(window), now),
    )


class Criterion(RequestModel):
    """What work is judged by, and how much it weighs."""

    name: Annotated[Text, Field(min_length=1, max_length=200, examples=["Argument"])]
    weight_percent: Annotated[int, Field(ge=1, le=100, examples=[100])]
    description: Annotated[Text, Field(max_length=2000, examples=["Claims follow from evidence."])] = ""


class BriefRequest(RequestModel):
    """The brief of a course, as examiners write it."""

    title: Annotated[Text, Field(min_length=1, max_length=300, examples=["A pipeline that survives"])]
    task: Annotated[Text, Field(min_length=1, max_length=20_000, examples=["Build a small pipeline that ..."])]
    deliverable: Annotated[Text, Field(min_length=1, max_length=1000, examples=["A report with runnable code"])]
    word_limit: Annotated[int, Field(ge=1, le=1_000_000, examples=[3000])]
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=50, description="Weights sum to 100")]


class BriefView(View):
    """The task of a course: one project, and how it is judged."""

    title: Annotated[str, Field(examples=["A pipeline that survives"])]
    task: Annotated[str, Field(examples=["Build a small pipeline that ..."])]
    deliverable: Annotated[str, Field(examples=["A report with runnable code"])]
    word_limit: Annotated[int, Field(examples=[3000])]
    criteria: list[Criterion]
    updated_at: At


class SubmissionReceiptView(View):
    """Proof of what was received and when. Compare the SHA-256 with that of your file."""

    submission_id: Identifier
    enrolment_id: Identifier
    attempt_no: Annotated[int | None, Field(description="None where it came too late to count", examples=[1])]
    window_id: Identifier
    state: Annotated[str, Field(description="current, superseded, late or voided", examples=["current"])]
    filename: Annotated[str, Field(examples=["report.pdf"])]
    kind: Annotated[str, Field(examples=["pdf"])]
    size: Annotated[int, Field(description="Bytes", examples=[48_213])]
    sha256: Annotated[str, Field(description="Of the whole file, hexadecimal", examples=[SHA256])]
    received_at: Annotated[Instant, Field(description="When its last byte had come", examples=[AT])]


class HandedInView(SubmissionReceiptView):
    """The receipt for a file that was handed in, and which file counts for the attempt now."""

    current_submission_id: Annotated[
        UUID,
        Field(
            description="The submission that counts: this one, unless its state is superseded, as the last byte of"
            " another came after its own",
            examples=[ID],
        ),
    ]


def receipt_view(submission: Submission) -> SubmissionReceiptView:
    return SubmissionReceiptView(
        submission_id=submission.submission_id,
        enrolment_id=submission.enrolment_id,
        attempt_no=submission.attempt.attempt_no if submission.attempt else None,
        window_id=submission.window_id,
        state=submission.state,
        filename=submission.filename,
        kind=submission.kind,
        size=submission.size,
        sha256=submission.sha256,
        received_at=submission.received_at,
    )


class ResultView(View):
    """What an attempt came to, once it is released."""

    mark: Annotated[Points, Field(description="The recorded mark; on a resit at most the cap")]
    raw_mark: Annotated[Points, Field(description="What the work earned")]
    capped: Annotated[bool, Field(examples=[False])]
    passed: Annotated[bool, Field(examples=[True])]
    provisional: Annotated[bool, Field(description="Until the board ratifies it", examples=[True])]
    feedback: Annotated[str, Field(examples=["A clear model, well tested."])]
    released_at: At
    ratified_at: Annotated[Instant | None, Field(examples=[None])]


class AttemptView(View):
    """One try at a course, with the file that counts and its result."""

    attempt_id: Identifier
    attempt_no: Annotated[int, Field(examples=[1])]
    state: Annotated[
        str,
        Field(
            description="submitted (may be replaced), in_marking, provisional, ratified, voided (never counted), or "
            "frozen (a case about it is open)",
            examples=["provisional"],
        ),
    ]
    window_id: Identifier
    submission_id: Annotated[UUID | None, Field(description="The file that counts", examples=[ID])]
    result: ResultView | None


class AssessedCourseView(View):
    """The course version that is assessed."""

    course_id: Identifier
    course_version_id: Identifier
    code: Annotated[str, Field(examples=["7DS501"])]
    title: Annotated[str, Field(examples=["Data Engineering"])]


class PermissionView(View):
    """Whether work can be handed in at this moment."""

    possible: Annotated[bool, Field(examples=[True])]
    window_id: Annotated[UUID | None, Field(description="Where it would go", examples=[ID])]
    code: Annotated[str | None, Field(description="Why not: the code a submission would get", examples=[None])]
    detail: Annotated[str | None, Field(examples=[None])]


class AssessmentView(View):
    """Where a learner stands in the assessment of one course."""

    enrolment_id: Identifier
    enrolment_status: Annotated[str, Field(description="active, suspended or cancelled", examples=["active"])]
    course: AssessedCourseView
    regulations_version: Annotated[str, Field(examples=["mc-regs-2026.2"])]
    brief: Annotated[BriefView | None, Field(description="None until the examiners have written it")]
    attempts: list[AttemptView]
    attempts_allowed: Annotated[int, Field(examples=[3])]
    attempts_left: Annotated[int, Field(examples=[2])]
    submission: PermissionView
    next_window: Annotated[WindowView | None, Field(description="The window that opens next")]


def assessment_view(overview: Overview) -> AssessmentView:
    enrolment, course = overview.enrolment, overview.course_version
    return AssessmentView(
        enrolment_id=enrolment.enrolment_id,
        enrolment_status=overview.status,
        course=AssessedCourseView.model_validate(course),
        regulations_version=enrolment.regulations_version,
        brief=_brief(overview.brief),
        attempts=[_attempt(attempt, submission, overview.now) for attempt, submission in overview.attempts],
        attempts_allowed=overview.attempts_allowed,
        attempts_left=overview.attempts_left,
        submission=PermissionView.model_validate(overview.permission),
        next_window=window_view(overview.next_window, overview.now) if overview.next_window else None,
    )


def _brief(brief: Brief | None) -> BriefView | None:
    return BriefView.model_validate(brief) if brief else None


def _attempt(attempt: Attempt, submission: Submission | None, now: datetime) -> AttemptView:
    return AttemptView(
        attempt_id=attempt.attempt_id,
        attempt_no=attempt.attempt_no,
        state=_seen_state(attempt, now),
        window_id=attempt.window_id,
        submission_id=submission.submission_id if submission else None,
        result=_result(attempt),
    )


def _seen_state(attempt: Attempt, now: datetime) -> str:
    """What the learner may know: not that a mark exists before it is released."""
    if attempt.case_id is not None:
        return "frozen"
    match AttemptState(attempt.state):
        case AttemptState.SUBMITTED if windows.accepts(seen(attempt.window), now):
            return "submitted"
        case AttemptState.SUBMITTED | AttemptState.MARKED:
            return "in_marking"
        case AttemptState.RELEASED:
            return "provisional"
        case AttemptState.RATIFIED | AttemptState.VOIDED as state:
            return state


def _result(attempt: Attempt) -> ResultView | None:
    if attempt.state not in (AttemptState.RELEASED, AttemptState.RATIFIED):
        return None
    return ResultView.model_validate(
        {
            "mark": attempt.mark,
            "raw_mark": attempt.raw_mark,
            "capped": attempt.capped,
            "passed": attempt.passed,
            "provisional": attempt.state == AttemptState.RELEASED,
            "feedback": attempt.feedback,
            "released_at": attempt.released_at,
            "ratified_at": attempt.ratified_at,
        }
    )


class QueuedView(View):
    """Work that waits for a mark; who wrote it is not shown."""

    submission_id: Identifier
    window_id: Identifier
    course_version_id: Identifier
    course_code: Annotated[str, Field(examples=["7DS501"])]
    course_title: Annotated[str, Field(examples=["Data Engineering"])]
    kind: Annotated[str, Field(examples=["pdf"])]
    size: Annotated[int, Field(description="Bytes", examples=[48_213])]
    sha256: Annotated[str, Field(examples=[SHA256])]
    received_at: At
    due_on: Annotated[date, Field(description="Last day of the turnaround", examples=["2026-12-04"])]


def _plain(value: object) -> object:
    if not (isinstance(value, str) and _PLAIN_POINTS.fullmatch(value)):
        raise ValueError("points are written with up to four digits and as many decimals, and nothing else")
    return value


_PLAIN_POINTS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?")

GivenPoints = Annotated[
    Points,
    BeforeValidator(_plain),
    WithJsonSchema({"type": "string", "pattern": f"^{_PLAIN_POINTS.pattern}$"}, mode="validation"),
]
"""As people write them; how many decimals count is the regulations' to say."""


class MarksRequest(RequestModel):
    """A mark for a submission, given by a marker or a moderating examiner."""

    mark: GivenPoints
    feedback: Annotated[Text, Field(max_length=20_000, description="For the learner", examples=["Well argued."])] = ""
    stage: Annotated[
        Stage,
        Field(description="`first` by a marker; `moderation` by an examiner, in place of the mark before"),
    ] = Stage.FIRST


class MarkView(View):
    """A mark as it was given; what is recorded may be less, after a resit."""

    mark_id: Identifier
    submission_id: Identifier
    stage: Annotated[Stage, Field(examples=["first"])]
    mark: Points
    feedback: Annotated[str, Field(examples=["Well argued."])]
    marked_at: At


class RevocationRequest(RequestModel):
    """Why the board takes a credit back, and where the minutes are."""

    reason_code: Annotated[
        Text, Field(max_length=50, description="As the regulations name them", examples=["misconduct"])
    ]
    minutes_reference: Reference


class ReinstatementRequest(RequestModel):
    """Why the board gives a revoked credit back, and where the minutes are."""

    reason_code: Annotated[Text, Field(max_length=50, description="As the regulations name them", examples=["appeal"])]
    minutes_reference: Reference


class CaseRequest(RequestModel):
    """An accusation to be entered: which work is suspected, and of what."""

    submission_id: Identifier
    reason_code: Annotated[
        Text, Field(max_length=50, description="As the regulations name them", examples=["plagiarism"])
    ]


class CaseDecisionRequest(RequestModel):
    """What the panel decided, and where the minutes are."""

    outcome: Annotated[
        MisconductOutcome,
        Field(description="resubmit: the attempt does not count; mark_zero: it is used up", examples=["no_case"]),
    ]
    minutes_reference: Reference


class CaseView(View):
    """An accusation about one piece of work."""

    case_id: Identifier
    submission_id: Identifier
    enrolment_id: Identifier
    learner_id: Identifier
    attempt_no: Annotated[int, Field(examples=[1])]
    reason_code: Annotated[str, Field(examples=["plagiarism"])]
    opened_at: At
    outcome: Annotated[MisconductOutcome | None, Field(description="None while it is open", examples=["no_case"])]
    minutes_reference: Annotated[str | None, Field(examples=["AP/26/3"])]
    decided_at: Annotated[Instant | None, Field(examples=[AT])]


class AssessedCreditView(View):
    """Credit that the board awarded for a passed module."""

    credit_id: Identifier
    learner_id: Identifier
    module_family: Annotated[str, Field(examples=["7DS501"])]
    credits: Annotated[int, Field(examples=[15])]
    mark: Points
    awarded_at: At
    revoked_at: Annotated[Instant | None, Field(examples=[AT])]
    revocation_reason: Annotated[str | None, Field(examples=["misconduct"])]
