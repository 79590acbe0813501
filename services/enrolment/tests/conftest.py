from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.app import build
from enrolment.commands.learners import Form, register_learner
from enrolment.settings import Settings
from enrolment.tables import Enrolment
from shared.digests import Digests
from shared.events import Event
from shared.events.assessment import (
    AssessmentFailed,
    AssessmentPassed,
    AttemptsExhausted,
    CreditAwarded,
    CreditRevoked,
    FailRatified,
    SubmissionReceived,
    SubmissionVoided,
)
from shared.events.catalogue import CoursePublished, MaterialsPublished, Unit
from shared.events.payments import (
    DisputeClosed,
    DisputeOpened,
    Line,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    RefundRequested,
)
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging.tables import QueuedEmail
from shared.testing.services import BuildService, ServiceUnderTest, published


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return lambda url: build(Settings(database_url=url, feed_secret=SecretStr("test"), evidence_url="memory:///"))


DIGESTS = Digests("test", "enrolment")
T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)

FORM = Form(
    family_name="Okonkwo",
    given_name="Adaeze",
    display_name=None,
    date_of_birth=None,
    country="GB",
    contact_email="ada@example.org",
    declaration_version="2026.1",
    answers={"degree_or_experience": True, "english_proficiency": True},
)


def course(**changes) -> CoursePublished:
    family = changes.pop("module_family", f"7DS{new_id().hex[-6:]}")
    return CoursePublished(
        **{
            "course_id": new_id(),
            "course_version_id": new_id(),
            "version": 1,
            "slug": family.lower(),
            "code": family,
            "title": f"Course {family}",
            "description": "…",
            "subject_id": new_id(),
            "subject_name": "Data Science",
            "institution_id": new_id(),
            "institution_name": "Northbridge University",
            "credits": 15,
            "level": 7,
            "module_family": family,
            "weeks": 10,
            "criteria": "Passed the project",
            "published_at": T0 - timedelta(days=100),
            **changes,
        }
    )


@dataclass
class EnrolmentDriver:
    """One learner, and what the other services announce about them."""

    service: ServiceUnderTest
    session: AsyncSession
    learner_id: UUID = field(default_factory=new_id)

    async def consume(self, *events: Event) -> None:
        for event in events:
            await self.service.service.inbox.receive(self.session, event)

    async def register(self) -> None:
        await register_learner(self.session, self.learner_id, FORM, DIGESTS)

    async def code(self) -> str:
        """Of the last e-mail that asks to confirm an address."""
        emails = (
            select(QueuedEmail.text).where(QueuedEmail.kind == "confirm_contact").order_by(QueuedEmail.email_id.desc())
        )
        text = await self.session.scalar(emails.limit(1))
        assert text is not None
        return text.partition("address: ")[2].split()[0]

    async def offer(self, *, units: int = 0, **changes) -> CoursePublished:
        offered = course(**changes)
        await self.consume(offered)
        if units:
            await self.consume(self.materials(offered, units))
        return offered

    def materials(self, offered: CoursePublished, units: int) -> MaterialsPublished:
        return MaterialsPublished(
            course_id=offered.course_id,
            course_version_id=offered.course_version_id,
            units=tuple(
                Unit(
                    unit_id=new_id(),
                    position=position + 1,
                    title=f"Unit {position + 1}",
                    minutes=60,
                    objectives=("Know it",),
                    text="## Study\nthis",
                )
                for position in range(units)
            ),
        )

    def payment(self, *courses: CoursePublished, at: datetime = T0) -> PaymentConfirmed:
        lines = tuple(
            Line(
                order_line_id=new_id(),
                course_id=one.course_id,
                course_version_id=one.course_version_id,
                list_minor=49500,
                due_minor=49500,
            )
            for one in courses
        )
        return PaymentConfirmed(
            order_id=new_id(),
            payment_id=new_id(),
            learner_id=self.learner_id,
            amount_minor=49500 * len(lines),
            currency="GBP",
            method="card",
            lines=lines,
            confirmed_at=at,
        )

    def reversal(self, paid: PaymentConfirmed, at: datetime = T0 + timedelta(hours=2)) -> PaymentReversed:
        return PaymentReversed(
            order_id=paid.order_id,
            payment_id=paid.payment_id,
            learner_id=paid.learner_id,
            reason_code="verification_failed",
            lines=paid.lines,
            reversed_at=at,
        )

    def settlement(self, paid: PaymentConfirmed, at: datetime) -> PaymentSettled:
        return PaymentSettled(
            order_id=paid.order_id, payment_id=paid.payment_id, learner_id=paid.learner_id, settled_at=at
        )

    def restoration(self, paid: PaymentConfirmed, at: datetime) -> PaymentRestored:
        return PaymentRestored(
            order_id=paid.order_id, payment_id=paid.payment_id, learner_id=paid.learner_id, restored_at=at
        )

    def dispute(self, paid: PaymentConfirmed, at: datetime = T0 + timedelta(hours=2)) -> DisputeOpened:
        return DisputeOpened(
            dispute_id=new_id(),
            order_id=paid.order_id,
            payment_id=paid.payment_id,
            learner_id=paid.learner_id,
            reason_code="not_recognised",
            opened_at=at,
        )

    def verdict(self, dispute: DisputeOpened, outcome: str, at: datetime) -> DisputeClosed:
        return DisputeClosed(
            dispute_id=dispute.dispute_id,
            order_id=dispute.order_id,
            payment_id=dispute.payment_id,
            learner_id=dispute.learner_id,
            outcome=outcome,
            closed_at=at,
        )

    def refund(self, paid: PaymentConfirmed, line: int = 0, at: datetime = T0 + timedelta(days=1)) -> RefundRequested:
        return RefundRequested(
            refund_id=new_id(),
            order_id=paid.order_id,
            order_line_id=paid.lines[line].order_line_id,
            course_id=paid.lines[line].course_id,
            learner_id=paid.learner_id,
            amount_minor=49500,
            currency="GBP",
            reason_code="cooling_off",
            requested_at=at,
        )

    async def buy(self, *courses: CoursePublished) -> list[Enrolment]:
        paid = self.payment(*courses)
        await self.consume(paid)
        return [await self.enrolment(line.order_line_id) for line in paid.lines]

    async def enrolment(self, order_line_id: UUID) -> Enrolment:
        found = await self.session.scalar(
            select(Enrolment).where(Enrolment.order_line_id == order_line_id).execution_options(populate_existing=True)
        )
        assert found is not None
        return found

    def submission(self, enrolment: Enrolment, attempt_no: int = 1, at: datetime = T0 + timedelta(days=10)):
        return SubmissionReceived(
            submission_id=new_id(),
            enrolment_id=enrolment.enrolment_id,
            learner_id=self.learner_id,
            window_id=new_id(),
            attempt_no=attempt_no,
            sha256="9f" * 32,
            received_at=at,
        )

    def voided(self, submission: SubmissionReceived) -> SubmissionVoided:
        return SubmissionVoided(
            submission_id=submission.submission_id,
            enrolment_id=submission.enrolment_id,
            learner_id=self.learner_id,
            reason_code="refunded",
            voided_at=submission.received_at + timedelta(hours=1),
        )

    def result(self, enrolment: Enrolment, submission: SubmissionReceived, mark: str):
        said: dict[str, Any] = {
            "submission_id": submission.submission_id,
            "enrolment_id": enrolment.enrolment_id,
            "learner_id": self.learner_id,
            "course_id": enrolment.course_id,
            "course_version_id": enrolment.course_version_id,
            "module_family": enrolment.module_family,
            "attempt_no": submission.attempt_no,
            "mark": Decimal(mark),
            "released_at": submission.received_at + timedelta(days=20),
        }
        return AssessmentPassed(**said, capped=False) if said["mark"] >= 50 else AssessmentFailed(**said)

    def ratified_fail(self, enrolment: Enrolment, submission: SubmissionReceived, mark: str) -> FailRatified:
        return FailRatified(
            submission_id=submission.submission_id,
            enrolment_id=enrolment.enrolment_id,
            learner_id=self.learner_id,
            course_id=enrolment.course_id,
            attempt_no=submission.attempt_no,
            mark=Decimal(mark),
            board_id=new_id(),
            ratified_at=submission.received_at + timedelta(days=50),
        )

    def exhausted(self, enrolment: Enrolment) -> AttemptsExhausted:
        return AttemptsExhausted(
            enrolment_id=enrolment.enrolment_id,
            learner_id=self.learner_id,
            course_id=enrolment.course_id,
            attempts_used=3,
            exhausted_at=T0 + timedelta(days=100),
        )

    def credit(self, enrolment: Enrolment, submission_id: UUID | None = None, mark: str = "68") -> CreditAwarded:
        return CreditAwarded(
            credit_id=new_id(),
            learner_id=self.learner_id,
            enrolment_id=enrolment.enrolment_id,
            submission_id=submission_id or new_id(),
            course_id=enrolment.course_id,
            course_version_id=enrolment.course_version_id,
            course_code=enrolment.module_family,
            course_title=f"Course {enrolment.module_family}",
            module_family=enrolment.module_family,
            subject_id=new_id(),
            subject_name="Data Science",
            credits=15,
            level=7,
            mark=Decimal(mark),
            attempt_no=1,
            board_id=new_id(),
            regulations_version="mc-regs-2026.2",
            ratified_at=T0 + timedelta(days=60),
        )

    def revocation(self, awarded: CreditAwarded) -> CreditRevoked:
        return CreditRevoked(
            credit_id=awarded.credit_id,
            learner_id=self.learner_id,
            reason_code="misconduct",
            board_id=new_id(),
            revoked_at=T0 + timedelta(days=90),
        )

    async def announced(self, *kinds: type[Event]) -> list[Event]:
        """What this service announced, of these kinds or all."""
        return [event for event in await published(self.session) if not kinds or isinstance(event, kinds)]

    async def assert_record_stands(self) -> None:
        """The record that is read is the one that a rebuild gives."""
        assert await queries.read_study_record(self.session, self.learner_id) == await queries.rebuild_study_record(
            self.session, self.learner_id
        )


@pytest.fixture
async def driver(service, session, clock) -> EnrolmentDriver:
    return EnrolmentDriver(service, session)


@pytest.fixture
def work(service) -> Work:
    return Work(service.process.database, {})


@pytest.fixture
def new_driver(service):
    """For tests that open transactions of their own."""
    return lambda session: EnrolmentDriver(service, session)


class Lived:
    """A registered learner, each step of whom is committed: for what runs beside it."""

    course = staticmethod(course)

    def __init__(self, live: ServiceUnderTest, driver: "EnrolmentDriver") -> None:
        self.live, self.driver = live, driver

    async def consume(self, *events: Event) -> None:
        async with self.live.process.database.transaction() as session:
            for event in events:
                await self.live.service.inbox.receive(session, event)

    async def one(self, statement):
        async with self.live.process.database.transaction() as session:
            return (await session.scalars(statement)).one()


@pytest.fixture
async def lived(live):
    async with live.process.database.transaction() as session:
        driver = EnrolmentDriver(live, session, new_id())
        await driver.register()
    return Lived(live, driver)
