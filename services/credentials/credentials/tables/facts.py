"""Facts: stored as they arrived and never changed; all else is derived from them."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Achievement(Base):
    """What a badge recognises: a frozen course version, or a title awarded under one version of the regulations."""

    __tablename__ = "achievements"
    __table_args__ = (
        CheckConstraint("credits > 0", name="credits"),
        Index("ix_achievements_holders_due", "achievement_id", postgresql_where=text("holders_due")),
    )

    achievement_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID | None]
    kind: Mapped[str]
    name: Mapped[str]
    code: Mapped[str]
    description: Mapped[str]
    criteria: Mapped[str]
    credits: Mapped[int]
    level: Mapped[int]
    skills: Mapped[dict[str, Any]]  # Any: JSON, {"items": [{name, framework, url}]}
    institution: Mapped[str | None]
    """The member institution that teaches the course; None for versions published before this was in the event."""
    holders_due: Mapped[bool] = mapped_column(server_default=false())
    """Whether the holders of its credit are yet to be marked as due, as for a subject's name."""


class SubjectName(Base):
    """The award name of a subject from an instant on."""

    __tablename__ = "subject_names"
    __table_args__ = (Index("ix_subject_names_holders_due", "subject_id", postgresql_where=text("holders_due")),)

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(primary_key=True)
    award_name: Mapped[str]
    holders_due: Mapped[bool] = mapped_column(server_default=true())
    """Whether the holders of the subject's credit are yet to be marked as due (`DueDerivation`)."""


class DueDerivation(Base):
    """A learner who is due to be derived anew, because something other than their facts has changed."""

    __tablename__ = "due_derivations"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)


class Pin(Base):
    """The regulations a learner enrolled under: they may claim by those or by the ones in force."""

    __tablename__ = "pins"
    __table_args__ = (Index(None, "learner_id"),)

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    regulations_version: Mapped[str]
    activated_at: Mapped[datetime]


class Result(Base):
    """The latest released result of a submission. A pass that no board has ratified counts for nothing."""

    __tablename__ = "results"
    __table_args__ = (Index(None, "learner_id"),)

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID]
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    family: Mapped[str]
    mark: Mapped[Decimal]
    passed: Mapped[bool]
    released_at: Mapped[datetime]


class Voiding(Base):
    """A submission that never counted: its result, whenever that arrives, is no pending credit."""

    __tablename__ = "voidings"
    __table_args__ = (Index(None, "learner_id"),)

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    voided_at: Mapped[datetime]


class Credit(Base):
    """A line of the ledger: credit that a board gave. Lines are never changed; `subject_name` is the name of that day.

    Credit recognised from elsewhere has no enrolment, submission, course, mark or attempt here, and its `board_id` is
    that of the recognition.
    """

    __tablename__ = "credits"
    __table_args__ = (
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint(
            "source <> 'internal' or (enrolment_id is not null and submission_id is not null and course_id is not null"
            " and course_version_id is not null and mark is not null and attempt_no is not null)",
            name="ours",
        ),
        CheckConstraint("source in ('internal', 'rpl_external')", name="source"),
        Index(None, "course_version_id"),
        Index(None, "learner_id"),
        Index(None, "subject_id"),
    )

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    enrolment_id: Mapped[UUID | None]
    submission_id: Mapped[UUID | None]
    course_id: Mapped[UUID | None]
    course_version_id: Mapped[UUID | None]
    course_code: Mapped[str]
    course_title: Mapped[str]
    family: Mapped[str]
    subject_id: Mapped[UUID]
    subject_name: Mapped[str]
    credits: Mapped[int]
    level: Mapped[int]
    mark: Mapped[Decimal | None]
    attempt_no: Mapped[int | None]
    source: Mapped[str]
    board_id: Mapped[UUID]
    regulations_version: Mapped[str]
    ratified_at: Mapped[datetime]


class Revocation(Base):
    """A board's revocation of a credit. It may arrive before the credit does."""

    __tablename__ = "revocations"
    __table_args__ = (Index(None, "learner_id"),)

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    revoked_at: Mapped[datetime] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str]
    board_id: Mapped[UUID]
    decided_by: Mapped[str | None]


class Reinstatement(Base):
    """A board's reinstatement of a revoked credit: it undoes the revocations before it, whichever arrives first."""

    __tablename__ = "reinstatements"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    reinstated_at: Mapped[datetime] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str]
    board_id: Mapped[UUID]


class Payment(Base):
    """The last instants at which an order's money was known to be gone, and to be there: where a course ended without
    it, its credit is held until it comes."""

    __tablename__ = "payments"
    __table_args__ = (Index("ix_payments_reversed", "learner_id", postgresql_where=text("reversed_at is not null")),)

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reversed_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]


class Suspension(Base):
    """Whether an enrolment is suspended, since its money is gone or disputed: while one is, the learner claims nothing.

    Enrolment alone knows which payment pays, what staff let pass and when the time to pay is over. The state with the
    highest `sequence` stands, whichever arrives first.
    """

    __tablename__ = "suspensions"
    __table_args__ = (Index("ix_suspensions_open", "learner_id", postgresql_where=text("suspended")),)

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    sequence: Mapped[int]
    suspended: Mapped[bool]


class Dispute(Base):
    """Written no more: suspended enrolments hold claims. It is left for the release before this one."""

    __tablename__ = "disputes"
    __table_args__ = (Index("ix_disputes_open", "learner_id", postgresql_where=text("closed_at is null")),)

    dispute_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class MisconductCase(Base):
    """An examiner's case about the learner's work: until it is decided the learner claims nothing.

    Its end may arrive before its beginning. What follows from it is announced by events of its own.
    """

    __tablename__ = "misconduct_cases"
    __table_args__ = (Index("ix_misconduct_cases_open", "learner_id", postgresql_where=text("closed_at is null")),)

    case_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
