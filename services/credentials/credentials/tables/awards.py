"""Awards and the credit they stand on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base
from shared.ids import new_id


class Award(Base):
    """An award: claimed, then conferred or not; a conferred one may be superseded or rescinded. `mean` is an exact
    fraction."""

    __tablename__ = "awards"
    __table_args__ = (
        CheckConstraint(
            "(state in ('conferred', 'superseded', 'rescinded')) = (conferred_at is not null "
            "and certificate_number is not null)",
            name="conferred",
        ),
        CheckConstraint(
            "state in ('claimed', 'lapsed', 'withdrawn', 'refused', 'conferred', 'superseded', 'rescinded')",
            name="state",
        ),
        CheckConstraint("(state = 'superseded') = (superseded_by is not null)", name="superseded"),
        Index("ix_awards_learner_id_award_id", "learner_id", "award_id"),
        Index(None, "reserved_until", postgresql_where=text("state = 'claimed'")),
        Index("ix_awards_state_award_id", "state", "award_id"),
        Index("ix_awards_to_look_at", "award_id", postgresql_where=text("not looked_at")),
    )

    award_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    level: Mapped[str]
    title: Mapped[str]
    rule: Mapped[str]
    reason: Mapped[str]
    regulations_version: Mapped[str]
    credits: Mapped[int]
    mean: Mapped[str | None]
    mark: Mapped[int | None]
    classification: Mapped[str]
    state: Mapped[str]
    claimed_at: Mapped[datetime]
    reserved_until: Mapped[datetime]
    conferred_at: Mapped[datetime | None]
    conferred_by: Mapped[str | None]
    certificate_number: Mapped[str | None] = mapped_column(unique=True)
    superseded_by: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    superseded_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    """When it lapsed, was withdrawn, refused or rescinded."""
    ended_by: Mapped[UUID | None]
    """The person who refused or rescinded it."""
    end_reason: Mapped[str | None]
    under_review_since: Mapped[datetime | None]
    """Since when credit it stands on is revoked or held, and a person is to decide what follows."""
    looked_at: Mapped[bool] = mapped_column(server_default=false())
    """Whether its credit was checked since awards that share credit are reviewed."""


class Allocation(Base):
    """A credit that an award stands on. The database lets a credit stand under one live award a level.

    Credit accepted for a degree elsewhere takes up every level: such rows have a transfer and no award.
    """

    __tablename__ = "allocations"
    __table_args__ = (
        Index("uq_allocations_award_id_credit_id", "award_id", "credit_id", unique=True),
        Index("uq_allocations_credit_id_level", "credit_id", "level", unique=True, postgresql_where=text("live")),
        CheckConstraint("(award_id is null) <> (transfer_id is null)", name="of"),
        Index(None, "transfer_id", postgresql_where=text("transfer_id is not null")),
    )

    allocation_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid(), default=new_id)
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.transfer_id"))
    credit_id: Mapped[UUID] = mapped_column(ForeignKey("credits.credit_id"))
    level: Mapped[str]
    live: Mapped[bool]


class AwardReview(Base):
    """A review of a conferred award that lost credit, and what a person decided. An award has one open review at most.

    `outcome` is what changed: credit added and removed, titles offered, awards given back.
    """

    __tablename__ = "award_reviews"
    __table_args__ = (
        Index("uq_award_reviews_award_id", "award_id", unique=True, postgresql_where=text("decided_at is null")),
        CheckConstraint(
            "(decided_at is null) = (decision is null) and (decided_at is null) = (reason_code is null) "
            "and (decision is null or decision = 'credit_reinstated' or decided_by is not null)",
            name="decided",
        ),
        CheckConstraint(
            "decision in ('substitute', 'rescind', 'rescind_and_offer', 'supersede', 'credit_reinstated')",
            name="decision",
        ),
        Index("ix_award_reviews_learner_id_review_id", "learner_id", "review_id"),
        Index("ix_award_reviews_waiting", "review_id", postgresql_where=text("decided_at is null")),
    )

    review_id: Mapped[UUID] = mapped_column(primary_key=True)
    award_id: Mapped[UUID] = mapped_column(ForeignKey("awards.award_id"))
    learner_id: Mapped[UUID]
    opened_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decision: Mapped[str | None]
    reason_code: Mapped[str | None]
    decided_by: Mapped[UUID | None]
    outcome: Mapped[dict[str, Any] | None]  # Any: JSON


class CreditHold(Base):
    """A hold on credit whose money went back: it counts for nothing new until staff let it stand, or the money is there
    again."""

    __tablename__ = "credit_holds"
    __table_args__ = (
        Index("ix_credit_holds_ended", "credit_id", postgresql_where=text("released_at is not null")),
        Index(None, "learner_id"),
        Index("ix_credit_holds_open", "credit_id", postgresql_where=text("released_at is null")),
    )

    credit_id: Mapped[UUID] = mapped_column(ForeignKey("credits.credit_id"), primary_key=True)
    learner_id: Mapped[UUID]
    reason_code: Mapped[str]
    """refunded or payment_lost."""
    held_at: Mapped[datetime]
    refund_by: Mapped[str | None]
    """Who gave the money back, where staff did: somebody else decides what follows."""
    released_at: Mapped[datetime | None]
    released_by: Mapped[str | None]
    """The person who let it stand; None where the money is there again."""
    release_reason: Mapped[str | None]


class PendingEmail(Base):
    """An e-mail to a learner that waits until their address is known here."""

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("kind", "about"), Index(None, "learner_id"))

    pending_email_id: Mapped[UUID] = mapped_column("notice_id", primary_key=True)
    learner_id: Mapped[UUID]
    kind: Mapped[str]
    about: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    created_at: Mapped[datetime]
