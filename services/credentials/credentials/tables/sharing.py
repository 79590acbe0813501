"""Shares: what learners show, to whom, and who viewed it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Share(Base):
    """A consent: purpose, recipient, scope, expiry. `client_id` is the partner; a link has none.

    `secret_sha256` is the keyed digest (HMAC-SHA-256) of the link's token or the partner's code, which were shown once;
    `pin_hash` is argon2id's.
    """

    __tablename__ = "shares"
    __table_args__ = (
        CheckConstraint(
            "client_id is null or (pin_hash is null and most_views is null and locked_at is null)", name="link"
        ),
        CheckConstraint("most_views is null or views <= most_views", name="views"),
        Index(None, "client_id", postgresql_where=text("client_id is not null")),
        Index(
            "ix_shares_client_id_share_id", "client_id", "share_id", postgresql_where=text("redeemed_at is not null")
        ),
        Index("ix_shares_learner_id_share_id", "learner_id", "share_id"),
    )

    share_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    client_id: Mapped[str | None] = mapped_column(ForeignKey("partners.client_id"))
    recipient: Mapped[str]
    purpose: Mapped[str]
    scope: Mapped[dict[str, Any]]  # Any: JSON, see domain.sharing.Scope
    secret_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    pin_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    wrong_pins: Mapped[int] = mapped_column(server_default="0", default=0)
    locked_at: Mapped[datetime | None]
    most_views: Mapped[int | None]
    views: Mapped[int] = mapped_column(server_default="0", default=0)
    granted_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    redeemed_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]


class Viewing(Base):
    """A viewing of a shared record: when, and by whom, as far as we know them. Of strangers nothing is stored."""

    __tablename__ = "viewings"
    __table_args__ = (
        CheckConstraint("viewer in ('link', 'partner')", name="viewer"),
        Index("ix_viewings_share_id_viewing_id", "share_id", "viewing_id"),
    )

    viewing_id: Mapped[UUID] = mapped_column(primary_key=True)
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.share_id"))
    viewed_at: Mapped[datetime]
    viewer: Mapped[str]
    """link or partner."""
    sha256: Mapped[str]
    """The SHA-256 of what was shown."""
