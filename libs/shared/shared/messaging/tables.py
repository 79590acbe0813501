"""The messaging tables that stand in every service's own database."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Identity, LargeBinary, MetaData, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class MessagingBase(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Outgoing(MessagingBase):
    """An event of ours. Rows stay after they are sent: they are the service's event log, which its feed serves.

    The database adds `xid`, the transaction that wrote the row; the feed is ordered and fenced by it.
    """

    __tablename__ = "outbox"
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012 - SQLAlchemy's own attribute

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[UUID]
    type: Mapped[str] = mapped_column(Text)
    partition_key: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_error: Mapped[str | None] = mapped_column(Text)


class Incoming(MessagingBase):
    """An event we have handled; its key is the claim that lets exactly one delivery have an effect."""

    __tablename__ = "inbox"

    source: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    body_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    handled_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Retry(MessagingBase):
    """An event whose handler failed or could not go on yet; it is tried again when due, without holding the queue."""

    __tablename__ = "inbox_retry"

    source: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    attempt: Mapped[int]
    """How often it has failed, and one more while it is tried."""
    waits: Mapped[int] = mapped_column(server_default="0")
    """How often it could not go on yet."""
    first_failed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime]
    waiting: Mapped[bool] = mapped_column(server_default="false")
    """Whether it could not go on yet when it was tried last."""
    last_error: Mapped[str] = mapped_column(Text)


class Parked(MessagingBase):
    """A message that cannot be handled; it waits here until a person mends and redrives or discards it."""

    __tablename__ = "parked_messages"

    parked_id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str | None] = mapped_column(Text)
    id: Mapped[UUID | None]
    type: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
    parked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None] = mapped_column(Text)
    resolved_by: Mapped[str | None] = mapped_column(Text)
    resolution_reason: Mapped[str | None] = mapped_column(Text)


class FeedPosition(MessagingBase):
    """How far we have read a producer's event log."""

    __tablename__ = "feed_positions"

    source: Mapped[str] = mapped_column(Text, primary_key=True)
    cursor: Mapped[str] = mapped_column(Text)
    types: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    """What was heard then. A type heard since has yet to be read from the beginning."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often the next page was begun without being finished."""
    read_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FeedEpoch(MessagingBase):
    """One history of this database, as long as its server runs and it is moved to no other; the last one is the present
    (see `shared.messaging.epochs`)."""

    __tablename__ = "feed_epochs"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    epoch: Mapped[str] = mapped_column(Text)
    """Stands in the cursors that were given in it."""
    system: Mapped[str] = mapped_column(Text)
    """The cluster: its transaction ids are one order."""
    server: Mapped[str] = mapped_column(Text)
    """The cluster, its timeline, and when the server was started."""
    since: Mapped[int] = mapped_column(BigInteger)
    """Events of transactions before this one stand in the epoch before it just so."""
    mark: Mapped[int] = mapped_column(BigInteger)
    """The fence as it stood lately: what was committed before it is in every later history, too."""
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Idempotency(MessagingBase):
    """The reply to a request that had an effect, stored with that effect, so that a repeat gets the same reply."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    operation: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    """Of the request as it came, written by the previous release; now empty."""
    request_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Installation(MessagingBase):
    """Which installation this database is: one row, made by its migration; a restored copy has the same."""

    __tablename__ = "installation"

    only_one: Mapped[bool] = mapped_column(primary_key=True)
    installation_id: Mapped[UUID]


class Letter(MessagingBase):
    """An e-mail to send, written with the fact it tells of; `kind` and `about` make it one letter per fact."""

    __tablename__ = "letters"

    letter_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)


class SetAside(MessagingBase):
    """A row on which a job failed; the job leaves it alone until it is due again, and a person sees it here."""

    __tablename__ = "set_aside_rows"

    job: Mapped[str] = mapped_column(Text, primary_key=True)
    row_key: Mapped[str] = mapped_column(Text, primary_key=True)
    failures: Mapped[int]
    first_failed_at: Mapped[datetime]
    failed_at: Mapped[datetime]
    due_at: Mapped[datetime]
    last_error: Mapped[str] = mapped_column(Text)
