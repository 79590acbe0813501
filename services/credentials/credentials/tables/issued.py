"""Badges, status lists and status entries, and the titles announced as on offer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class StatusList(Base):
    """A published list of revocation bits. `document` is served as it is stored, and so is `token`, the same list as a
    token."""

    __tablename__ = "status_lists"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[bytes | None] = mapped_column(LargeBinary)
    revoked: Mapped[int] = mapped_column(server_default="0")
    """How many bits the document has set; where that differs from the bits to be set, the list is out of date."""
    token: Mapped[str | None]
    """The same list as a JSON Web Token."""
    signed_at: Mapped[datetime | None]
    signed_with: Mapped[str | None]
    """The verification method of the document's key, as is `token_signed_with` of the token's."""
    token_signed_with: Mapped[str | None]
    valid_until: Mapped[datetime | None]


class Badge(Base):
    """A badge in its present version, with that version's status entry.

    `document` is None until it is signed; `due` says why it is to be signed (anew): issue, correction, erasure,
    compromise, clock. Credit given back after a revocation gets another badge: what was revoked stays revoked.
    """

    __tablename__ = "badges"
    __table_args__ = (
        UniqueConstraint("list_number", "list_index"),
        Index("uq_badges_live_award_id", "award_id", unique=True, postgresql_where=text("revoked_at is null")),
        Index("uq_badges_live_credit_id", "credit_id", unique=True, postgresql_where=text("revoked_at is null")),
        CheckConstraint("due in ('issue', 'correction', 'erasure', 'compromise', 'clock')", name="due"),
        CheckConstraint("(document is null) = (issued_at is null)", name="issued"),
        CheckConstraint("(credit_id is null) <> (award_id is null)", name="of"),
        Index(None, "credit_id"),
        Index("ix_badges_due", "badge_id", postgresql_where=text("due is not null")),
        Index(None, "learner_id"),
        Index("ix_badges_revoked", "list_number", postgresql_where=text("revoked_at is not null")),
        Index(None, "signed_at"),
        Index(None, "signed_with"),
        Index(None, "token_signed_with"),
        Index("ix_badges_unsigned", "badge_id", postgresql_where=text("document is null and revoked_at is null")),
    )

    badge_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    achievement_id: Mapped[UUID]
    credit_id: Mapped[UUID | None] = mapped_column(ForeignKey("credits.credit_id"))
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    subject: Mapped[str]
    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"))
    list_index: Mapped[int]
    version: Mapped[int] = mapped_column(server_default="1")
    """The number of corrections and one; each has a status entry of its own, so that earlier versions can be
    revoked."""
    due: Mapped[str | None] = mapped_column(server_default="issue")
    awarded_at: Mapped[datetime]
    document: Mapped[dict[str, Any] | None]  # Any: JSON
    token: Mapped[str | None]
    """The same credential as a JSON Web Token."""
    signed_with: Mapped[str | None]
    """The verification method of the document's key, as is `token_signed_with` of the token's."""
    token_signed_with: Mapped[str | None]
    issued_at: Mapped[datetime | None]
    """When the first version was signed; `signed_at` is when the present one was."""
    signed_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AssignedStatusEntry(Base):
    """A status entry that a badge or a learner record has or had; it is never given again.

    Its bit is set when it is retired, or the badge revoked.
    """

    __tablename__ = "badge_places"
    __table_args__ = (
        UniqueConstraint("badge_id", "version"),
        Index(
            "uq_badge_places_live_record",
            "edition_id",
            "record_id",
            unique=True,
            postgresql_where=text("retired_at is null"),
        ),
        CheckConstraint(
            "(badge_id is null) = (version is null) and (badge_id is null) = (edition_id is not null) "
            "and (edition_id is null) = (record_id is null) "
            "and (edition_id is null) = (inside_sha256 is null)",
            name="of",
        ),
        Index("ix_badge_places_retired", "list_number", postgresql_where=text("retired_at is not null")),
    )

    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"), primary_key=True)
    list_index: Mapped[int] = mapped_column(primary_key=True)
    badge_id: Mapped[UUID | None]
    version: Mapped[int | None]
    edition_id: Mapped[UUID | None] = mapped_column(ForeignKey("editions.edition_id"))
    """The edition of the transcript that a learner record was made of."""
    record_id: Mapped[UUID | None]
    """The document itself, or the share that a partner fetches by: each has a record, and a status entry, of its
    own."""
    inside_sha256: Mapped[str | None]
    """The hash of the badges inside; where they changed, the record is signed anew with another status entry."""
    retired_at: Mapped[datetime | None]


class Eligibility(Base):
    """The titles last announced as open to a learner, by level."""

    __tablename__ = "eligibilities"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    titles: Mapped[dict[str, Any]]  # Any: JSON, level -> [title]
