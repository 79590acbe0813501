"""Handlers of other services' events. Every fact about a learner is stored, and its consequences decided anew."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from enrolment.commands import courses, enrolments, learners
from enrolment.tables import StoredEvent
from shared.events import Event
from shared.events.assessment import (
    AssessmentFailed,
    AssessmentPassed,
    AttemptsExhausted,
    CreditAwarded,
    CreditReinstated,
    CreditRevoked,
    FailRatified,
    MisconductDecided,
    MisconductOpened,
    SubmissionReceived,
    SubmissionVoided,
)
from shared.events.catalogue import CoursePublished, CourseUpdated, CourseWithdrawn, MaterialsPublished
from shared.events.credentials import (
    AwardClaimed,
    AwardConferred,
    AwardEligibilityChanged,
    AwardLapsed,
    AwardRefused,
    AwardRescinded,
    AwardRestored,
    AwardReviewClosed,
    AwardReviewOpened,
    AwardSuperseded,
    AwardWithdrawn,
    BadgeIssued,
    BadgeRevoked,
    TranscriptIssued,
    TransferCompleted,
    TransferDecided,
    TransferRequested,
    TransferReturned,
    TransferWithdrawn,
)
from shared.events.payments import (
    DisputeClosed,
    DisputeOpened,
    PaymentConfirmed,
    PaymentRestored,
    PaymentReversed,
    PaymentSettled,
    RefundRequested,
)
from shared.messaging import Inbox

inbox = Inbox("enrolment")

DECIDING: Final[Mapping[type[Event], str]] = {
    PaymentSettled: "settled_at",
    PaymentReversed: "reversed_at",
    PaymentRestored: "restored_at",
    DisputeOpened: "opened_at",
    DisputeClosed: "closed_at",
    RefundRequested: "requested_at",
    AttemptsExhausted: "exhausted_at",
    CreditAwarded: "ratified_at",
    CreditRevoked: "revoked_at",
    CreditReinstated: "reinstated_at",
}
"""Facts that can change what is decided, with the field that holds when they became true."""

RECORDED: Final[Mapping[type[Event], str]] = {
    SubmissionReceived: "received_at",
    SubmissionVoided: "voided_at",
    AssessmentPassed: "released_at",
    AssessmentFailed: "released_at",
    FailRatified: "ratified_at",
    MisconductOpened: "opened_at",
    MisconductDecided: "decided_at",
    BadgeIssued: "issued_at",
    BadgeRevoked: "revoked_at",
    AwardEligibilityChanged: "changed_at",
    AwardClaimed: "claimed_at",
    AwardConferred: "conferred_at",
    AwardLapsed: "lapsed_at",
    AwardWithdrawn: "withdrawn_at",
    AwardRefused: "refused_at",
    AwardReviewOpened: "opened_at",
    AwardReviewClosed: "closed_at",
    AwardRescinded: "rescinded_at",
    AwardRestored: "restored_at",
    AwardSuperseded: "superseded_at",
    TransferRequested: "requested_at",
    TransferDecided: "decided_at",
    TransferCompleted: "completed_at",
    TransferReturned: "returned_at",
    TransferWithdrawn: "withdrawn_at",
}
"""Facts that only stand in the study record, with the field that holds when they became true."""


@inbox.on(CoursePublished, CourseUpdated)
async def keep_course_version(session: AsyncSession, published: CoursePublished) -> None:
    await courses.keep_course_version(session, published)


@inbox.on(MaterialsPublished)
async def keep_units(session: AsyncSession, published: MaterialsPublished) -> None:
    await courses.keep_units(session, published.course_version_id, published.units)


@inbox.on(CourseWithdrawn)
async def keep_course_withdrawal(session: AsyncSession, withdrawn: CourseWithdrawn) -> None:
    await courses.keep_course_withdrawal(session, withdrawn.course_id, withdrawn.withdrawn_at)


@inbox.on(PaymentConfirmed)
async def activate_enrolments(session: AsyncSession, confirmed: PaymentConfirmed) -> None:
    await enrolments.keep_event(session, confirmed, confirmed.confirmed_at)
    await enrolments.keep_paid_lines(session, confirmed)
    await enrolments.settle(session, confirmed.learner_id)


@inbox.on(*DECIDING)
async def settle_enrolments(session: AsyncSession, event: Event) -> None:
    learner_id = await enrolments.keep_event(session, event, getattr(event, DECIDING[type(event)]))
    await enrolments.settle(session, learner_id)


@inbox.on(TranscriptIssued)
async def note_document(session: AsyncSession, issued: TranscriptIssued) -> None:
    await learners.note_document(session, issued.learner_id, issued.as_at)


@inbox.project(StoredEvent, *RECORDED)
def record_study(event: Event, kept_at: datetime) -> StoredEvent:
    """Return the event as a row of facts. It is written without the learner's lock, as nothing is decided by it."""
    return enrolments.event_row(event, getattr(event, RECORDED[type(event)]), kept_at)
