"""The smallest service there is, for measuring what the messaging costs: one domain table and one event."""

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import MetaData, text
from sqlalchemy.orm import Mapped, mapped_column

from embedded.postgres import Postgres
from shared.database import Database, TableBase, new_metadata
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging.fast_path import FastInsert
from shared.messaging.outbox import OutboxNotifier
from shared.migrate import migrate


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Refund(Base):
    __tablename__ = "refunds"

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    amount_minor: Mapped[int]


class Effect(Base):
    __tablename__ = "effects"

    effect_id: Mapped[UUID] = mapped_column(primary_key=True)
    refund_id: Mapped[UUID]


TABLE = "create table refunds (refund_id uuid primary key, learner_id uuid not null, amount_minor integer not null)"
EFFECTS = "create table effects (effect_id uuid primary key, refund_id uuid not null)"


async def make_store(server: Postgres, folder: Path, name: str, pool_size: int = 5) -> Database:
    """A migrated database with the messaging tables and ours."""
    url = await server.create_role_and_database(name)
    versions = folder / "versions"
    versions.mkdir(exist_ok=True)
    await migrate(url, versions)
    store = Database(url, name, notifier=OutboxNotifier(), pool_size=2 * pool_size, messaging_pool_size=2 * pool_size)
    async with store.messaging.begin() as connection:
        await connection.execute(text(TABLE))
        await connection.execute(text(EFFECTS))
    return store


def row_of(event: RefundRequested) -> Refund:
    return Refund(refund_id=event.refund_id, learner_id=event.learner_id, amount_minor=event.amount_minor)


_ASK: Final = FastInsert(Refund)


async def ask_for_refund_fast(store: Database) -> RefundRequested:
    """As a fast-path command does it."""
    event = refund()
    await _ASK.run(store, [row_of(event)], [event])
    return event


def refund() -> RefundRequested:
    return RefundRequested(
        refund_id=new_id(),
        order_id=new_id(),
        learner_id=new_id(),
        amount_minor=49500,
        currency="GBP",
        reason_code="cooling_off",
        requested_at=datetime.now(UTC),
    )
