"""The tables. Facts are kept as they came and never changed; all else is derived from them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


# Facts


class Learner(Base):
    __tablename__ = "learners"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    name_version: Mapped[int]
    registered_at: Mapped[datetime]


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


class SubjectName(Base):
    """The award name of a subject from an instant on."""

    __tablename__ = "subject_names"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    effective_from: Mapped[datetime] = mapped_column(primary_key=True)
    award_name: Mapped[str] = mapped_column(Text)


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
    """A line of the ledger: what a board gave. `subject_name` is as at that day; lines are never changed."""

    __tablename__ = "credits"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    enrolment_id: Mapped[UUID]
    submission_id: Mapped[UUID]
    course_id: Mapped[UUID]
    course_version_id: Mapped[UUID]
    course_code: Mapped[str] = mapped_column(Text)
    course_title: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID]
    subject_name: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]
    mark: Mapped[Decimal]
    attempt_no: Mapped[int]
    source: Mapped[str] = mapped_column(Text)
    board_id: Mapped[UUID]
    regulations_version: Mapped[str] = mapped_column(Text)
    ratified_at: Mapped[datetime]


class Revocation(Base):
    """A board took a credit away. It may arrive before the credit does."""

    __tablename__ = "revocations"

    credit_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str] = mapped_column(Text)
    board_id: Mapped[UUID]
    revoked_at: Mapped[datetime]


class Payment(Base):
    """When an order's money was last known to be gone, and when to be there.

    While it is gone the learner claims nothing; ratified credit stays.
    """

    __tablename__ = "payments"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    reversed_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]


# Awards


class Award(Base):
    """Claimed, then conferred or lapsed; once conferred it may be superseded. `mean` is exact, as a fraction."""

    __tablename__ = "awards"

    award_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    level: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    rule: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    regulations_version: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    mean: Mapped[str | None] = mapped_column(Text)
    mark: Mapped[int | None]
    classification: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    claimed_at: Mapped[datetime]
    reserved_until: Mapped[datetime]
    conferred_at: Mapped[datetime | None]
    conferred_by: Mapped[str | None] = mapped_column(Text)
    certificate_number: Mapped[str | None] = mapped_column(Text)
    superseded_by: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    superseded_at: Mapped[datetime | None]
    under_review_since: Mapped[datetime | None]
    """Credit it stands on was revoked; a person decides what follows."""


class Allocation(Base):
    """Which credit an award stands on. The database lets a credit stand under one live award a level."""

    __tablename__ = "allocations"

    award_id: Mapped[UUID] = mapped_column(ForeignKey("awards.award_id"), primary_key=True)
    credit_id: Mapped[UUID] = mapped_column(ForeignKey("credits.credit_id"), primary_key=True)
    level: Mapped[str] = mapped_column(Text)
    live: Mapped[bool]


# What is issued


class StatusList(Base):
    """A published list of revocation bits; `document` is served as it is."""

    __tablename__ = "status_lists"

    number: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[bytes | None] = mapped_column(LargeBinary)
    revoked: Mapped[int] = mapped_column(server_default="0")
    """How many bits the document has set; where it differs from the badges, the list is out of date."""
    signed_at: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]


class Badge(Base):
    """A credential and its place in a status list. `document` is None until it is signed."""

    __tablename__ = "badges"

    badge_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    achievement_id: Mapped[UUID]
    credit_id: Mapped[UUID | None] = mapped_column(ForeignKey("credits.credit_id"))
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    subject: Mapped[str] = mapped_column(Text)
    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"))
    list_index: Mapped[int]
    awarded_at: Mapped[datetime]
    document: Mapped[dict[str, Any] | None]  # Any: JSON
    issued_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Transcript(Base):
    """One version of a learner's record; `sha256` is the hash of the document's canonical JSON."""

    __tablename__ = "transcripts"

    transcript_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    version: Mapped[int]
    document: Mapped[dict[str, Any]]  # Any: JSON
    content_sha256: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    as_at: Mapped[datetime]


class Eligibility(Base):
    """The titles a learner was last told they may claim, by level."""

    __tablename__ = "eligibilities"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    titles: Mapped[dict[str, Any]]  # Any: JSON, level -> [title]


class SigningKey(Base):
    """A key of the issuer. The private half is wrapped by a key outside the database. state: active, retired."""

    __tablename__ = "signing_keys"

    verification_method: Mapped[str] = mapped_column(Text, primary_key=True)
    did: Mapped[str] = mapped_column(Text)
    suite: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
