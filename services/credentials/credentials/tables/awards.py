"""Awards and the credit they stand on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base
from shared.ids import new_id


class Award(Base):
    """Claimed, then conferred or not; once conferred it may be superseded or rescinded. `mean` is an exact fraction."""

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
    ended_at: Mapped[datetime | None]
    """When it lapsed, was withdrawn, refused or rescinded."""
    ended_by: Mapped[UUID | None]
    """The person who did, where one did."""
    end_reason: Mapped[str | None] = mapped_column(Text)
    under_review_since: Mapped[datetime | None]
    """Credit it stands on was revoked; a person decides what follows."""


class Allocation(Base):
    """Which credit an award stands on. The database lets a credit stand under one live award a level.

    Credit accepted for a degree elsewhere takes up every level: such rows have a transfer and no award.
    """

    __tablename__ = "allocations"

    allocation_id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.transfer_id"))
    credit_id: Mapped[UUID] = mapped_column(ForeignKey("credits.credit_id"))
    level: Mapped[str] = mapped_column(Text)
    live: Mapped[bool]


class AwardReview(Base):
    """A conferred award that lost credit, and what a person decided about it: one open review an award.

    `outcome` tells what changed: credit added and removed, titles offered, awards given back.
    """

    __tablename__ = "award_reviews"

    review_id: Mapped[UUID] = mapped_column(primary_key=True)
    award_id: Mapped[UUID] = mapped_column(ForeignKey("awards.award_id"))
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decision: Mapped[str | None] = mapped_column(Text)
    reason_code: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[UUID | None]
    outcome: Mapped[dict[str, Any] | None]  # Any: JSON


class Notice(Base):
    """A letter to a learner that waits until their address is known here."""

    __tablename__ = "notices"

    notice_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
