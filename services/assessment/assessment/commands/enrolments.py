"""Copies of what others own: course versions and enrolments; and voiding the attempts of an ended enrolment."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.domain.attempts import UNRATIFIED, AttemptState, EnrolmentStatus
from assessment.tables import Attempt, CourseVersion, Enrolment, EnrolmentState, SubjectName, Submission
from shared.database import advisory_lock
from shared.events.assessment import SubmissionVoided
from shared.events.catalogue import CoursePublished, SubjectRenamed
from shared.events.enrolment import EnrolmentActivated
from shared.messaging import publish


async def keep_course_version(session: AsyncSession, published: CoursePublished) -> None:
    """Store a course version. It is frozen, so the first copy stands."""
    await session.execute(
        insert(CourseVersion)
        .values(
            course_version_id=published.course_version_id,
            course_id=published.course_id,
            version=published.version,
            code=published.code,
            title=published.title,
            module_family=published.module_family,
            subject_id=published.subject_id,
            subject_name=published.subject_name,
            credits=published.credits,
            level=published.level,
        )
        .on_conflict_do_nothing()
    )


async def keep_subject_name(session: AsyncSession, renamed: SubjectRenamed) -> None:
    await session.execute(insert(SubjectName).values(**renamed.model_dump()).on_conflict_do_nothing())


class AnotherActivation(Exception):
    """An order line was activated before, as another enrolment: work may have been handed in for that one."""


async def keep_enrolment(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """Store an enrolment.

    Raises AnotherActivation, for a person to see: enrolment may have lost the first one with its history.
    """
    of_line = select(Enrolment.enrolment_id).where(Enrolment.order_line_id == activated.order_line_id)
    if (known := await session.scalar(of_line)) not in {None, activated.enrolment_id}:
        raise AnotherActivation(f"order line {activated.order_line_id} is of the enrolment {known}")
    await session.execute(
        insert(Enrolment)
        .values(
            enrolment_id=activated.enrolment_id,
            learner_id=activated.learner_id,
            course_id=activated.course_id,
            course_version_id=activated.course_version_id,
            order_line_id=activated.order_line_id,
            regulations_version=activated.regulations_version,
            activated_at=activated.activated_at,
        )
        .on_conflict_do_nothing()
    )


async def keep_status(
    session: AsyncSession,
    enrolment_id: UUID,
    status: EnrolmentStatus,
    sequence: int,
    *,
    reason_code: str | None = None,
) -> None:
    """Store an enrolment's state unless a later one arrived before; a cancelled one stays cancelled."""
    await advisory_lock(session, "enrolment", enrolment_id)
    statement = insert(EnrolmentState).values(
        enrolment_id=enrolment_id, status=status, sequence=sequence, reason_code=reason_code
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["enrolment_id"],
            set_={column: statement.excluded[column] for column in ("status", "sequence", "reason_code")},
            where=(EnrolmentState.sequence < statement.excluded.sequence)
            & (EnrolmentState.status != EnrolmentStatus.CANCELLED),
        )
    )


async def void_unratified(session: AsyncSession, enrolment_id: UUID, reason_code: str, at: datetime) -> int:
    """Void the unratified attempts of an enrolment that was cancelled; return how many.

    They earn nothing, and marks that were not released never are. A fail that was released stays; an attempt that a
    case is open about is left to the panel.
    """
    statement = (
        select(Attempt)
        .where(
            Attempt.enrolment_id == enrolment_id,
            Attempt.state.in_(UNRATIFIED),
            Attempt.case_id.is_(None),
            (Attempt.state != AttemptState.RELEASED) | Attempt.passed,
        )
        .order_by(Attempt.attempt_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    void = (await session.scalars(statement)).all()
    for attempt in void:
        await void_attempt(session, attempt, "enrolment", reason_code, at)
    return len(void)


async def void_attempt(session: AsyncSession, attempt: Attempt, actor: str, reason_code: str, at: datetime) -> None:
    """Void an attempt and its submission, as if they had never counted. The attempt must be locked."""
    attempt.state, attempt.voided_at = AttemptState.VOIDED, at
    submission = (
        await session.scalars(
            update(Submission)
            .where(Submission.attempt_id == attempt.attempt_id, Submission.state == "current")
            .values(state="voided")
            .returning(Submission.submission_id)
        )
    ).one()
    decisions.record(session, "voided", attempt.attempt_id, actor, reason_code=reason_code)
    publish(
        session,
        SubmissionVoided(
            submission_id=submission,
            enrolment_id=attempt.enrolment_id,
            learner_id=attempt.learner_id,
            reason_code=reason_code,
            voided_at=at,
        ),
    )
