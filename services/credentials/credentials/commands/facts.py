"""Store what others announced. Each fact is stored once, whatever is delivered twice; what follows is derived."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import tables
from credentials.commands.standing import derive
from credentials.queries import Record
from shared.database import take_turns


async def keep(session: AsyncSession, fact: tables.Base) -> bool:
    """Insert a fact unless it is there; whether it was new."""
    table = type(fact)
    key = inspect(table).primary_key
    statement = insert(table).values(_values(fact)).on_conflict_do_nothing().returning(*key)
    return (await session.execute(statement)).first() is not None


async def keep_latest_result(session: AsyncSession, result: tables.Result) -> None:
    """The result released last stands, whichever arrives last."""
    statement = insert(tables.Result).values(_values(result))
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[tables.Result.submission_id],
            set_={name: statement.excluded[name] for name in ("mark", "passed", "released_at")},
            where=tables.Result.released_at < statement.excluded.released_at,
        )
    )


async def keep_payment(session: AsyncSession, payment: tables.Payment) -> None:
    """Add what is known of an order's money; the latest instant of each kind stands."""
    statement = insert(tables.Payment).values(_values(payment))
    latest = {
        # greatest() passes over null: what one event does not tell, the other one did
        name: func.greatest(column, statement.excluded[name])
        for name, column in (
            ("reversed_at", tables.Payment.reversed_at),
            ("settled_at", tables.Payment.settled_at),
        )
    }
    await session.execute(statement.on_conflict_do_update(index_elements=[tables.Payment.order_id], set_=latest))


async def keep_span(session: AsyncSession, span: tables.Dispute | tables.MisconductCase) -> None:
    """Add what is known of something that begins and ends; either may be heard first."""
    table = type(span)
    statement = insert(table).values(_values(span))
    known = {name: func.coalesce(getattr(table, name), statement.excluded[name]) for name in ("opened_at", "closed_at")}
    key = inspect(table).primary_key
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_=known))


async def keep_and_derive(session: AsyncSession, learner_id: UUID, fact: tables.Base) -> Record | None:
    """Insert a fact about a learner and draw the conclusions, one learner at a time.

    The record they were drawn from, or None where the fact was known.
    """
    await take_turns(session, "learner", learner_id)
    return await derive(session, learner_id) if await keep(session, fact) else None


def _values(fact: tables.Base) -> dict[str, Any]:  # Any: each column's own type
    return {column.key: getattr(fact, column.key) for column in type(fact).__table__.columns}
