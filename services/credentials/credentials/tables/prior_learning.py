"""Applications to have credit from elsewhere recognised, and their evidence."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class PriorLearning(Base):
    """An application and its decision. `state` is a domain.prior_learning.PriorLearningState."""

    __tablename__ = "recognitions"
    __table_args__ = (
        CheckConstraint("credits_claimed > 0", name="credits"),
        CheckConstraint(
            "(state in ('recognised', 'refused', 'revoked')) = (decided_at is not null "
            "and decided_by is not null and reason_code is not null)",
            name="decided",
        ),
        CheckConstraint(
            "state in ('draft', 'submitted', 'recognised', 'refused', 'withdrawn', 'revoked')", name="state"
        ),
        Index("ix_recognitions_learner_id_recognition_id", "learner_id", "recognition_id"),
        Index("ix_recognitions_state_recognition_id", "state", "recognition_id"),
        Index("ix_recognitions_submitted", "recognition_id", postgresql_where=text("state = 'submitted'")),
    )

    recognition_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    institution: Mapped[str]
    title: Mapped[str]
    credits_claimed: Mapped[int]
    level_claimed: Mapped[int]
    completed_on: Mapped[date]
    statement: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    reason_code: Mapped[str | None]
    reason: Mapped[str | None]
    revoked_at: Mapped[datetime | None]


class Evidence(Base):
    """A file that came with an application; it lies in the object store under a random key."""

    __tablename__ = "evidence"
    __table_args__ = (UniqueConstraint("recognition_id", "sha256"),)

    evidence_id: Mapped[UUID] = mapped_column(primary_key=True)
    recognition_id: Mapped[UUID] = mapped_column(ForeignKey("recognitions.recognition_id"))
    learner_id: Mapped[UUID]
    filename: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(unique=True)
    received_at: Mapped[datetime]
