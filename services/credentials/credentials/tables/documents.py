"""Documents made out to a learner, their editions, and the files in which those were handed out."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class Document(Base):
    """One learner's transcript, the certificate of a credit, or the parchment of an award.

    `number` never changes: it stands on every edition, and in the address at which they are checked.
    """

    __tablename__ = "documents"
    __table_args__ = (
        Index("uq_documents_transcript", "learner_id", unique=True, postgresql_where=text("kind = 'transcript'")),
        CheckConstraint(
            "(kind = 'certificate') = (credit_id is not null) and (kind = 'parchment') = (award_id is not null)",
            name="about",
        ),
        CheckConstraint("kind in ('transcript', 'certificate', 'parchment')", name="kind"),
        Index(None, "learner_id"),
    )

    document_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    learner_id: Mapped[UUID]
    credit_id: Mapped[UUID | None] = mapped_column(ForeignKey("credits.credit_id"), unique=True)
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"), unique=True)
    wrong_comparisons: Mapped[int] = mapped_column(server_default="0", default=0)
    """Comparisons since `compared_since` with a name or class that is not on it."""
    wrong_by_client: Mapped[dict[str, int]] = mapped_column(JSONB, server_default="{}", default=dict)
    """Those, by client and by what was compared. Clients go by two bytes of a digest, which name nobody."""
    compared_since: Mapped[datetime | None]


class Edition(Base):
    """What a document said from `as_at` until the next edition. Only the newest one stands.

    `content` is None once the learner is anonymised, since it names them. `sha256` is the hash of the content together
    with its version and instant; `content_sha256` shows the release before whether there is anything new to say. Both
    include the nonce inside the content, which is erased with it; `has_nonce` stays. Without a nonce the hashes can be
    guessed from what the edition says.
    """

    __tablename__ = "editions"
    __table_args__ = (
        UniqueConstraint("document_id", "version"),
        CheckConstraint("version > 0", name="version"),
        Index(None, "sha256"),
    )

    edition_id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.document_id"))
    version: Mapped[int]
    as_at: Mapped[datetime]
    content: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))  # Any: JSON
    content_sha256: Mapped[str]
    sha256: Mapped[str]
    clr: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))  # Any: JSON
    """The transcript as a signed Comprehensive Learner Record, once somebody asked for it."""
    signed_at: Mapped[datetime | None]
    has_nonce: Mapped[bool] = mapped_column(server_default="true", default=True)


class Printing(Base):
    """A file in which an edition was handed out. Another release may set the same edition in other bytes."""

    __tablename__ = "printings"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    edition_id: Mapped[UUID] = mapped_column(ForeignKey("editions.edition_id"))
    printed_at: Mapped[datetime]
