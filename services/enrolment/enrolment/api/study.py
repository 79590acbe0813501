"""The study record: everything about one learner's studies in one read."""

from decimal import Decimal
from uuid import UUID

from pydantic import Field

from enrolment import queries
from enrolment.api.enrolments import EnrolledCourseView, ProgressView
from enrolment.domain.enrolments import EnrolmentStatus, StudiesSameModule
from enrolment.domain.learners import NotRegistered
from enrolment.tables import Learner
from shared.access import refuse_concerned
from shared.paging import paginate
from shared.web import CallerOf, Instant, Paging, ReadSession, Router, View, error_responses, understood

router = Router()


class SubmissionView(View):
    """A file that was handed in, named by its SHA-256 in hex, and whether it counts for its attempt."""

    submission_id: UUID
    window_id: UUID
    attempt_no: int = Field(examples=[1])
    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    received_at: Instant
    status: str = Field(description="received, superseded or voided", examples=["received"])


class StudyResultView(View):
    """What an attempt at a course came to, once it is released; it is provisional until the board ratifies it."""

    submission_id: UUID
    attempt_no: int = Field(examples=[1])
    outcome: str = Field(description="passed or failed", examples=["passed"])
    mark: Decimal = Field(description="Points of 100", examples=["68"])
    capped: bool = Field(description="A resit counts up to the cap only", examples=[False])
    standing: str = Field(
        description="provisional until the board ratifies it; frozen while a case about it is open; ratified",
        examples=["provisional"],
    )
    released_at: Instant


class StudyView(View):
    """One course on a learner's study record, with what was handed in and what came of it."""

    enrolment_id: UUID
    course: EnrolledCourseView
    status: EnrolmentStatus = Field(examples=["active"])
    reason_code: str | None = Field(examples=[None])
    regulations_version: str = Field(examples=["mc-regs-2026.2"])
    activated_at: Instant
    progress: ProgressView
    submissions: list[SubmissionView]
    results: list[StudyResultView]


class NotActivatedView(View):
    """A paid line that became no enrolment; its money goes back."""

    order_id: UUID
    order_line_id: UUID
    course_id: UUID
    reason_code: str = Field(examples=["already_enrolled"])
    decided_at: Instant


class StudyCreditView(View):
    """Credit for a passed course; `reason_code` is null unless it was revoked."""

    credit_id: UUID
    enrolment_id: UUID
    course_code: str = Field(examples=["7DS505"])
    course_title: str = Field(examples=["Data Engineering"])
    module_family: str = Field(examples=["7DS505"])
    subject_name: str = Field(examples=["Data Science"])
    credits: int = Field(examples=[15])
    level: int = Field(examples=[7])
    mark: Decimal = Field(examples=["68"])
    ratified_at: Instant
    status: str = Field(description="awarded or revoked", examples=["awarded"])
    reason_code: str | None = Field(examples=[None])


class StudyBadgeView(View):
    """A badge: `credit_id` is null for an award's, `award_id` for a course's."""

    badge_id: UUID
    credit_id: UUID | None
    award_id: UUID | None
    credential_url: str = Field(examples=["https://microcredentials.example/credentials/0193a1c0"])
    issued_at: Instant
    status: str = Field(description="issued or revoked", examples=["issued"])


class StudyAwardView(View):
    """An award on a learner's study record; what has not happened yet is null."""

    award_id: UUID
    level: str = Field(examples=["pgcert"])
    title: str = Field(examples=["PGCert in Data Science"])
    status: str = Field(
        description="claimed, lapsed, withdrawn, refused, conferred, superseded or rescinded", examples=["conferred"]
    )
    under_review: bool = Field(description="It lost credit; it stands until a person decides", examples=[False])
    credit_ids: list[UUID]
    classification: str | None = Field(examples=["Merit"])
    certificate_number: str | None = Field(examples=["MC-2026-000042"])
    claimed_at: Instant | None
    conferred_at: Instant | None
    superseded_by: UUID | None


class StudyTransferView(View):
    """Credit on its way into a degree elsewhere."""

    transfer_id: UUID
    programme_id: UUID
    status: str = Field(
        description="requested; withdrawn (it ended undecided); accepted or refused by the partner; completed (the "
        "degree was conferred) or returned (the credit is yours again)",
        examples=["accepted"],
    )
    reason_code: str | None = Field(description="Why it was withdrawn or returned", examples=[None])
    credit_ids: list[UUID]
    accepted_credit_ids: list[UUID] = Field(description="Those the partner took, in whole or in part")
    requested_at: Instant
    decided_at: Instant | None


class EligibilityView(View):
    """The titles a learner can claim at one level."""

    level: str = Field(examples=["pgcert"])
    titles: list[str] = Field(examples=[["PGCert in Data Science"]])


class StudyRecordView(View):
    """All of one learner's studies on one page: courses, credit, badges, awards and transfers."""

    learner_id: UUID
    display_name: str = Field(examples=["Ada Okonkwo"])
    registered_at: Instant
    enrolments: list[StudyView]
    not_activated: list[NotActivatedView]
    credits: list[StudyCreditView]
    credits_total: int = Field(description="Credits awarded and not revoked", examples=[60])
    badges: list[StudyBadgeView]
    awards: list[StudyAwardView]
    transfers: list[StudyTransferView]
    award_eligibility: list[EligibilityView]


class StudyRecordComparisonView(View):
    """A page of study records that were derived anew and compared with those in use."""

    compared: int = Field(description="Study records compared with their rebuild", examples=[100])
    differing: list[UUID] = Field(description="Learners whose record differs; there should be none")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next learners; null at the end")


@router.get("/v1/study-record", operation_id="read_own_study_record", responses=error_responses(NotRegistered))
async def read_own_study_record(session: ReadSession, caller: CallerOf) -> StudyRecordView:
    """Everything about one's own studies: courses, progress, submissions, results, credits, badges, awards, transfers.

    Marks are provisional until the board has ratified them, and say so.
    """
    return await _record(session, caller.own_id)


@router.get(
    "/v1/learners/{learner_id}/study-record",
    operation_id="read_study_record",
    responses=error_responses(StudiesSameModule, NotRegistered),
)
async def read_study_record(learner_id: UUID, session: ReadSession, caller: CallerOf) -> StudyRecordView:
    """Advisors: a learner's study record, unless they study one of its modules themselves."""
    beside = await queries.studies_beside(session, caller.own_id, learner_id)
    refuse_concerned(session, StudiesSameModule("you study a module of this learner's yourself"), concerned=beside)
    return await _record(session, learner_id)


async def _record(session: ReadSession, learner_id: UUID) -> StudyRecordView:
    """It holds sums: with a fact that is not understood none of them would be right."""
    learner = await session.get(Learner, learner_id)
    with understood(learner):
        return StudyRecordView.model_validate(await queries.read_study_record(session, learner_id))


@router.get("/v1/study-record-comparison", operation_id="compare_study_records")
async def compare_study_records(session: ReadSession, paging: Paging) -> StudyRecordComparisonView:
    """Operators: rebuild the study records of the next learners from the facts and name those that differ."""
    learners, cursor = await paginate(session, queries.learners_page(), paging, by=[Learner.learner_id])
    compared = await queries.compare_study_records(session, [learner.learner_id for learner in learners])
    return StudyRecordComparisonView(compared=compared.compared, differing=compared.differing, next_cursor=cursor)
