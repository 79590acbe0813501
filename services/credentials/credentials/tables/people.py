"""Learners: a copy of enrolment's directory, kept apart from what they earned so that it can be erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Learner(Base):
    """A registered learner, and which versions of name and address are in use; `people` holds the name and address."""

    __tablename__ = "learners"
    __table_args__ = (Index("ix_learners_unread", "learner_id", postgresql_where=text("unread")),)

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    name_version: Mapped[int]
    contact_version: Mapped[int] = mapped_column(server_default="1")
    unread: Mapped[bool] = mapped_column(server_default="true")
    """Whether `people` holds an older version, or nothing."""
    registered_at: Mapped[datetime]
    anonymised_at: Mapped[datetime | None]


class Person(Base):
    """A learner's entry in the directory as at `read_at`; no row until it was read, nor once the learner is
    anonymised."""

    __tablename__ = "people"
    __table_args__ = (
        Index("ix_people_untold", "learner_id", postgresql_where=text("told_version is distinct from contact_version")),
    )

    learner_id: Mapped[UUID] = mapped_column(ForeignKey("learners.learner_id"), primary_key=True)
    name_version: Mapped[int]
    contact_version: Mapped[int]
    legal_name: Mapped[str]
    """The name as documents bear it: given and family name, or as the person wants it written, in any script and
    order."""
    display_name: Mapped[str]
    email: Mapped[str]
    email_confirmed: Mapped[bool] = mapped_column(server_default="false")
    confirmation_version: Mapped[int | None] = mapped_column("told_version", key="confirmation_version")
    """The contact version that `email_confirmed` is about; it says nothing of another one."""
    read_at: Mapped[datetime]
