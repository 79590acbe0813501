"""Handlers of other services' events."""

from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import enrolments, submissions
from assessment.domain import regulations
from assessment.domain.attempts import EnrolmentStatus
from assessment.tables import CourseVersion
from shared.events.catalogue import CoursePublished, CourseUpdated, SubjectRenamed
from shared.events.enrolment import (
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentReinstated,
    EnrolmentSuspended,
    LearnerAnonymised,
)
from shared.idempotency import erase_replies
from shared.messaging import Inbox, RetryLater

inbox = Inbox("assessment")


@inbox.on(CoursePublished, CourseUpdated)
async def copy_course_version(session: AsyncSession, published: CoursePublished) -> None:
    await enrolments.keep_course_version(session, published)


@inbox.on(SubjectRenamed)
async def rename_subject(session: AsyncSession, renamed: SubjectRenamed) -> None:
    """Store a subject's new name, which credit awarded from then on bears."""
    await enrolments.keep_subject_name(session, renamed)


@inbox.on(EnrolmentActivated)
async def copy_enrolment(session: AsyncSession, activated: EnrolmentActivated) -> None:
    if activated.regulations_version not in regulations.versions.all:
        raise RetryLater(f"regulations {activated.regulations_version} are not known to this release")
    if await session.get(CourseVersion, activated.course_version_id) is None:
        raise RetryLater(f"course version {activated.course_version_id} is not known yet")
    await enrolments.keep_enrolment(session, activated)


@inbox.on(EnrolmentSuspended)
async def take_no_work(session: AsyncSession, suspended: EnrolmentSuspended) -> None:
    await enrolments.keep_status(session, suspended.enrolment_id, EnrolmentStatus.SUSPENDED, suspended.sequence)


@inbox.on(EnrolmentReinstated)
async def take_work_again(session: AsyncSession, reinstated: EnrolmentReinstated) -> None:
    await enrolments.keep_status(session, reinstated.enrolment_id, EnrolmentStatus.ACTIVE, reinstated.sequence)


@inbox.on(EnrolmentCancelled)
async def void_attempts(session: AsyncSession, cancelled: EnrolmentCancelled) -> None:
    ended, reason = cancelled.enrolment_id, cancelled.reason_code
    await enrolments.keep_status(session, ended, EnrolmentStatus.CANCELLED, cancelled.sequence, reason_code=reason)
    await enrolments.void_unratified(session, ended, reason, cancelled.cancelled_at)


@inbox.on(LearnerAnonymised)
async def erase_author(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Erase who handed work in; that it was handed in, and what it earned, stays."""
    await submissions.erase_author(session, anonymised.learner_id, anonymised.anonymised_at)
    await erase_replies(session, anonymised.learner_id)
