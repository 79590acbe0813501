"""The issuer's keys, what became of them, and what they signed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class SigningKey(Base):
    """A key of the issuer. The private half is wrapped by a key outside the database."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        Index(
            "uq_signing_keys_did_suite",
            "did",
            "suite",
            "state",
            unique=True,
            postgresql_where=text("state in ('next', 'active')"),
        ),
        CheckConstraint("state in ('next', 'active', 'retired', 'compromised')", name="state"),
    )

    verification_method: Mapped[str] = mapped_column(primary_key=True)
    did: Mapped[str]
    suite: Mapped[str]
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str]
    created_at: Mapped[datetime]
    """The instant from which on it was published."""
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    compromised_at: Mapped[datetime | None]


class KeyEvent(Base):
    """An entry of the keys' log, which is only appended to: who brought a key into a state, and why."""

    __tablename__ = "key_events"
    __table_args__ = (Index(None, "verification_method"),)

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    verification_method: Mapped[str]
    state: Mapped[str]
    by: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]


class Signature(Base):
    """A signature we made, in a log that is only appended to. One that is not here was made by somebody else."""

    __tablename__ = "signatures"
    __table_args__ = (Index(None, "credential_id"),)

    signature_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """The SHA-256 of the signature as text (proofValue, or the last part of a token)."""
    verification_method: Mapped[str]
    credential_id: Mapped[str]
    signed_at: Mapped[datetime]
