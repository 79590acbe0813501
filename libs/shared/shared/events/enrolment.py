"""What enrolment announces."""

from uuid import UUID

from shared.events.base import Event, Instant


class LearnerRegistered(
    Event, type="enrolment.learner.registered.v1", subject="learner_id", consumers=("credentials", "payments")
):
    """A person filled in the short form. Names stay in enrolment; the version says when they change."""

    learner_id: UUID
    name_version: int
    registered_at: Instant


class LearnerNameChanged(
    Event, type="enrolment.learner.name-changed.v1", subject="learner_id", consumers=("credentials",)
):
    """Another name is in use. Which one, the directory says; earlier ones are disclosed to nobody."""

    learner_id: UUID
    name_version: int
    changed_at: Instant


class LearnerContactChanged(
    Event, type="enrolment.learner.contact-changed.v1", subject="learner_id", consumers=("credentials",)
):
    """Another address is in use, or the first one was confirmed. Which one, the directory says."""

    learner_id: UUID
    contact_version: int
    changed_at: Instant


class LearnerAnonymised(
    Event,
    type="enrolment.learner.anonymised.v1",
    subject="learner_id",
    consumers=("assessment", "credentials", "gateway", "payments"),
):
    """Name and address are erased. What was awarded stays, and no longer shows whose it is."""

    learner_id: UUID
    anonymised_at: Instant


class EligibilityDeclared(Event, type="enrolment.eligibility.declared.v1", subject="learner_id"):
    """The learner certified both admission criteria themselves, in this version of the text."""

    learner_id: UUID
    statement_version: str
    answers_sha256: str
    declared_at: Instant


class EnrolmentActivated(
    Event,
    type="enrolment.enrolment.activated.v1",
    subject="enrolment_id",
    consumers=("assessment", "payments", "credentials"),
):
    """A paid order line gave access to a course version under the regulations of that day."""

    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    course_version_id: UUID
    order_id: UUID
    order_line_id: UUID
    regulations_version: str
    activated_at: Instant


class ActivationRefused(
    Event, type="enrolment.activation.refused.v1", subject="order_line_id", consumers=("payments",)
):
    """A paid line could not become an enrolment, or has none any more; payments gives the money back.

    reason_code: course_withdrawn, already_enrolled, already_passed, not_registered, unknown_course; enrolment_ended: it
    ended for want of the money, or was given up, before the money came.
    """

    order_id: UUID
    order_line_id: UUID
    learner_id: UUID
    course_id: UUID
    reason_code: str
    refused_at: Instant


class AccessGranted(Event, type="enrolment.access.granted.v1", subject="enrolment_id"):
    """Whoever receives two events about one entitlement of an enrolment holds to the higher `sequence`, whichever came
    last."""

    enrolment_id: UUID
    learner_id: UUID
    entitlements: tuple[str, ...]
    granted_at: Instant
    sequence: int | None = None


class AccessRevoked(Event, type="enrolment.access.revoked.v1", subject="enrolment_id"):
    """`sequence` as in AccessGranted: that of the enrolment's state."""

    enrolment_id: UUID
    learner_id: UUID
    entitlements: tuple[str, ...]
    reason_code: str
    revoked_at: Instant
    sequence: int | None = None


class EnrolmentSuspended(
    Event, type="enrolment.enrolment.suspended.v1", subject="enrolment_id", consumers=("assessment", "credentials")
):
    """No submission, no claim until it is reinstated or cancelled. `sequence` orders the states of one enrolment."""

    enrolment_id: UUID
    learner_id: UUID
    reason_code: str
    sequence: int
    suspended_at: Instant


class EnrolmentReinstated(
    Event, type="enrolment.enrolment.reinstated.v1", subject="enrolment_id", consumers=("assessment", "credentials")
):
    """A suspended enrolment is suspended no longer: its money is there again, or staff let its loss pass."""

    enrolment_id: UUID
    learner_id: UUID
    sequence: int
    reinstated_at: Instant


class EnrolmentCancelled(
    Event,
    type="enrolment.enrolment.cancelled.v1",
    subject="enrolment_id",
    consumers=("assessment", "payments", "credentials"),
):
    """Final. reason_code: refunded, withdrawn, payment_lost; announced once more, as refunded, where money goes back
    after another end. A submission not yet ratified is voided, but for a fail that was released and for what a case of
    misconduct is open about. `decided_by` granted the refund, where staff did."""

    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    order_id: UUID | None = None
    reason_code: str
    decided_by: str | None = None
    sequence: int
    cancelled_at: Instant


class EnrolmentCompleted(Event, type="enrolment.enrolment.completed.v1", subject="enrolment_id"):
    """The credit is awarded."""

    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    completed_at: Instant
    sequence: int | None = None


class EnrolmentFailed(
    Event, type="enrolment.enrolment.failed.v1", subject="enrolment_id", consumers=("payments", "credentials")
):
    """Every attempt is used up; a new enrolment gives new ones."""

    enrolment_id: UUID
    learner_id: UUID
    course_id: UUID
    failed_at: Instant
    sequence: int | None = None
