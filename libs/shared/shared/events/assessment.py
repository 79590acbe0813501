"""What assessment announces. Marks are whole or decimal points of 100, as strings, so that no float touches them."""

from decimal import Decimal
from uuid import UUID

from shared.events.base import Event, Instant


class WindowPublished(Event, type="assessment.window.published.v1", subject="window_id"):
    """A half-open span [opens_at, closes_at) in which work may be handed in."""

    window_id: UUID
    opens_at: Instant
    closes_at: Instant


class WindowOpened(Event, type="assessment.window.opened.v1", subject="window_id"):
    """Work may be handed in from now on."""

    window_id: UUID
    opened_at: Instant
    closes_at: Instant


class WindowClosed(Event, type="assessment.window.closed.v1", subject="window_id"):
    """No more work is taken in this window; what was handed in may be marked."""

    window_id: UUID
    closed_at: Instant


class SubmissionReceived(
    Event, type="assessment.submission.received.v1", subject="submission_id", consumers=("enrolment",)
):
    """Work was handed in for an attempt, perhaps in place of what was handed in for it before. A file recorded after
    one whose last byte came later never stood for the attempt, and is not announced."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    window_id: UUID
    attempt_no: int
    sha256: str
    received_at: Instant
    replaces: UUID | None = None
    """The submission that is superseded by it."""


class SubmissionVoided(
    Event, type="assessment.submission.voided.v1", subject="submission_id", consumers=("credentials", "enrolment")
):
    """The work no longer counts. If its result had been released, the attempt stays used; otherwise none is."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    reason_code: str
    voided_at: Instant


class MarkModerated(Event, type="assessment.mark.provisional.v1", subject="submission_id"):
    """An examiner moderated a mark, which the learner sees when it is released; the latest holds. outcome: passed,
    failed."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    attempt_no: int
    outcome: str
    moderated_at: Instant


class AssessmentPassed(
    Event,
    type="assessment.assessment.passed.v1",
    subject="submission_id",
    consumers=("credentials", "enrolment"),
):
    """A pass was released: provisional until the board ratifies it."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    course_version_id: UUID
    module_family: str
    attempt_no: int
    mark: Decimal
    capped: bool
    released_at: Instant


class AssessmentFailed(
    Event,
    type="assessment.assessment.failed.v1",
    subject="submission_id",
    consumers=("credentials", "enrolment"),
):
    """A fail was released: provisional until the board ratifies it."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    course_version_id: UUID
    module_family: str
    attempt_no: int
    mark: Decimal
    released_at: Instant


class FailRatified(
    Event, type="assessment.fail.ratified.v1", subject="submission_id", consumers=("enrolment", "payments")
):
    """The board confirmed a fail, as CreditAwarded reports a pass."""

    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    attempt_no: int
    mark: Decimal
    board_id: UUID
    ratified_at: Instant


class MisconductOpened(
    Event, type="assessment.misconduct.opened.v1", subject="case_id", consumers=("enrolment", "credentials")
):
    """A case about one piece of work: its result is frozen, and nothing is claimed until it is decided."""

    case_id: UUID
    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    attempt_no: int
    reason_code: str
    opened_at: Instant


class MisconductDecided(
    Event, type="assessment.misconduct.decided.v1", subject="case_id", consumers=("enrolment", "credentials")
):
    """A panel decided a case of suspected misconduct. outcome: no_case, resubmit, mark_zero, credit_revoked. What
    follows from it for marks and credit is announced by events of their own."""

    case_id: UUID
    submission_id: UUID
    enrolment_id: UUID
    learner_id: UUID
    attempt_no: int
    outcome: str
    decided_at: Instant


class AttemptsExhausted(
    Event, type="assessment.attempts.exhausted.v1", subject="enrolment_id", consumers=("enrolment", "payments")
):
    """The board ratified the fail of the last attempt: a new enrolment gives new attempts."""

    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    attempts_used: int
    exhausted_at: Instant


class CreditAwarded(
    Event, type="assessment.credit.awarded.v1", subject="credit_id", consumers=("credentials", "enrolment", "payments")
):
    """The board ratified a pass. At most once per learner and module family."""

    credit_id: UUID
    learner_id: UUID
    enrolment_id: UUID
    submission_id: UUID
    course_id: UUID
    course_version_id: UUID
    course_code: str
    course_title: str
    module_family: str
    subject_id: UUID
    subject_name: str
    """As at the award of credit; a later renaming does not touch it."""
    credits: int
    level: int
    mark: Decimal
    attempt_no: int
    board_id: UUID
    regulations_version: str
    ratified_at: Instant


class CreditRevoked(
    Event, type="assessment.credit.revoked.v1", subject="credit_id", consumers=("credentials", "enrolment", "payments")
):
    """A later decision of the board took the credit away. reason_code: misconduct, appeal, error.

    `revision` orders what became of one credit; the enrolment is the one that had earned it.
    """

    credit_id: UUID
    learner_id: UUID
    reason_code: str
    board_id: UUID
    revoked_at: Instant
    decided_by: str | None = None
    """The account that decided for the board: another one decides what becomes of an award."""
    enrolment_id: UUID | None = None
    revision: int | None = None


class CreditReinstated(
    Event,
    type="assessment.credit.reinstated.v1",
    subject="credit_id",
    consumers=("credentials", "enrolment", "payments"),
):
    """The board gave a revoked credit back. reason_code: appeal, error."""

    credit_id: UUID
    learner_id: UUID
    reason_code: str
    board_id: UUID
    reinstated_at: Instant
    enrolment_id: UUID | None = None
    revision: int | None = None
