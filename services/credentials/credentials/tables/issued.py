"""What is issued, and what it is issued with."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class StatusList(Base):
    """A published list of revocation bits; `document` is served as it is, and `token` as its copy."""

    __tablename__ = "status_lists"

    number: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[bytes | None] = mapped_column(LargeBinary)
    revoked: Mapped[int] = mapped_column(server_default="0")
    """How many bits the document has set; where it differs from the badges, the list is out of date."""
    token: Mapped[str | None] = mapped_column(Text)
    """The same list as a JSON Web Token."""
    signed_at: Mapped[datetime | None]
    signed_with: Mapped[str | None] = mapped_column(Text)
    """The verification method of the document's key, as is `token_signed_with` of the token's."""
    token_signed_with: Mapped[str | None] = mapped_column(Text)
    valid_until: Mapped[datetime | None]


class Badge(Base):
    """A credential in its present version, and that version's place in a status list.

    `document` is None until it is signed; `due` says why it is to be signed (anew): issue, correction, erasure,
    compromise. Credit given back after a revocation gets another badge: what was revoked stays so.
    """

    __tablename__ = "badges"

    badge_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    achievement_id: Mapped[UUID]
    credit_id: Mapped[UUID | None] = mapped_column(ForeignKey("credits.credit_id"))
    award_id: Mapped[UUID | None] = mapped_column(ForeignKey("awards.award_id"))
    subject: Mapped[str] = mapped_column(Text)
    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"))
    list_index: Mapped[int]
    version: Mapped[int] = mapped_column(server_default="1")
    """Counts the corrections: each takes another place, so that its predecessors can be revoked."""
    due: Mapped[str | None] = mapped_column(Text, server_default="issue")
    awarded_at: Mapped[datetime]
    document: Mapped[dict[str, Any] | None]  # Any: JSON
    token: Mapped[str | None] = mapped_column(Text)
    """The same credential as a JSON Web Token."""
    signed_with: Mapped[str | None] = mapped_column(Text)
    """The verification method of the document's key, as is `token_signed_with` of the token's."""
    token_signed_with: Mapped[str | None] = mapped_column(Text)
    issued_at: Mapped[datetime | None]
    """When the first version was signed; `signed_at` tells of the present one."""
    signed_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class BadgePlace(Base):
    """Every place a badge or a learner record ever had, never given again.

    Its bit is set when it is retired, or the badge revoked.
    """

    __tablename__ = "badge_places"

    list_number: Mapped[int] = mapped_column(ForeignKey("status_lists.number"), primary_key=True)
    list_index: Mapped[int] = mapped_column(primary_key=True)
    badge_id: Mapped[UUID | None]
    version: Mapped[int | None]
    edition_id: Mapped[UUID | None] = mapped_column(ForeignKey("editions.edition_id"))
    """Of a learner record: the transcript it was made of."""
    record_id: Mapped[UUID | None]
    """The document itself, or the share that a partner fetches by: each has a record, and a place, of its own."""
    inside_sha256: Mapped[str | None] = mapped_column(Text)
    """Of the badges inside; where it differs from them, the record is signed anew on another place."""
    retired_at: Mapped[datetime | None]


class Eligibility(Base):
    """The titles a learner was last told they may claim, by level."""

    __tablename__ = "eligibilities"

    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    titles: Mapped[dict[str, Any]]  # Any: JSON, level -> [title]
