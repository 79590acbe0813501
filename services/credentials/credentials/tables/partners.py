"""Partners, their webhook endpoints, and the deliveries to them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Partner(Base):
    """A copy of what the gateway knows of a partner; `client_id` stands in its tokens."""

    __tablename__ = "partners"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    registered_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class WebhookEndpoint(Base):
    """An address of a partner. `failing_since` is when deliveries to it began to fail without one succeeding since."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("(disabled_at is null) = (disabled_reason is null)", name="disabled"),
        Index(None, "client_id"),
    )

    endpoint_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("partners.client_id"))
    url: Mapped[str]
    contact_email: Mapped[str]
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    removed_at: Mapped[datetime | None]


class WebhookSecret(Base):
    """A signing secret, wrapped by a key outside the database. While two live, each delivery has two signatures."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (Index(None, "endpoint_id"),)

    secret_id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.endpoint_id"))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class WebhookDelivery(Base):
    """One message to one address. `payload` is sent as it is, at each try under the same id."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        CheckConstraint("(state = 'pending') = (settled_at is null)", name="settled"),
        CheckConstraint("state in ('pending', 'delivered', 'failed')", name="state"),
        Index(None, "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_webhook_deliveries_endpoint_id", "endpoint_id", "delivery_id"),
        Index(
            "ix_webhook_deliveries_pending",
            "endpoint_id",
            "due_at",
            "delivery_id",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_webhook_deliveries_state", "endpoint_id", "state", "delivery_id"),
    )

    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.endpoint_id"))
    event_id: Mapped[UUID]
    """The event it is about; an endpoint is notified of each event once."""
    type: Mapped[str]
    payload: Mapped[str]
    state: Mapped[str]
    """pending, delivered or failed."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(server_default="0", default=0)
    """Tries since it was ordered or replayed."""
    settled_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One try of a delivery, with the beginning of the answer."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (Index(None, "delivery_id"),)

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_deliveries.delivery_id"))
    attempted_at: Mapped[datetime]
    milliseconds: Mapped[int]
    status: Mapped[int | None]
    response: Mapped[str]
    error: Mapped[str | None]


class WebhookPosition(Base):
    """The cursor up to which our own event log has been turned into deliveries, in one row."""

    __tablename__ = "webhook_positions"

    name: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[str]
