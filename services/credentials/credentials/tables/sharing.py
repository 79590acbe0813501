"""What learners show, to whom, and who looked."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Share(Base):
    """A consent: purpose, recipient, scope, expiry. `client_id` is the partner; a link has none.

    `secret_sha256` is of the link's token or the partner's code, which were shown once.
    """

    __tablename__ = "shares"

    share_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    client_id: Mapped[str | None] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(Text)
    scope: Mapped[dict[str, Any]]  # Any: JSON, see domain.sharing.Scope
    secret_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
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
    """That the record was seen: when, and by whom, as far as we know them. Of strangers nothing is kept."""

    __tablename__ = "viewings"

    viewing_id: Mapped[UUID] = mapped_column(primary_key=True)
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.share_id"))
    viewed_at: Mapped[datetime]
    viewer: Mapped[str] = mapped_column(Text)
    """link or partner."""
    sha256: Mapped[str] = mapped_column(Text)
    """Of what was shown."""
