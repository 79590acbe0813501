"""Facts: kept as they came and never changed; all else is derived from them."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Text, true
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Achievement(Base):
    """What a badge recognises: a frozen course version, or a title awarded under one version of the regulations."""

    __tablename__ = "achievements"

    achievement_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID | None]
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    criteria: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]
    skills: Mapped[dict[str, Any]]  # Any: JSON, {"items": [{name, framework, url}]}
    institution: Mapped[str | None] = mapped_column(Text)
    """The member that teaches the course. Told for versions published since it is kept."""


class SubjectName(Base):
    """The award name of a subject from an instant on."""

    __tablename__ = "subject_names"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(primary_key=True)
    award_name: Mapped[str] = mapped_column(Text)
    holders_due: Mapped[bool] = mapped_column(server_default=true())
    """Whoever holds credit of the subject is yet to be noted as due (`DueDerivation`)."""


class DueDerivation(Base):
    """A learner about whom something else than a fact has changed: what follows is to be derived anew."""

    __tablename__ = "due_derivations"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)


class Pin(Base):
    """The regulations a learner enrolled under: they may claim by those or by the ones in force."""

    __tablename__ = "pins"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    regulations_version: Mapped[str] = mapped_column(Text)
    activated_at: Mapped[datetime]


class Result(Base):
    """The latest released result of a submission. A pass that no board has ratified counts for nothing."""

    __tablename__ = "results"

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID]
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    family: Mapped[str] = mapped_column(Text)
    mark: Mapped[Decimal]
    passed: Mapped[bool]
    released_at: Mapped[datetime]


class Voiding(Base):
    """A submission that never counted: its result, whenever that arrives, is nobody's pending credit."""

    __tablename__ = "voidings"

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    voided_at: Mapped[datetime]


class Credit(Base):
    """A line of the ledger: what a board gave. `subject_name` is as at that day; lines are never changed.

    Credit recognised from elsewhere has no enrolment, submission, course, mark or attempt here, and its `board_id`
    is that of the recognition.
    """

    __tablename__ = "credits"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    enrolment_id: Mapped[UUID | None]
    submission_id: Mapped[UUID | None]
    course_id: Mapped[UUID | None]
    course_version_id: Mapped[UUID | None]
    course_code: Mapped[str] = mapped_column(Text)
    course_title: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID]
    subject_name: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]
    mark: Mapped[Decimal | None]
    attempt_no: Mapped[int | None]
    source: Mapped[str] = mapped_column(Text)
    board_id: Mapped[UUID]
    regulations_version: Mapped[str] = mapped_column(Text)
    ratified_at: Mapped[datetime]


class Revocation(Base):
    """A board took a credit away. It may arrive before the credit does."""

    __tablename__ = "revocations"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    revoked_at: Mapped[datetime] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str] = mapped_column(Text)
    board_id: Mapped[UUID]
    decided_by: Mapped[str | None] = mapped_column(Text)


class Reinstatement(Base):
    """A board gave a revoked credit back: it undoes the revocations before it, whichever arrives first."""

    __tablename__ = "reinstatements"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    reinstated_at: Mapped[datetime] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str] = mapped_column(Text)
    board_id: Mapped[UUID]


class Payment(Base):
    """When an order's money was last known to be gone, and when to be there.

    While it is gone the learner claims nothing; ratified credit stays.
    """

    __tablename__ = "payments"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reversed_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]


class Dispute(Base):
    """The payer asked their bank for the money back: until it is closed nothing is claimed.

    Its end may be heard before its beginning. Lost money is told as a payment reversed besides.
    """

    __tablename__ = "disputes"

    dispute_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class MisconductCase(Base):
    """An examiner looks into a piece of the learner's work: until that is decided nothing is claimed.

    Its end may be heard before its beginning. What follows from it is told by events of its own.
    """

    __tablename__ = "misconduct_cases"

    case_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
