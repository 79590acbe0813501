from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, FetchedValue, ForeignKey, MetaData, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class CourseVersion(Base):
    """Our copy of a frozen course version."""

    __tablename__ = "course_versions"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    version: Mapped[int]
    code: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    module_family: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID]
    subject_name: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]


class SubjectName(Base):
    """The award name of a subject from an instant on, where it was renamed."""

    __tablename__ = "subject_names"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(primary_key=True)
    award_name: Mapped[str] = mapped_column(Text)


class Brief(Base):
    """What is asked of learners on one course version."""

    __tablename__ = "briefs"

    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    task: Mapped[str] = mapped_column(Text)
    deliverable: Mapped[str] = mapped_column(Text)
    word_limit: Mapped[int]
    criteria: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    updated_at: Mapped[datetime]


class Window(Base):
    """A half-open span in which work is taken. Regular ones have a `period` (the month); staff made the others."""

    __tablename__ = "windows"

    window_id: Mapped[UUID] = mapped_column(primary_key=True)
    period: Mapped[str | None] = mapped_column(Text)
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    grace_seconds: Mapped[int]
    opened_at: Mapped[datetime | None]
    """When its opening was announced; what counts for learners is `opens_at`."""
    closed_at: Mapped[datetime | None]
    """When its closing was announced; what counts for learners is `closes_at`."""


class Enrolment(Base):
    """Our copy of who studies what, under which regulations."""

    __tablename__ = "enrolments"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    regulations_version: Mapped[str] = mapped_column(Text)
    activated_at: Mapped[datetime]
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")


class EnrolmentState(Base):
    """The latest state we heard of; without a row the enrolment is active. It may be heard before the enrolment."""

    __tablename__ = "enrolment_states"

    enrolment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int]


class Board(Base):
    """A sitting of the board of examiners: what it ratified of a window, or a credit it took away (no window)."""

    __tablename__ = "boards"

    board_id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID | None] = mapped_column(ForeignKey("windows.window_id"))
    minutes_reference: Mapped[str] = mapped_column(Text)
    ratified: Mapped[int]
    credits_awarded: Mapped[int]
    held: Mapped[int]
    decided_by: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime]
    expected: Mapped[int | None]
    """Results that waited for it when it sat; None where it ratified none, or before this was kept."""
    reached: Mapped[UUID | None]
    """The last attempt it has dealt with, where it is under way."""
    under_way: Mapped[bool] = mapped_column(default=False)


class Release(Base):
    """Telling the learners the results of a window: all that were marked when it was asked for."""

    __tablename__ = "releases"

    release_id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    released_by: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[datetime]
    expected: Mapped[int]
    released: Mapped[int]
    passed: Mapped[int]
    reached: Mapped[UUID | None]
    """The last attempt it has dealt with, where it is under way."""
    under_way: Mapped[bool]


class Attempt(Base):
    """One try of one enrolment. `raw_mark` is what the work earned, `mark` what is recorded."""

    __tablename__ = "attempts"

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    attempt_no: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    raw_mark: Mapped[Decimal | None] = mapped_column(Numeric)
    mark: Mapped[Decimal | None] = mapped_column(Numeric)
    passed: Mapped[bool | None]
    capped: Mapped[bool | None]
    feedback: Mapped[str | None] = mapped_column(Text)
    marked_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    ratified_at: Mapped[datetime | None]
    board_id: Mapped[UUID | None] = mapped_column(ForeignKey("boards.board_id"))
    voided_at: Mapped[datetime | None]
    case_id: Mapped[UUID | None]
    """The open case that freezes it."""
    window: Mapped[Window] = relationship(lazy="raise")
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")
    enrolment: Mapped[Enrolment] = relationship(lazy="raise")


class MisconductCase(Base):
    """An accusation about one attempt. While it is open, `Attempt.case_id` freezes the result."""

    __tablename__ = "misconduct_cases"

    case_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"))
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submissions.submission_id"))
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    attempt_no: Mapped[int]
    reason_code: Mapped[str] = mapped_column(Text)
    opened_by: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime]
    outcome: Mapped[str | None] = mapped_column(Text)
    minutes_reference: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None]


class Submission(Base):
    """One received file. A late one counts for no attempt; it is kept for the learner as a draft."""

    __tablename__ = "submissions"

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("attempts.attempt_id"))
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    state: Mapped[str] = mapped_column(Text)
    storage_key: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    awaits_mark: Mapped[bool] = mapped_column(server_default=FetchedValue())
    """The database keeps it: it is the current file of an attempt without a mark."""
    attempt: Mapped[Attempt | None] = relationship(lazy="raise")
    window: Mapped[Window] = relationship(lazy="raise")
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")


class Mark(Base):
    """A mark somebody gave; append-only. The latest one of an attempt stands."""

    __tablename__ = "marks"

    mark_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"))
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submissions.submission_id"))
    stage: Mapped[str] = mapped_column(Text)
    mark: Mapped[Decimal] = mapped_column(Numeric)
    feedback: Mapped[str] = mapped_column(Text)
    marked_by: Mapped[str] = mapped_column(Text)
    marked_at: Mapped[datetime]


class Credit(Base):
    """Credit the board awarded: once per learner and module family, ever."""

    __tablename__ = "credits"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    module_family: Mapped[str] = mapped_column(Text)
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"))
    board_id: Mapped[UUID] = mapped_column(ForeignKey("boards.board_id"))
    credits: Mapped[int]
    level: Mapped[int]
    mark: Mapped[Decimal] = mapped_column(Numeric)
    awarded_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revocation_reason: Mapped[str | None] = mapped_column(Text)
    revocation_board_id: Mapped[UUID | None] = mapped_column(ForeignKey("boards.board_id"))


class Decision(Base):
    """Who decided what about which object, when and why; append-only. `subject_id` is that object's id."""

    __tablename__ = "decisions"

    decision_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID]
    actor: Mapped[str] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime]
    details: Mapped[dict[str, Any]]  # Any: JSON
