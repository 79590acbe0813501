"""Store what others announced. Each fact is stored once, whatever is delivered twice; what follows is derived."""

from uuid import UUID

from sqlalchemy import inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.commands.standing import derive
from shared.database import take_turns


async def keep(session: AsyncSession, fact: tables.Base) -> bool:
    """Insert a fact unless it is there; whether it was new."""
    table = type(fact)
    values = {column.key: getattr(fact, column.key) for column in table.__table__.columns}
    key = inspect(table).primary_key
    statement = insert(table).values(values).on_conflict_do_nothing().returning(*key)
    return (await session.execute(statement)).first() is not None


async def keep_and_derive(session: AsyncSession, learner_id: UUID, fact: tables.Base) -> None:
    """Insert a fact about a learner and draw the conclusions, one learner at a time."""
    await take_turns(session, "learner", learner_id)
    if await keep(session, fact):
        await derive(session, learner_id)
