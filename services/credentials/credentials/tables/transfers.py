"""Degree programmes elsewhere, and credit on its way into them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Programme(Base):
    """A copy of the catalogue's latest map of a partner's programme: which course version counts as which module."""

    __tablename__ = "programmes"

    programme_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    client_id: Mapped[str]
    institution: Mapped[str]
    code: Mapped[str]
    title: Mapped[str]
    ceiling_credits: Mapped[int]
    modules: Mapped[dict[str, Any]]  # Any: JSON, {"items": [...]} as in the event
    published_at: Mapped[datetime]


class Transfer(Base):
    """A learner's request that a partner take their credit into a programme. `state` is a
    domain.transfers.TransferState."""

    __tablename__ = "transfers"
    __table_args__ = (
        Index(
            "uq_transfers_learner_id_programme_id",
            "learner_id",
            "programme_id",
            unique=True,
            postgresql_where=text("state = 'requested'"),
        ),
        CheckConstraint(
            "(state in ('accepted', 'completed', 'returned')) = (accepted_until is not null)", name="accepted"
        ),
        CheckConstraint(
            "state in ('requested', 'accepted', 'refused', 'completed', 'returned', 'withdrawn', 'lapsed')",
            name="state",
        ),
        Index("ix_transfers_client_id_transfer_id", "client_id", "transfer_id"),
        Index("ix_transfers_learner_id_transfer_id", "learner_id", "transfer_id"),
        Index("ix_transfers_open", "decide_by", postgresql_where=text("state in ('requested', 'accepted')")),
    )

    transfer_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    client_id: Mapped[str] = mapped_column(ForeignKey("partners.client_id"))
    programme_id: Mapped[UUID] = mapped_column(ForeignKey("programmes.programme_id"))
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.share_id"), unique=True)
    state: Mapped[str]
    requested_at: Mapped[datetime]
    decide_by: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    accepted_until: Mapped[datetime | None]
    """When the acceptance lapses and the credit comes back, unless the degree is conferred before."""
    closed_at: Mapped[datetime | None]
    closed_reason: Mapped[str | None]


class TransferLine(Base):
    """One credit of a request, and the partner's decision on it. `state` is a domain.transfers.LineState."""

    __tablename__ = "transfer_lines"
    __table_args__ = (
        Index(
            "uq_transfer_lines_credit_id",
            "credit_id",
            unique=True,
            postgresql_where=text("state in ('committed', 'consumed')"),
        ),
        CheckConstraint("(outcome is null) = (reason_code is null)", name="decided"),
        CheckConstraint("outcome in ('accept', 'partial', 'refuse')", name="outcome"),
        CheckConstraint(
            "state in ('requested', 'committed', 'refused', 'consumed', 'returned', 'ended')", name="state"
        ),
    )

    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.transfer_id"), primary_key=True)
    credit_id: Mapped[UUID] = mapped_column(ForeignKey("credits.credit_id"), primary_key=True)
    state: Mapped[str]
    outcome: Mapped[str | None]
    """accept, partial or refuse."""
    credits_recognised: Mapped[int | None]
    module_code: Mapped[str | None]
    reason_code: Mapped[str | None]
    reason: Mapped[str | None]
