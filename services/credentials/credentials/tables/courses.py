"""Our copy of the courses the catalogue sells and of who studies them, from which plans are made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class OfferedCourse(Base):
    """The newest version of a course on sale. Its withdrawal may arrive before the course itself."""

    __tablename__ = "offered_courses"
    __table_args__ = (
        CheckConstraint(
            "course_version_id is null or (version is not null and code is not null and title is not null "
            "and institution_name is not null and subject_id is not null and subject_name is not null "
            "and credits is not null and level is not null and family is not null and weeks is not null)",
            name="known",
        ),
    )

    course_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_version_id: Mapped[UUID | None]
    version: Mapped[int | None]
    code: Mapped[str | None]
    title: Mapped[str | None]
    published_at: Mapped[datetime | None]
    """None where the release that stored this version did not keep it."""
    institution_name: Mapped[str | None]
    subject_id: Mapped[UUID | None]
    subject_name: Mapped[str | None]
    credits: Mapped[int | None]
    level: Mapped[int | None]
    family: Mapped[str | None]
    weeks: Mapped[int | None]
    withdrawn_at: Mapped[datetime | None]


class Price(Base):
    """The price of a course from an instant on."""

    __tablename__ = "prices"
    __table_args__ = (Index("ix_prices_course_id_valid_from", "course_id", "valid_from"),)

    price_id: Mapped[UUID] = mapped_column(primary_key=True)
    course_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    valid_from: Mapped[datetime]


class Enrolment(Base):
    """A learner's enrolment on a course. Its end, when it was cancelled or failed, may arrive before its beginning."""

    __tablename__ = "enrolments"
    __table_args__ = (
        Index(None, "learner_id"),
        Index("ix_enrolments_ended", "order_id", postgresql_where=text("end_reason in ('payment_lost', 'withdrawn')")),
    )

    enrolment_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    course_id: Mapped[UUID]
    activated_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    order_id: Mapped[UUID | None]
    """The order, of an enrolment that was cancelled."""
    end_reason: Mapped[str | None]
    """Why it was cancelled, in enrolment's words."""
    refund_by: Mapped[str | None]
    """Who granted the refund that ended it, where staff did."""
