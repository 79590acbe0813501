"""The tables of assessment: columns and constraints, no behaviour."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    Numeric,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class CourseVersion(Base):
    """Our copy of a frozen course version."""

    __tablename__ = "course_versions"
    __table_args__ = (Index(None, "module_family"),)

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    version: Mapped[int]
    code: Mapped[str]
    title: Mapped[str]
    module_family: Mapped[str]
    subject_id: Mapped[UUID]
    subject_name: Mapped[str]
    credits: Mapped[int]
    level: Mapped[int]


class SubjectName(Base):
    """The award name of a subject from an instant on, where it was renamed."""

    __tablename__ = "subject_names"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(primary_key=True)
    award_name: Mapped[str]


class Brief(Base):
    """The task of one course version, with its criteria and their weights."""

    __tablename__ = "briefs"
    __table_args__ = (CheckConstraint("word_limit > 0", name="word_limit"),)

    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"), primary_key=True)
    title: Mapped[str]
    task: Mapped[str]
    deliverable: Mapped[str]
    word_limit: Mapped[int]
    criteria: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    updated_at: Mapped[datetime]


class Window(Base):
    """A half-open span of time in which work is taken. Regular windows have a `period` (the month); staff made the
    others."""

    __tablename__ = "windows"
    __table_args__ = (
        CheckConstraint("grace_seconds >= 0", name="grace_seconds"),
        CheckConstraint("opens_at < closes_at", name="span"),
        Index("ix_windows_closes_at_window_id", "closes_at", "window_id"),
        Index("ix_windows_to_close", "closes_at", postgresql_where=text("closed_at is null")),
    )

    window_id: Mapped[UUID] = mapped_column(primary_key=True)
    period: Mapped[str | None] = mapped_column(unique=True)
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    grace_seconds: Mapped[int]
    opened_at: Mapped[datetime | None]
    """When its opening was announced; what counts for learners is `opens_at`."""
    closed_at: Mapped[datetime | None]
    """When its closing was announced; what counts for learners is `closes_at`."""


class Enrolment(Base):
    """Our copy of an enrolment: who studies which course version, under which regulations."""

    __tablename__ = "enrolments"
    __table_args__ = (Index("uq_enrolments_order_line_id", "order_line_id", unique=True), Index(None, "learner_id"))

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    order_line_id: Mapped[UUID | None]
    """None for enrolments that a former release stored."""
    regulations_version: Mapped[str]
    activated_at: Mapped[datetime]
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")


class EnrolmentState(Base):
    """The latest state of an enrolment; without a row it is active. The state may arrive before the enrolment."""

    __tablename__ = "enrolment_states"
    __table_args__ = (CheckConstraint("status in ('active', 'suspended', 'cancelled')", name="status"),)

    enrolment_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    status: Mapped[str]
    sequence: Mapped[int]
    reason_code: Mapped[str | None]
    """Why it was cancelled."""


class ErasedAuthor(Base):
    """A learner who was anonymised: nothing of theirs is received any more."""

    __tablename__ = "forgotten_authors"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    anonymised_at: Mapped[datetime]


class Board(Base):
    """A sitting of the board of examiners: it ratified results of a window, or revoked or reinstated a credit (without
    a window)."""

    __tablename__ = "boards"
    __table_args__ = (Index("uq_boards_under_way", "window_id", unique=True, postgresql_where=text("under_way")),)

    board_id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID | None] = mapped_column(ForeignKey("windows.window_id"))
    minutes_reference: Mapped[str]
    ratified: Mapped[int]
    credits_awarded: Mapped[int]
    deferred: Mapped[int] = mapped_column("held", key="deferred")
    """How many released results it left for another board."""
    decided_by: Mapped[str]
    decided_at: Mapped[datetime]
    expected: Mapped[int | None]
    """How many results waited for it when it sat; None where it ratified none, or before this was recorded."""
    reached: Mapped[UUID | None]
    """The last attempt it has dealt with, where it is under way."""
    under_way: Mapped[bool] = mapped_column(server_default="false", default=False)


class Release(Base):
    """A release of the results of a window to their learners: all that were marked when it was asked for."""

    __tablename__ = "releases"
    __table_args__ = (Index("uq_releases_under_way", "window_id", unique=True, postgresql_where=text("under_way")),)

    release_id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    released_by: Mapped[str]
    requested_at: Mapped[datetime]
    expected: Mapped[int]
    released: Mapped[int]
    passed: Mapped[int]
    reached: Mapped[UUID | None]
    """The last attempt it has dealt with, where it is under way."""
    under_way: Mapped[bool]


class Attempt(Base):
    """One attempt of one enrolment. `raw_mark` is what the work was given, `mark` what is recorded."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index(
            "uq_attempts_enrolment_id_attempt_no",
            "enrolment_id",
            "attempt_no",
            unique=True,
            postgresql_where=text("state <> 'voided'"),
        ),
        Index(
            "uq_attempts_under_way",
            "enrolment_id",
            unique=True,
            postgresql_where=text("state in ('submitted', 'marked')"),
        ),
        CheckConstraint("attempt_no > 0", name="attempt_no"),
        CheckConstraint(
            "state in ('submitted', 'voided') or (raw_mark is not null and mark is not null "
            "and passed is not null and capped is not null)",
            name="marked",
        ),
        CheckConstraint(
            "(state = 'ratified') = (ratified_at is not null) and (ratified_at is null) = (board_id is null)",
            name="ratified",
        ),
        CheckConstraint("state not in ('released', 'ratified') or released_at is not null", name="released"),
        CheckConstraint("state in ('submitted', 'marked', 'released', 'ratified', 'voided')", name="state"),
        CheckConstraint("(state = 'voided') = (voided_at is not null)", name="voided"),
        Index(None, "enrolment_id"),
        Index("ix_attempts_window_id", "window_id", "attempt_id"),
        Index("ix_attempts_window_id_state", "window_id", "state", "attempt_id"),
    )

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    attempt_no: Mapped[int]
    state: Mapped[str]
    raw_mark: Mapped[Decimal | None] = mapped_column(Numeric)
    mark: Mapped[Decimal | None] = mapped_column(Numeric)
    passed: Mapped[bool | None]
    capped: Mapped[bool | None]
    feedback: Mapped[str | None]
    marked_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    ratified_at: Mapped[datetime | None]
    board_id: Mapped[UUID | None] = mapped_column(ForeignKey("boards.board_id"))
    voided_at: Mapped[datetime | None]
    case_id: Mapped[UUID | None]
    """The open case that freezes the result."""
    window: Mapped[Window] = relationship(lazy="raise")
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")
    enrolment: Mapped[Enrolment] = relationship(lazy="raise")


class MisconductCase(Base):
    """A case of suspected misconduct about one attempt. While it is open, `Attempt.case_id` freezes the result."""

    __tablename__ = "misconduct_cases"
    __table_args__ = (
        Index("uq_misconduct_cases_open", "attempt_id", unique=True, postgresql_where=text("decided_at is null")),
        CheckConstraint(
            "(decided_at is null) = (outcome is null) and (decided_at is null) = (minutes_reference is null)",
            name="decided",
        ),
        CheckConstraint("outcome in ('no_case', 'resubmit', 'mark_zero', 'credit_revoked')", name="outcome"),
        # Not valid for cases that were decided before this rule.
        CheckConstraint("decided_by <> opened_by", name="same_person", postgresql_not_valid=True),
        Index(None, "attempt_id"),
        Index("ix_misconduct_cases_open", "opened_at", "case_id", postgresql_where=text("decided_at is null")),
        Index("ix_misconduct_cases_opened_at_case_id", "opened_at", "case_id"),
    )

    case_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"))
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submissions.submission_id"))
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    attempt_no: Mapped[int]
    reason_code: Mapped[str]
    opened_by: Mapped[str]
    opened_at: Mapped[datetime]
    outcome: Mapped[str | None]
    minutes_reference: Mapped[str | None]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]


class Submission(Base):
    """One received file. A late one counts for no attempt; it is kept for the learner as a draft."""

    __tablename__ = "submissions"
    __table_args__ = (
        Index("uq_submissions_current", "attempt_id", unique=True, postgresql_where=text("state = 'current'")),
        CheckConstraint("(state = 'late') = (attempt_id is null)", name="late"),
        CheckConstraint("state in ('current', 'superseded', 'late', 'voided')", name="state"),
        Index(None, "attempt_id"),
        Index("ix_submissions_enrolment_id", "enrolment_id", "received_at", "submission_id"),
        Index(None, "learner_id"),
        Index("ix_submissions_queue", "received_at", "submission_id", postgresql_where=text("state = 'current'")),
        Index(
            "ix_submissions_waiting", "window_id", "received_at", "submission_id", postgresql_where=text("awaits_mark")
        ),
    )

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("attempts.attempt_id"))
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    learner_id: Mapped[UUID]
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    state: Mapped[str]
    storage_key: Mapped[str] = mapped_column(unique=True)
    filename: Mapped[str]
    kind: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    received_at: Mapped[datetime]
    received_again_at: Mapped[datetime | None]
    """When the same bytes last came again; null where they came once."""
    awaits_mark: Mapped[bool] = mapped_column(server_default="false")
    """Whether it is the current file of an attempt without a mark; a trigger keeps it."""
    attempt: Mapped[Attempt | None] = relationship(lazy="raise")
    window: Mapped[Window] = relationship(lazy="raise")
    course_version: Mapped[CourseVersion] = relationship(lazy="raise")


class UploadUnderWay(Base):
    """A file on its way into a window. Until it is there, or can no longer come, the work it may replace is not marked
    and the window's closing not announced.
    """

    __tablename__ = "uploads_under_way"
    __table_args__ = (Index(None, "enrolment_id"), Index(None, "window_id"))

    upload_id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("windows.window_id"))
    ends_by: Mapped[datetime]
    """When it has ended at the latest: if it is still here then, it was cut off by a crash."""


class Mark(Base):
    """A mark somebody gave; append-only. The latest one of an attempt stands."""

    __tablename__ = "marks"
    __table_args__ = (
        Index("uq_marks_first", "attempt_id", unique=True, postgresql_where=text("stage = 'first'")),
        CheckConstraint("stage in ('first', 'moderation')", name="stage"),
        Index(None, "attempt_id"),
    )

    mark_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"))
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submissions.submission_id"))
    stage: Mapped[str]
    mark: Mapped[Decimal] = mapped_column(Numeric)
    feedback: Mapped[str]
    marked_by: Mapped[str]
    marked_at: Mapped[datetime]


class Credit(Base):
    """Credit that the board awarded: one for each learner and module, besides revoked ones that were replaced."""

    __tablename__ = "credits"
    __table_args__ = (
        UniqueConstraint("learner_id", "module_family"),
        CheckConstraint("module_family is not null or revoked_at is not null", name="module_family"),
        CheckConstraint(
            "(revoked_at is null) = (revocation_reason is null) "
            "and (revoked_at is null) = (revocation_board_id is null)",
            name="revoked",
        ),
    )

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    module_family: Mapped[str | None]
    """The module, in which the learner has no other credit. None where this one was revoked and another replaced it."""
    enrolment_id: Mapped[UUID] = mapped_column(ForeignKey("enrolments.enrolment_id"))
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.attempt_id"), unique=True)
    board_id: Mapped[UUID] = mapped_column(ForeignKey("boards.board_id"))
    credits: Mapped[int]
    level: Mapped[int]
    mark: Mapped[Decimal] = mapped_column(Numeric)
    awarded_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revocation_reason: Mapped[str | None]
    revocation_board_id: Mapped[UUID | None] = mapped_column(ForeignKey("boards.board_id"))
    revision: Mapped[int] = mapped_column(server_default="0")
    """How often it was revoked or reinstated."""


class Decision(Base):
    """Who decided what about which object, when and why; append-only. `subject_id` is that object's id."""

    __tablename__ = "decisions"
    __table_args__ = (Index(None, "subject_id"),)

    decision_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[UUID]
    actor: Mapped[str]
    reason_code: Mapped[str | None]
    decided_at: Mapped[datetime]
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # Any: JSON
