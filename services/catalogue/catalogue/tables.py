"""The catalogue's tables. The database itself keeps published versions, their units and prices from changing."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, MetaData, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Institution(Base):
    __tablename__ = "institutions"

    institution_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    homepage: Mapped[str]
    country: Mapped[str]
    created_at: Mapped[datetime]


class Subject(Base):
    __tablename__ = "subjects"
    __table_args__ = (
        Index("uq_subjects_award_key", "award_key", unique=True),
        Index("uq_subjects_award_name", text("lower(award_name)"), unique=True),
        Index("ix_subjects_to_renew", "subject_id", postgresql_where=text("renewed_up_to is not null")),
    )

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    award_name: Mapped[str]
    """The subject's name in titles such as "PGCert in …"."""
    award_key: Mapped[str | None]
    """The same for award names that look alike, hence unique. None where the previous release wrote the row."""
    description: Mapped[str]
    created_at: Mapped[datetime]
    renamed_at: Mapped[datetime | None]
    """The instant in the event of the last renaming. None before the first."""
    renewed_up_to: Mapped[UUID | None]
    """After a renaming: the last course, by id, whose listing has the new name. None where all have it."""


class Course(Base):
    __tablename__ = "courses"
    __table_args__ = (
        CheckConstraint("state in ('draft', 'published', 'withdrawn')", name="state"),
        CheckConstraint("(state = 'draft') = (current_version_id is null)", name="version"),
        CheckConstraint(
            "(state = 'withdrawn') = (withdrawn_at is not null) and (withdrawn_at is null) = (withdrawn_by is null)",
            name="withdrawal",
        ),
    )

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    code: Mapped[str] = mapped_column(unique=True)
    module_family: Mapped[str]
    state: Mapped[str]
    """draft, published or withdrawn."""
    current_version_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("course_versions.course_version_id", use_alter=True)
    )
    """The version on sale: the latest published one."""
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None]


class CourseVersion(Base):
    """A version of a course: a draft until `published_at` is set, frozen from then on."""

    __tablename__ = "course_versions"
    __table_args__ = (
        UniqueConstraint("course_id", "version"),
        Index("uq_course_versions_draft", "course_id", unique=True, postgresql_where=text("published_at is null")),
        CheckConstraint("0 < hours_min and hours_min <= hours_max", name="hours"),
        CheckConstraint(
            "(published_at is null) = (published_by is null) and (published_at is null "
            "or (subject_id is not null and institution_id is not null))",
            name="published",
        ),
        Index("ix_course_versions_subject_id_course_id", "subject_id", "course_id"),
    )

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID] = mapped_column(ForeignKey("courses.course_id"))
    version: Mapped[int]
    title: Mapped[str]
    subject_id: Mapped[UUID | None] = mapped_column(ForeignKey("subjects.subject_id"))
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institutions.institution_id"))
    summary: Mapped[str]
    description: Mapped[str]
    credits: Mapped[int]
    level: Mapped[int]
    weeks: Mapped[int]
    hours_min: Mapped[int]
    hours_max: Mapped[int]
    prerequisites: Mapped[str | None]
    criteria: Mapped[str]
    outcomes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    skills: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    revision: Mapped[int]
    """How often the draft was saved, so that two editors cannot overwrite each other unawares."""
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    published_by: Mapped[str | None]


class Unit(Base):
    __tablename__ = "units"
    __table_args__ = (UniqueConstraint("course_version_id", "position"),)

    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    position: Mapped[int]
    title: Mapped[str]
    minutes: Mapped[int]
    objectives: Mapped[list[str]]
    text: Mapped[str]


class Price(Base):
    """What the course costs from an instant on, until the next row begins."""

    __tablename__ = "prices"
    __table_args__ = (
        UniqueConstraint("course_id", "valid_from"),
        CheckConstraint("amount_minor > 0", name="amount_minor"),
        Index(None, "valid_from"),
    )

    price_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID] = mapped_column(ForeignKey("courses.course_id"))
    amount_minor: Mapped[int]
    currency: Mapped[str]
    valid_from: Mapped[datetime]
    set_at: Mapped[datetime]
    set_by: Mapped[str]


class Listing(Base):
    """The ready-made JSON of a course that was ever published, from which public reads answer (commands.listings)."""

    __tablename__ = "listings"
    __table_args__ = (
        Index(
            "ix_listings_kind",
            "subject",
            "institution",
            "level",
            "sort_title",
            "course_id",
            postgresql_where=text("on_sale"),
        ),
        Index("ix_listings_order", "sort_title", "course_id", postgresql_where=text("on_sale")),
        Index(None, "search", postgresql_using="gin"),
        Index(
            "ix_listings_title",
            text("to_tsvector('english', sort_title)"),
            postgresql_using="gin",
            postgresql_where=text("on_sale"),
        ),
    )

    course_id: Mapped[UUID] = mapped_column(ForeignKey("courses.course_id"), primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    on_sale: Mapped[bool]
    sort_title: Mapped[str]
    subject: Mapped[str]
    institution: Mapped[str]
    level: Mapped[int]
    card: Mapped[str]
    page: Mapped[str]
    search: Mapped[str] = mapped_column(TSVECTOR)


class Programme(Base):
    """A degree programme of a partner that takes in credit. `client_id` is the partner's client at the gateway."""

    __tablename__ = "programmes"
    __table_args__ = (UniqueConstraint("client_id", "code"),)

    programme_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str]
    institution: Mapped[str]
    code: Mapped[str]
    title: Mapped[str]
    created_at: Mapped[datetime]


class ProgrammeMap(Base):
    """One frozen version of what a programme takes in; the latest one is in use. The ceiling is in credits."""

    __tablename__ = "programme_maps"
    __table_args__ = (CheckConstraint("ceiling_credits > 0", name="ceiling"),)

    programme_id: Mapped[UUID] = mapped_column(ForeignKey("programmes.programme_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    ceiling_credits: Mapped[int]
    published_at: Mapped[datetime]
    published_by: Mapped[str]


class ProgrammeModule(Base):
    """A course version that counts as a module of the programme, from when until when, and who decided it."""

    __tablename__ = "programme_modules"
    __table_args__ = (
        ForeignKeyConstraint(["programme_id", "version"], ["programme_maps.programme_id", "programme_maps.version"]),
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint("valid_from < valid_until", name="dates"),
    )

    programme_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"), primary_key=True)
    module_code: Mapped[str]
    module_title: Mapped[str]
    credits: Mapped[int]
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime | None]
    decided_by: Mapped[str]
