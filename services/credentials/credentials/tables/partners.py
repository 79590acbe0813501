"""Partners, and where they want to be told."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Partner(Base):
    """A copy of what the gateway knows of a partner; `client_id` stands in its tokens."""

    __tablename__ = "partners"

    client_id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]]
    registered_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class WebhookEndpoint(Base):
    """An address of a partner. `failing_since` is when a delivery last began to fail without one succeeding since."""

    __tablename__ = "webhook_endpoints"

    endpoint_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    contact_email: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    removed_at: Mapped[datetime | None]


class WebhookSecret(Base):
    """A signing secret, wrapped by a key outside the database. While two live, each delivery has two signatures."""

    __tablename__ = "webhook_secrets"

    secret_id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.endpoint_id"))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class WebhookDelivery(Base):
    """One message to one address. `payload` is sent as it is, at each try under the same id."""

    __tablename__ = "webhook_deliveries"

    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.endpoint_id"))
    event_id: Mapped[UUID]
    """The event it tells of: each is told once to an address."""
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    """pending, delivered or failed."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(server_default="0", default=0)
    """Since it was ordered or replayed."""
    settled_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One try, with the beginning of the answer."""

    __tablename__ = "webhook_attempts"

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_deliveries.delivery_id"))
    attempted_at: Mapped[datetime]
    milliseconds: Mapped[int]
    status: Mapped[int | None]
    response: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)


class WebhookPosition(Base):
    """How far our own event log has been turned into deliveries. One row."""

    __tablename__ = "webhook_positions"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    cursor: Mapped[str] = mapped_column(Text)
