"""The catalogue's tables. The database itself keeps published versions, their units and prices from changing."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Institution(Base):
    __tablename__ = "institutions"

    institution_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    homepage: Mapped[str] = mapped_column(Text)
    country: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Subject(Base):
    __tablename__ = "subjects"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    award_name: Mapped[str] = mapped_column(Text)
    """What stands in a title such as "PGCert in …"."""
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    renewed_up_to: Mapped[UUID | None]
    """After a renaming: the last course whose listing has the new name. None where all have."""


class Course(Base):
    __tablename__ = "courses"

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    module_family: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    """draft, published or withdrawn."""
    current_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("course_versions.course_version_id"))
    """The version on sale: the latest published one."""
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(Text)


class CourseVersion(Base):
    """A draft until `published_at` is set; frozen from then on."""

    __tablename__ = "course_versions"

    course_version_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID] = mapped_column(ForeignKey("courses.course_id"))
    version: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID | None] = mapped_column(ForeignKey("subjects.subject_id"))
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institutions.institution_id"))
    summary: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    level: Mapped[int]
    weeks: Mapped[int]
    hours_min: Mapped[int]
    hours_max: Mapped[int]
    prerequisites: Mapped[str | None] = mapped_column(Text)
    criteria: Mapped[str] = mapped_column(Text)
    outcomes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    skills: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # Any: JSON
    revision: Mapped[int]
    """Counts how often the draft was saved, so that two editors cannot overwrite each other unawares."""
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    published_by: Mapped[str | None] = mapped_column(Text)


class Unit(Base):
    __tablename__ = "units"

    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"))
    position: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    minutes: Mapped[int]
    objectives: Mapped[list[str]]
    text: Mapped[str] = mapped_column(Text)


class Price(Base):
    """What the course costs from an instant on, until the next row begins."""

    __tablename__ = "prices"

    price_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID] = mapped_column(ForeignKey("courses.course_id"))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[datetime]
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(Text)


class Programme(Base):
    """A degree programme of a partner that takes in credit. `client_id` is the partner's client at the gateway."""

    __tablename__ = "programmes"

    programme_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(Text)
    institution: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class ProgrammeMap(Base):
    """One frozen version of what a programme takes in; the latest one is in use. The ceiling is in credits."""

    __tablename__ = "programme_maps"

    programme_id: Mapped[UUID] = mapped_column(ForeignKey("programmes.programme_id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    ceiling_credits: Mapped[int]
    published_at: Mapped[datetime]
    published_by: Mapped[str] = mapped_column(Text)


class ProgrammeModule(Base):
    """That a course version counts as a module of the programme, from when until when, and who decided it."""

    __tablename__ = "programme_modules"

    programme_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID] = mapped_column(ForeignKey("course_versions.course_version_id"), primary_key=True)
    module_code: Mapped[str] = mapped_column(Text)
    module_title: Mapped[str] = mapped_column(Text)
    credits: Mapped[int]
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(Text)
