"""What a study record holds about a learner."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Course:
    """The frozen course version that was bought."""

    course_id: UUID
    course_version_id: UUID
    version: int
    slug: str
    code: str
    title: str
    module_family: str
    subject_name: str
    institution_name: str
    credits: int
    level: int
    weeks: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How many units of the course version are begun and finished; `percent` is the share finished, rounded down."""

    units: int
    started: int
    finished: int

    @property
    def percent(self) -> int:
        return 100 * self.finished // self.units if self.units else 0


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An enrolment as it is stored, with its course version and progress."""

    enrolment_id: UUID
    course: Course
    status: str
    reason_code: str | None
    regulations_version: str
    activated_at: datetime
    progress: Progress


@dataclass(frozen=True, slots=True)
class NotActivated:
    """A paid line that became no enrolment; its money goes back."""

    order_id: UUID
    order_line_id: UUID
    course_id: UUID
    reason_code: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Submission:
    """A file handed in. `status`: received, superseded (a later file replaced it), voided (it never counted)."""

    submission_id: UUID
    window_id: UUID
    attempt_no: int
    sha256: str
    received_at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class Result:
    """The released result of an attempt. `standing`: provisional, frozen (a case about it is open), ratified (by the
    board).

    `mark` in points of 100.
    """

    submission_id: UUID
    attempt_no: int
    outcome: str
    mark: Decimal
    capped: bool
    standing: str
    released_at: datetime


@dataclass(frozen=True, slots=True)
class Study:
    """One enrolment in the study record, with its submissions and results."""

    enrolment_id: UUID
    course: Course
    status: str
    reason_code: str | None
    regulations_version: str
    activated_at: datetime
    progress: Progress
    submissions: tuple[Submission, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    """Credit for a passed course. `status`: awarded or revoked."""

    credit_id: UUID
    enrolment_id: UUID
    course_code: str
    course_title: str
    module_family: str
    subject_name: str
    credits: int
    level: int
    mark: Decimal
    ratified_at: datetime
    status: str
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge about one credit or award. `status`: issued or revoked."""

    badge_id: UUID
    credit_id: UUID | None
    award_id: UUID | None
    credential_url: str
    issued_at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class Award:
    """An award. `status`: claimed; lapsed (nobody conferred it in time), withdrawn, refused; conferred; superseded,
    rescinded.

    A higher award takes up the credit of a superseded one. An award under review still stands.
    """

    award_id: UUID
    level: str
    title: str
    status: str
    under_review: bool
    credit_ids: tuple[UUID, ...]
    classification: str | None
    certificate_number: str | None
    claimed_at: datetime | None
    conferred_at: datetime | None
    superseded_by: UUID | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Credit on its way into a degree elsewhere. `status`: requested; withdrawn (it ended undecided); accepted, refused
    (by the partner); completed (the degree was conferred), returned (the credit is the learner's again).
    """

    transfer_id: UUID
    programme_id: UUID
    status: str
    reason_code: str | None
    """Why it was withdrawn or returned."""
    credit_ids: tuple[UUID, ...]
    accepted_credit_ids: tuple[UUID, ...]
    """Those the partner took, in whole or in part."""
    requested_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Titles the learner may claim at one level, in alphabetical order."""

    level: str
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """Everything about one learner's studies."""

    learner_id: UUID
    display_name: str
    registered_at: datetime
    enrolments: tuple[Study, ...]
    not_activated: tuple[NotActivated, ...]
    credits: tuple[Credit, ...]
    credits_total: int
    """Credits awarded and not revoked."""
    badges: tuple[Badge, ...]
    awards: tuple[Award, ...]
    transfers: tuple[Transfer, ...]
    award_eligibility: tuple[Eligibility, ...]


@dataclass(frozen=True, slots=True)
class Person:
    learner_id: UUID
    display_name: str
    registered_at: datetime
