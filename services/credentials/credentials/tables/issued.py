"""What is issued, and what it is issued with."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class StatusList(Base):
    """A published list of revocation bits; `document` is served as it is."""

    __tablename__ = "status_lists"

    number: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[bytes | None] = mapped_column(LargeBinary)
    revoked: Mapped[int] = mapped_column(server_default="0")
    """How many bits the document has set; where it differs from the badges, the list is out of date."""
    signed_at: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]


class Badge(Base):
    """A credential and its place in a status list. `document` is None until it is signed."""

    __tablename__ = "badges"

    badge_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    achievement_id: Mapped[UUID]
    credit_id: Mapped[UUID | None] = mapped_column(ForeignKey("credits.credit_id"))
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    subject: Mapped[str] = mapped_column(Text)
    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"))
    list_index: Mapped[int]
    awarded_at: Mapped[datetime]
    document: Mapped[dict[str, Any] | None]  # Any: JSON
    issued_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Transcript(Base):
    """One version of a learner's record; `sha256` is the hash of the document's canonical JSON."""

    __tablename__ = "transcripts"

    transcript_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    version: Mapped[int]
    document: Mapped[dict[str, Any]]  # Any: JSON
    content_sha256: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    as_at: Mapped[datetime]


class Eligibility(Base):
    """The titles a learner was last told they may claim, by level."""

    __tablename__ = "eligibilities"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    titles: Mapped[dict[str, Any]]  # Any: JSON, level -> [title]


class SigningKey(Base):
    """A key of the issuer. The private half is wrapped by a key outside the database. state: active, retired."""

    __tablename__ = "signing_keys"

    verification_method: Mapped[str] = mapped_column(Text, primary_key=True)
    did: Mapped[str] = mapped_column(Text)
    suite: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    wrapped_key: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
