"""Applications to have credit from elsewhere recognised, and their evidence."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Recognition(Base):
    """An application and its decision. State: see domain.recognition.State."""

    __tablename__ = "recognitions"

    recognition_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    institution: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    credits_claimed: Mapped[int]
    level_claimed: Mapped[int]
    completed_on: Mapped[date]
    statement: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    revoked_at: Mapped[datetime | None]


class Evidence(Base):
    """A file that came with an application; it lies in the object store under a random key."""

    __tablename__ = "evidence"

    evidence_id: Mapped[UUID] = mapped_column(primary_key=True)
    recognition_id: Mapped[UUID] = mapped_column(ForeignKey("recognitions.recognition_id"))
    learner_id: Mapped[UUID]
    filename: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(Text)
    storage_key: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
