"""Store what others announced. Each fact is stored once, however often it is delivered; what follows is derived."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands.projection import rebuild
from credentials.queries.holds import ended_beside_its_money
from credentials.queries.records import Record
from credentials.tables.base import Base
from credentials.tables.facts import MisconductCase, Payment, Result, Suspension
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

    Where it decides whether credit of an ended enrolment is held, the learner is rebuilt.
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
    if await ended_beside_its_money(session, payment.order_id):
        await rebuild(session, payment.learner_id)


async def keep_suspension(session: AsyncSession, suspension: Suspension) -> None:
    """Store whether an enrolment is suspended, unless a later state of it is stored. Holds the learner's advisory lock
    until the transaction ends: no claim is decided meanwhile."""
    await advisory_lock(session, "learner", suspension.learner_id)
    statement = insert(Suspension).values(_values(suspension))
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Suspension.enrolment_id],
            set_={name: statement.excluded[name] for name in ("sequence", "suspended")},
            where=Suspension.sequence < statement.excluded.sequence,
        )
    )


async def keep_case(session: AsyncSession, case: MisconductCase) -> None:
    """Add what is known of a case; its end may arrive before its beginning. Holds the learner's advisory lock, as
    `keep_suspension` does."""
    await advisory_lock(session, "learner", case.learner_id)
    statement = insert(MisconductCase).values(_values(case))
    known = {
        name: func.coalesce(getattr(MisconductCase, name), statement.excluded[name])
        for name in ("opened_at", "closed_at")
    }
    await session.execute(statement.on_conflict_do_update(index_elements=[MisconductCase.case_id], set_=known))


async def store_and_rebuild(session: AsyncSession, learner_id: UUID, fact: Base) -> Record | None:
    """Insert a fact about a learner and rebuild them, under their advisory lock.

    Returns the record that was derived from, or None where the fact was known.
    """
    await advisory_lock(session, "learner", learner_id)
    return await rebuild(session, learner_id) if await keep(session, fact) else None


def _values(fact: Base) -> dict[str, Any]:  # Any: each column's own type
    return {column.key: getattr(fact, column.key) for column in type(fact).__table__.columns}
