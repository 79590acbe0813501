from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.domain.attempts import UNRATIFIED, AttemptState, EnrolmentStatus
from assessment.tables import Attempt, CourseVersion, Enrolment, EnrolmentState, SubjectName, Submission
from shared.database import take_turns
from shared.events.assessment import SubmissionVoided
from shared.events.catalogue import CoursePublished, SubjectRenamed
from shared.events.enrolment import EnrolmentActivated
from shared.messaging import publish


async def keep_course_version(session: AsyncSession, published: CoursePublished) -> None:
    """Copy a frozen version. It never changes, so the first copy stands."""
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


async def keep_enrolment(session: AsyncSession, activated: EnrolmentActivated) -> None:
    await session.execute(
        insert(Enrolment)
        .values(
            enrolment_id=activated.enrolment_id,
            learner_id=activated.learner_id,
            course_id=activated.course_id,
            course_version_id=activated.course_version_id,
            regulations_version=activated.regulations_version,
            activated_at=activated.activated_at,
        )
        .on_conflict_do_nothing()
    )


async def keep_status(session: AsyncSession, enrolment_id: UUID, status: EnrolmentStatus, sequence: int) -> None:
    """Store an enrolment's state unless a later one was heard before; a cancelled one stays cancelled."""
    await take_turns(session, "enrolment", enrolment_id)
    heard = insert(EnrolmentState).values(enrolment_id=enrolment_id, status=status, sequence=sequence)
    await session.execute(
        heard.on_conflict_do_update(
            index_elements=["enrolment_id"],
            set_={"status": heard.excluded.status, "sequence": heard.excluded.sequence},
            where=(EnrolmentState.sequence < heard.excluded.sequence)
            & (EnrolmentState.status != EnrolmentStatus.CANCELLED),
        )
    )


async def void_unratified(session: AsyncSession, enrolment_id: UUID, reason_code: str, at: datetime) -> int:
    """Take back every attempt the board has not ratified: it does not count and its mark is never told; how many."""
    statement = (
        select(Attempt)
        .where(Attempt.enrolment_id == enrolment_id, Attempt.state.in_(UNRATIFIED))
        .order_by(Attempt.attempt_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    void = (await session.scalars(statement)).all()
    for attempt in void:
        await void_attempt(session, attempt, "enrolment", reason_code, at)
    return len(void)


async def void_attempt(session: AsyncSession, attempt: Attempt, actor: str, reason_code: str, at: datetime) -> None:
    """It never counted. The attempt must be locked."""
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
