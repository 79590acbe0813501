"""Events as the other services announce them, for tests."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession

from credentials import jobs as clockwork
from credentials.commands.people import store_person
from credentials.handlers import inbox
from shared.directory import Directory, LocalDirectory, PersonEntry
from shared.events import Event
from shared.events.assessment import AssessmentFailed, AssessmentPassed, CreditAwarded, CreditRevoked, SubmissionVoided
from shared.events.catalogue import CoursePublished, Skill, SubjectRenamed
from shared.events.enrolment import EnrolmentActivated, EnrolmentCancelled, LearnerRegistered
from shared.events.payments import Line, PaymentReversed, PaymentSettled
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.outbox import write_announced
from shared.testing.services import ServiceUnderTest

SPACE = UUID("00000000-0000-4000-8000-000000000000")
BEFORE = datetime(2026, 10, 1, 9, tzinfo=UTC)
DS, MG, LAW = "Data Science", "Management", "Law"


def named(*parts: object) -> UUID:
    return uuid5(SPACE, "/".join(map(str, parts)))


def course(code: str, subject: str, **changes: Any) -> CoursePublished:
    fields: dict[str, Any] = {
        "course_id": named("course", code),
        "course_version_id": named("version", code),
        "version": 1,
        "slug": code.lower(),
        "code": code,
        "title": f"Course {code}",
        "description": f"About {code}.",
        "subject_id": named("subject", subject),
        "subject_name": subject,
        "institution_id": named("institution"),
        "institution_name": "Northbridge University",
        "credits": 15,
        "level": 7,
        "module_family": code,
        "weeks": 10,
        "criteria": "Pass one project.",
        "skills": (Skill(name="analyse data", framework="ESCO", url="http://data.europa.eu/esco/skill/1"),),
        "published_at": BEFORE,
    }
    return CoursePublished(**(fields | changes))


def credit(learner: UUID, code: str, subject: str, mark: int = 60, **changes: Any) -> CreditAwarded:
    fields: dict[str, Any] = {
        "credit_id": named("credit", learner, code),
        "learner_id": learner,
        "enrolment_id": named("enrolment", learner, code),
        "submission_id": named("submission", learner, code),
        "course_id": named("course", code),
        "course_version_id": named("version", code),
        "course_code": code,
        "course_title": f"Course {code}",
        "module_family": code,
        "subject_id": named("subject", subject),
        "subject_name": subject,
        "credits": 15,
        "level": 7,
        "mark": Decimal(mark),
        "attempt_no": 1,
        "board_id": named("board"),
        "regulations_version": "mc-regs-2026.2",
        "ratified_at": BEFORE,
    }
    return CreditAwarded(**(fields | changes))


def passed(learner: UUID, code: str) -> AssessmentPassed:
    return AssessmentPassed(
        submission_id=named("submission", learner, code),
        enrolment_id=named("enrolment", learner, code),
        learner_id=learner,
        course_id=named("course", code),
        course_version_id=named("version", code),
        module_family=code,
        attempt_no=1,
        mark=Decimal(60),
        capped=False,
        released_at=BEFORE - timedelta(days=3),
    )


def voided(learner: UUID, code: str) -> SubmissionVoided:
    return SubmissionVoided(
        submission_id=named("submission", learner, code),
        enrolment_id=named("enrolment", learner, code),
        learner_id=learner,
        reason_code="refunded",
        voided_at=BEFORE - timedelta(days=2),
    )


def failed(learner: UUID, code: str) -> AssessmentFailed:
    """The same submission, after its result was amended."""
    return AssessmentFailed(
        submission_id=named("submission", learner, code),
        enrolment_id=named("enrolment", learner, code),
        learner_id=learner,
        course_id=named("course", code),
        course_version_id=named("version", code),
        module_family=code,
        attempt_no=1,
        mark=Decimal(40),
        released_at=BEFORE - timedelta(days=1),
    )


def revoked(learner: UUID, code: str) -> CreditRevoked:
    return CreditRevoked(
        credit_id=named("credit", learner, code),
        learner_id=learner,
        reason_code="misconduct",
        board_id=named("board"),
        revoked_at=BEFORE + timedelta(days=20),
    )


def activated(learner: UUID, version: str, code: str = "any") -> EnrolmentActivated:
    return EnrolmentActivated(
        enrolment_id=new_id(),
        learner_id=learner,
        course_id=named("course", code),
        course_version_id=named("version", code),
        order_id=new_id(),
        order_line_id=new_id(),
        regulations_version=version,
        activated_at=BEFORE,
    )


def cancelled(learner: UUID, code: str, reason: str = "refunded", **changes: Any) -> EnrolmentCancelled:
    fields: dict[str, Any] = {
        "enrolment_id": named("enrolment", learner, code),
        "learner_id": learner,
        "course_id": named("course", code),
        "order_id": named("order", learner, code),
        "reason_code": reason,
        "sequence": 3,
        "cancelled_at": BEFORE + timedelta(days=40),
    }
    return EnrolmentCancelled(**(fields | changes))


def registered(learner: UUID) -> LearnerRegistered:
    return LearnerRegistered(learner_id=learner, name_version=1, registered_at=BEFORE)


def person(learner: UUID, **changes: Any) -> PersonEntry:
    """What enrolment's directory says of a learner."""
    fields: dict[str, Any] = {
        "learner_id": learner,
        "name_version": 1,
        "contact_version": 1,
        "family_name": "Lovelace",
        "given_name": "Ada",
        "display_name": "Ada Lovelace",
        "contact_email": f"{learner.hex}@learner.example",
        "contact_confirmed": True,
    }
    return PersonEntry(**(fields | changes))


def settled(learner: UUID, order_id: UUID, at: datetime) -> PaymentSettled:
    return PaymentSettled(order_id=order_id, payment_id=new_id(), learner_id=learner, settled_at=at)


def reversed_payment(learner: UUID) -> PaymentReversed:
    line = Line(
        order_line_id=new_id(), course_id=named("course", "any"), course_version_id=new_id(), list_minor=1, due_minor=1
    )
    return PaymentReversed(
        order_id=new_id(),
        payment_id=new_id(),
        learner_id=learner,
        reason_code="chargeback",
        lines=(line,),
        reversed_at=BEFORE,
    )


def renamed(subject: str, name: str, at: datetime = BEFORE) -> SubjectRenamed:
    return SubjectRenamed(subject_id=named("subject", subject), award_name=name, effective_from=at)


async def consume(session: AsyncSession, *events: Event) -> None:
    """Each in a session as fresh as a message's own would be; requests have others on the same connection."""
    for event in events:
        session.expire_all()
        await inbox.receive(session, event)
        await session.flush()
        await session.run_sync(write_announced)


async def introduce(session: AsyncSession, learner: UUID, **changes: Any) -> None:
    """The learner is registered, and the directory has said who that is."""
    await consume(session, registered(learner))
    await store_person(session, person(learner, **changes))


async def hold_credit(session: AsyncSession, learner: UUID, **counts: int) -> None:
    """So many passes by subject: DS=4 gives DS01..DS04 with their courses."""
    subjects = {"DS": DS, "MG": MG, "LAW": LAW}
    await consume(session, registered(learner))
    for prefix, count in counts.items():
        for n in range(1, count + 1):
            code = f"{prefix}{n:02}"
            await consume(session, course(code, subjects[prefix]), credit(learner, code, subjects[prefix]))


class Everybody(LocalDirectory):
    """A directory in which each learner has an entry, unless another was written."""

    async def read(self, kind: type, keys: Collection[UUID]) -> list:
        self.entries = {(kind.directory, key): person(key) for key in keys} | self.entries
        return await super().read(kind, keys)


def work_of(service: ServiceUnderTest, directory: LocalDirectory | None = None) -> Work:
    """What a job works with; without a directory of its own, everybody is in it."""
    return Work(service.process.database, {**service.service.resources, Directory: directory or Everybody()})


async def let_time_work(service: ServiceUnderTest) -> None:
    """What the clock does by itself within a minute."""
    work = work_of(service)
    await clockwork.read_people(work)
    await clockwork.lapse_claims(work)
    await clockwork.derive_renamed(work)
    await clockwork.sign_anew(work)
    await clockwork.sign_badges(work)
    await clockwork.publish_status_lists(work)
    await clockwork.queue_emails(work)
