"""Our copy of what the catalogue sells and of who studies it: what plans are made of."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class OfferedCourse(Base):
    """The newest version on sale. The withdrawal may be heard before the course itself."""

    __tablename__ = "offered_courses"

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID | None]
    version: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    institution_name: Mapped[str | None] = mapped_column(Text)
    subject_id: Mapped[UUID | None]
    subject_name: Mapped[str | None] = mapped_column(Text)
    credits: Mapped[int | None]
    level: Mapped[int | None]
    family: Mapped[str | None] = mapped_column(Text)
    weeks: Mapped[int | None]
    withdrawn_at: Mapped[datetime | None]


class Price(Base):
    """The price of a course from an instant on."""

    __tablename__ = "prices"

    price_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[datetime]


class Enrolment(Base):
    """Who studies what. The end, when it was cancelled or failed, may be heard before the beginning."""

    __tablename__ = "enrolments"

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    activated_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
