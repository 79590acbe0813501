"""Who the learners are: a copy of enrolment's register, kept apart from what they earned so that it can be erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Learner(Base):
    """A registered learner, and which versions of name and address are in use; what those are, `people` holds."""

    __tablename__ = "learners"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    name_version: Mapped[int]
    contact_version: Mapped[int] = mapped_column(server_default="1")
    unread: Mapped[bool] = mapped_column(server_default="true")
    """What `people` holds is older than that, or nothing."""
    registered_at: Mapped[datetime]
    anonymised_at: Mapped[datetime | None]


class Person(Base):
    """Read from the register as at `read_at`; none until it was read, none once the learner is anonymised."""

    __tablename__ = "people"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    name_version: Mapped[int]
    contact_version: Mapped[int]
    legal_name: Mapped[str] = mapped_column(Text)
    """As documents bear it: given and family name, or as the person wants it written, in any script and order."""
    display_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    email_confirmed: Mapped[bool] = mapped_column(server_default="false")
    told_version: Mapped[int | None]
    """The contact version of which `email_confirmed` was told; of another one it says nothing."""
    read_at: Mapped[datetime]
