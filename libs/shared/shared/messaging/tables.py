"""The tables of messaging, e-mail, leases and jobs, which every service's own database has."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from shared.database import TableBase, new_metadata


class MessagingBase(TableBase):
    """The base of the tables that every service's own database has."""

    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Xid8(UserDefinedType[int]):
    """PostgreSQL's number of a transaction, which never comes again."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class Outgoing(MessagingBase):
    """An event this service has published. Sent rows stay: they are its event log, which its feed serves.

    The database adds `xid`, the transaction that wrote the row; the feed is ordered and fenced by it. The table is
    partitioned by year; keys and indexes are each partition's (`add_outbox_parts`), and the whole table has none.
    """

    __tablename__ = "outbox"
    __table_args__ = {"postgresql_partition_by": "range (created_at)"}  # noqa: RUF012 - SQLAlchemy's own attribute

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    id: Mapped[UUID]
    type: Mapped[str]
    partition_key: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_error: Mapped[str | None]
    xid: Mapped[int] = mapped_column(Xid8, server_default=func.pg_current_xact_id(), deferred=True)

    __mapper_args__ = {"eager_defaults": False, "primary_key": ["id"]}  # noqa: RUF012 - SQLAlchemy's own attribute


class Incoming(MessagingBase):
    """An event this service has handled; inserting its key is the claim by which exactly one delivery has an effect."""

    __tablename__ = "inbox"
    __table_args__ = (Index(None, "handled_at"),)

    source: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    body_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    subject: Mapped[str | None]
    """What the event is about, for a person who looks for what its source has lost; the previous release leaves it
    empty."""
    handled_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Retry(MessagingBase):
    """An event whose handler failed or raised RetryLater; it is tried again when due, and holds up no queue."""

    __tablename__ = "inbox_retry"
    __table_args__ = (Index(None, "due_at"),)

    source: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    attempt: Mapped[int]
    """How often its handler has failed, and one more while it is tried."""
    waits: Mapped[int] = mapped_column(server_default="0")
    """How often it waited for another event or for a lock."""
    first_failed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime]
    waiting: Mapped[bool] = mapped_column(server_default="false")
    """Whether its last try ended in such a wait."""
    last_error: Mapped[str]


class DeadLetter(MessagingBase):
    """A message that cannot be handled; it stays here until a person redrives it, edited if need be, or discards it."""

    __tablename__ = "parked_messages"
    __table_args__ = (
        CheckConstraint(
            "(resolved_at is null) = (resolution is null) and (resolved_at is null "
            "or (resolved_by is not null and resolution_reason is not null))",
            name="resolution",
        ),
        Index("ix_parked_messages_key", "source", "id"),
        Index("ix_parked_messages_open", "source", "id", postgresql_where=text("resolved_at is null")),
    )

    dead_letter_id: Mapped[UUID] = mapped_column("parked_id", primary_key=True)
    source: Mapped[str | None]
    id: Mapped[UUID | None]
    type: Mapped[str | None]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str]
    error: Mapped[str]
    dead_lettered_at: Mapped[datetime] = mapped_column("parked_at", server_default=func.now())
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]
    resolution_reason: Mapped[str | None]


class FeedPosition(MessagingBase):
    """How far this service has read a producer's event log."""

    __tablename__ = "feed_positions"

    source: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[str]
    types: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    """The types subscribed to then. A type subscribed to since has yet to be read from the beginning."""
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    """How often the next page was begun without being finished."""
    read_at: Mapped[datetime] = mapped_column(server_default=func.now())
    installation: Mapped[UUID | None]
    """The installation whose log it is: another installation's is not read."""


class FeedEpoch(MessagingBase):
    """An epoch of this database's event log: it lasts while the server runs and the database is moved to no other.

    The last row is the present epoch (see `shared.messaging.epochs`).
    """

    __tablename__ = "feed_epochs"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    epoch: Mapped[str] = mapped_column(unique=True)
    """The epoch's name, which the cursors given in it begin with."""
    system: Mapped[str]
    """The database cluster's identifier: within one cluster transaction ids are one order."""
    server: Mapped[str]
    """The cluster, its timeline, and when the server was started."""
    tables: Mapped[str | None]
    """The database's number and this table's file, both of which a restored dump has anew; the previous release leaves
    it empty."""
    since: Mapped[int] = mapped_column(BigInteger)
    """Up to this transaction id the event log is the same as in the epoch before."""
    mark: Mapped[int] = mapped_column(BigInteger)
    """The fence as it stood a minute ago at most: what was committed before it is in every later epoch, too."""
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Idempotency(MessagingBase):
    """The reply to a request that had an effect, stored with that effect, so that a repeat gets the same reply."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"),)

    caller: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    """The digest of the whole request, as the previous release writes it; now empty."""
    request_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Installation(MessagingBase):
    """The installation's id, whether history is lost, and whether there is a file store: one row, made by a migration,
    and the same in every copy."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("only_one", name="only_one"),)

    only_one: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    installation_id: Mapped[UUID]
    history_lost_at: Mapped[datetime | None]
    """Since when it is known that others have read events this database does not have; nothing is ended, removed or
    refused until a person has accepted that."""
    history_lost: Mapped[str | None]
    """How the loss was noticed, in words for an operator."""
    history_accepted_at: Mapped[datetime | None]
    lost_epochs: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """Epochs that are known, or were accepted, to be incomplete here."""
    compared_epoch: Mapped[str | None]
    """The epoch in which every other service was asked how far it has read this one's log."""
    store_claimed_at: Mapped[datetime | None]
    """Since when a file store is known to be this database's: another without an owner is not taken for a new one."""


class QueuedEmail(MessagingBase):
    """An e-mail to send, written in the transaction of the fact it is about; one for each `kind` and `about`.

    `text` is blank once it was sent.
    """

    __tablename__ = "letters"
    __table_args__ = (
        UniqueConstraint("kind", "about"),
        Index("ix_letters_due", "due_at", postgresql_where=text("sent_at is null and failed_at is null")),
        Index(
            "ix_letters_failed",
            "failed_at",
            postgresql_where=text("failed_at is not null and recipient <> ''"),
        ),
        Index("ix_letters_to_blank", text("coalesce(sent_at, failed_at)"), postgresql_where=text("recipient <> ''")),
    )

    email_id: Mapped[UUID] = mapped_column("letter_id", primary_key=True)
    kind: Mapped[str]
    about: Mapped[str]
    recipient: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    last_error: Mapped[str | None]


class Lease(MessagingBase):
    """Which process holds the lease on what one replica does at a time, and until when (see `shared.leases`)."""

    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[UUID]
    until: Mapped[datetime]


class SetAside(MessagingBase):
    """A row on which a job failed; the job skips it until it is due again, and a person can list it."""

    __tablename__ = "set_aside_rows"
    __table_args__ = (Index(None, "due_at"),)

    job: Mapped[str] = mapped_column(primary_key=True)
    row_key: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    first_failed_at: Mapped[datetime]
    failed_at: Mapped[datetime]
    due_at: Mapped[datetime]
    last_error: Mapped[str]
