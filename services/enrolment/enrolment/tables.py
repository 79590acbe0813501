"""The tables of enrolment: people, what others published (facts, paid lines, courses), and what was decided
(enrolments)."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, MetaData, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Learner(Base):
    """A person who has registered, with the particulars that are not their name."""

    __tablename__ = "learners"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    country: Mapped[str]
    date_of_birth: Mapped[date | None]
    contact_email: Mapped[str]
    """Empty once the learner is anonymised, as are the names."""
    name_version: Mapped[int]
    """The version of the name in use; earlier ones stay."""
    contact_version: Mapped[int] = mapped_column(server_default="1")
    """Counts the addresses, and the confirmation of the first; only the last address is kept."""
    contact_confirmed_at: Mapped[datetime | None]
    """When the code that was sent there was entered; None: nobody knows whose address it is."""
    registered_at: Mapped[datetime]
    documented_at: Mapped[datetime | None]
    """Since when a transcript bears a name of theirs."""
    anonymised_at: Mapped[datetime | None]
    anonymised_by: Mapped[str | None]


class Name(Base):
    """One version of a learner's name; earlier versions stay."""

    __tablename__ = "names"

    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    given_name: Mapped[str | None]
    family_name: Mapped[str]
    display_name: Mapped[str]
    certificate_name: Mapped[str | None]
    """How the name is written on certificates; None: given name, family name."""
    decided_in: Mapped[UUID | None]
    """The request in which a registrar decided that this is the name; later versions that keep the name keep it."""
    valid_from: Mapped[datetime]


class NameRequest(Base):
    """A learner's request to bear another name. Its texts are empty once the learner is anonymised."""

    __tablename__ = "name_requests"
    __table_args__ = (
        Index(
            "uq_name_requests_open", "learner_id", unique=True, postgresql_where=text("state in ('draft', 'submitted')")
        ),
        CheckConstraint(
            "(state in ('approved', 'refused')) = (decided_at is not null) "
            "and (decided_at is null) = (decided_by is null)",
            name="decided",
        ),
        CheckConstraint("decided_by <> learner_id::text", name="own"),
        CheckConstraint("state in ('draft', 'submitted', 'approved', 'refused', 'withdrawn')", name="state"),
        Index("ix_name_requests_learner_id", "learner_id", "request_id"),
        Index("ix_name_requests_state", "state", "request_id"),
    )

    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"))
    family_name: Mapped[str]
    given_name: Mapped[str | None]
    certificate_name: Mapped[str | None]
    statement: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    reason: Mapped[str | None]


class NameEvidence(Base):
    """A file that proves the name asked for in a request."""

    __tablename__ = "name_evidence"
    __table_args__ = (Index(None, "learner_id"), Index(None, "request_id"))

    evidence_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("name_requests.request_id"))
    learner_id: Mapped[UUID]
    filename: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(unique=True)
    received_at: Mapped[datetime]


class ContactChange(Base):
    """A contact address that waits for its code, of which only a keyed digest is kept: a new one, or the first."""

    __tablename__ = "contact_changes"

    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"), primary_key=True)
    contact_email: Mapped[str | None]
    """None: the address was confirmed, or given up; the row still counts the codes sent."""
    code_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None: the code was used, or its tries were used up."""
    tries: Mapped[int] = mapped_column(server_default="0")
    """How often a wrong code was entered."""
    asked_at: Mapped[datetime]
    emails: Mapped[int] = mapped_column("letters")
    counted_since: Mapped[datetime]
    """Since when `emails` counts the codes that were e-mailed."""


class Declaration(Base):
    """The self-certification of both admission criteria: which wording, which answers, when."""

    __tablename__ = "declarations"

    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"), primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    answers: Mapped[dict[str, Any]]  # Any: JSON, criterion -> true
    sha256: Mapped[str]
    declared_at: Mapped[datetime]


class CourseVersion(Base):
    """A copy of a course version that the catalogue published; frozen."""

    __tablename__ = "course_versions"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    version: Mapped[int]
    slug: Mapped[str]
    code: Mapped[str]
    title: Mapped[str]
    module_family: Mapped[str]
    subject_name: Mapped[str]
    institution_name: Mapped[str]
    credits: Mapped[int]
    level: Mapped[int]
    weeks: Mapped[int]


class WithdrawnCourse(Base):
    """A course that the catalogue withdrew; the withdrawal may arrive before the course."""

    __tablename__ = "withdrawn_courses"

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    withdrawn_at: Mapped[datetime]


class Unit(Base):
    """A copy of the study text of one frozen course version."""

    __tablename__ = "units"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int]
    title: Mapped[str]
    minutes: Mapped[int]
    objectives: Mapped[list[str]]
    text: Mapped[str]


class StoredEvent(Base):
    """A fact: what others published or was decided here about a learner. Append-only; `fact_id` is its digest."""

    __tablename__ = "facts"
    __table_args__ = (Index(None, "learner_id"),)

    fact_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[UUID]
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]  # Any: the event as JSON
    kept_at: Mapped[datetime]


class OrderLine(Base):
    """A paid line and what became of it: nothing yet (`outcome` null), activated, refused, refunded before either."""

    __tablename__ = "order_lines"
    __table_args__ = (
        CheckConstraint(
            "(outcome is null) = (decided_at is null) "
            "and coalesce(outcome = 'refused', false) = (reason_code is not null)",
            name="decided",
        ),
        CheckConstraint("outcome in ('activated', 'refused', 'refunded')", name="outcome"),
        Index(None, "learner_id"),
        Index("ix_order_lines_waiting", "received_at", postgresql_where=text("outcome is null")),
    )

    order_line_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    position: Mapped[int]
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    confirmed_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column("heard_at", key="received_at")
    outcome: Mapped[str | None]
    reason_code: Mapped[str | None]
    decided_at: Mapped[datetime | None]


class Enrolment(Base):
    """A learner on a course version, by one paid line. `sequence` counts its states."""

    __tablename__ = "enrolments"
    __table_args__ = (
        Index(
            "uq_enrolments_active_course",
            "learner_id",
            "course_id",
            unique=True,
            postgresql_where=text("status = 'active'"),
        ),
        Index(
            "uq_enrolments_active_family",
            "learner_id",
            "module_family",
            unique=True,
            postgresql_where=text("status = 'active'"),
        ),
        CheckConstraint("sequence >= 1", name="sequence"),
        CheckConstraint("status in ('active', 'suspended', 'cancelled', 'completed', 'failed')", name="status"),
        Index("ix_enrolments_learner_id", "learner_id", "activated_at", "enrolment_id"),
        Index("ix_enrolments_suspended", "changed_at", postgresql_where=text("status = 'suspended'")),
    )

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"))
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    module_family: Mapped[str]
    order_id: Mapped[UUID]
    order_line_id: Mapped[UUID] = mapped_column(ForeignKey("order_lines.order_line_id"), unique=True)
    regulations_version: Mapped[str]
    """The version in force when the payment was confirmed; pinned."""
    status: Mapped[str]
    reason_code: Mapped[str | None]
    sequence: Mapped[int]
    activated_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class EnrolmentState(Base):
    """One of the states an enrolment went through."""

    __tablename__ = "enrolment_states"

    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]
    reason_code: Mapped[str | None]
    at: Mapped[datetime]


class UnitProgress(Base):
    """A unit that was begun, and perhaps finished; neither is ever undone."""

    __tablename__ = "unit_progress"

    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"), primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
