"""What enrolment keeps: people, what was heard (facts, paid lines, courses), and what it decided (enrolments)."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Learner(Base):
    __tablename__ = "learners"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(Text)
    date_of_birth: Mapped[date | None]
    contact_email: Mapped[str] = mapped_column(Text)
    """Empty once the learner is anonymised, as are the names."""
    name_version: Mapped[int]
    """The name in use; earlier ones stay."""
    contact_version: Mapped[int] = mapped_column(server_default="1")
    """Counts the addresses, and the confirmation of the first; only the last is kept."""
    contact_confirmed_at: Mapped[datetime | None]
    """When the code came back that was sent there; None: nobody knows whose address it is."""
    registered_at: Mapped[datetime]
    documented_at: Mapped[datetime | None]
    """Since when a transcript bears a name of theirs."""
    anonymised_at: Mapped[datetime | None]
    anonymised_by: Mapped[str | None] = mapped_column(Text)


class Name(Base):
    __tablename__ = "names"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    given_name: Mapped[str | None] = mapped_column(Text)
    family_name: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    certificate_name: Mapped[str | None] = mapped_column(Text)
    """How it is written on certificates; None: given name, family name."""
    decided_in: Mapped[UUID | None]
    """The request in which a registrar decided that this is the name; later versions that keep the name keep it."""
    valid_from: Mapped[datetime]


class NameRequest(Base):
    """A learner asks to bear another name. What it says is empty once the learner is anonymised."""

    __tablename__ = "name_requests"

    request_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    family_name: Mapped[str] = mapped_column(Text)
    given_name: Mapped[str | None] = mapped_column(Text)
    certificate_name: Mapped[str | None] = mapped_column(Text)
    statement: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)


class NameEvidence(Base):
    __tablename__ = "name_evidence"

    evidence_id: Mapped[UUID] = mapped_column(primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("name_requests.request_id"))
    learner_id: Mapped[UUID]
    filename: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    storage_key: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]


class ContactChange(Base):
    """A contact address that waits for its code, of which only a keyed digest is kept: a new one, or the first."""

    __tablename__ = "contact_changes"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    contact_email: Mapped[str | None] = mapped_column(Text)
    """None: it was confirmed, or given up; the row counts what was sent."""
    code_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None: it was used up."""
    tries: Mapped[int] = mapped_column(server_default="0")
    """How often another code was entered."""
    asked_at: Mapped[datetime]
    letters: Mapped[int]
    counted_since: Mapped[datetime]
    """`letters` were sent since then."""


class Declaration(Base):
    """The self-certification of both admission criteria: which wording, which answers, when."""

    __tablename__ = "declarations"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(Text, primary_key=True)
    answers: Mapped[dict[str, Any]]  # Any: JSON, criterion -> true
    sha256: Mapped[str] = mapped_column(Text)
    declared_at: Mapped[datetime]


class CourseVersion(Base):
    """A copy of what the catalogue published; frozen."""

    __tablename__ = "course_versions"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    version: Mapped[int]
    slug: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    module_family: Mapped[str] = mapped_column(Text)
    subject_name: Mapped[str] = mapped_column(Text)
    institution_name: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]
    weeks: Mapped[int]


class WithdrawnCourse(Base):
    __tablename__ = "withdrawn_courses"

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    withdrawn_at: Mapped[datetime]


class Unit(Base):
    """A copy of the study text of one frozen course version."""

    __tablename__ = "units"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    minutes: Mapped[int]
    objectives: Mapped[list[str]]
    text: Mapped[str] = mapped_column(Text)


class KeptFact(Base):
    """Append-only: what was heard and decided about a learner. `fact_id` is its digest."""

    __tablename__ = "facts"

    fact_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    type: Mapped[str] = mapped_column(Text)
    subject: Mapped[UUID]
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]  # Any: the event as JSON
    kept_at: Mapped[datetime]


class OrderLine(Base):
    """A paid line and what became of it: nothing yet (`outcome` null), activated, refused, refunded before either."""

    __tablename__ = "order_lines"

    order_line_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    position: Mapped[int]
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    confirmed_at: Mapped[datetime]
    heard_at: Mapped[datetime]
    outcome: Mapped[str | None] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None]


class Enrolment(Base):
    """One per paid line. `sequence` counts its states."""

    __tablename__ = "enrolments"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    module_family: Mapped[str] = mapped_column(Text)
    order_id: Mapped[UUID]
    order_line_id: Mapped[UUID]
    regulations_version: Mapped[str] = mapped_column(Text)
    """In force when the payment was confirmed; pinned."""
    status: Mapped[str] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    sequence: Mapped[int]
    activated_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class EnrolmentState(Base):
    """The states an enrolment went through."""

    __tablename__ = "enrolment_states"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class UnitProgress(Base):
    """Begun, and perhaps finished; never undone."""

    __tablename__ = "unit_progress"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
