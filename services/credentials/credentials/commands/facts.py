"""Store what others announced. Each fact is stored once, however often it is delivered; what follows is derived."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands.projection import rebuild
from credentials.queries.holds import ended_for_want_of_money
from credentials.queries.records import Record
from credentials.tables.base import Base
from credentials.tables.facts import Dispute, MisconductCase, Payment, Result
from shared.database import advisory_lock


async def keep(session: AsyncSession, fact: Base) -> bool:
    """Insert a fact unless it is there. Returns whether it was new."""
    table = type(fact)
    key = inspect(table).primary_key
    statement = insert(table).values(_values(fact)).on_conflict_do_nothing().returning(*key)
    return (await session.execute(statement)).first() is not None


async def keep_latest_result(session: AsyncSession, result: Result) -> None:
    """Store a submission's result, unless a later one is stored."""
    statement = insert(Result).values(_values(result))
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Result.submission_id],
            set_={name: statement.excluded[name] for name in ("mark", "passed", "released_at")},
            where=Result.released_at < statement.excluded.released_at,
        )
    )


async def keep_payment(session: AsyncSession, payment: Payment) -> None:
    """Add what is known of an order's money; the latest instant of each kind stands.

    Where an enrolment ended for want of that money, the learner is rebuilt, since held credit may count again.
    """
    await advisory_lock(session, "learner", payment.learner_id)
    statement = insert(Payment).values(_values(payment))
    latest = {
        # greatest() passes over null: each event has one of the two instants
        name: func.greatest(column, statement.excluded[name])
        for name, column in (
            ("reversed_at", Payment.reversed_at),
            ("settled_at", Payment.settled_at),
        )
    }
    await session.execute(statement.on_conflict_do_update(index_elements=[Payment.order_id], set_=latest))
    if await ended_for_want_of_money(session, payment.order_id):
        await rebuild(session, payment.learner_id)


async def keep_span(session: AsyncSession, span: Dispute | MisconductCase) -> None:
    """Add what is known of something that begins and ends; either event may arrive first."""
    table = type(span)
    statement = insert(table).values(_values(span))
    known = {name: func.coalesce(getattr(table, name), statement.excluded[name]) for name in ("opened_at", "closed_at")}
    key = inspect(table).primary_key
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_=known))


async def store_and_rebuild(session: AsyncSession, learner_id: UUID, fact: Base) -> Record | None:
    """Insert a fact about a learner and rebuild them, under their advisory lock.

    Returns the record that was derived from, or None where the fact was known.
    """
    await advisory_lock(session, "learner", learner_id)
    return await rebuild(session, learner_id) if await keep(session, fact) else None


def _values(fact: Base) -> dict[str, Any]:  # Any: each column's own type
    return {column.key: getattr(fact, column.key) for column in type(fact).__table__.columns}
