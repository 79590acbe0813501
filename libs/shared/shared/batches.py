"""Statements over many rows in batches, each committed: none exceeds its time limit, and no lock is held for long."""

from typing import Any, Final, cast

from sqlalchemy import CursorResult, text

from shared.database import Database

BATCH: Final = 1000
"""Rows of a batch: well below a second, whatever the table."""


async def in_batches(database: Database, statement: str, *, most: int = BATCH, **values: object) -> int:
    """Run a statement that takes up to `:most` rows, each time committed, until it finds fewer; return how many it took
    in all."""
    total = 0
    while True:
        async with database.transaction() as session:
            done = await session.execute(text(statement), {"most": most, **values})
            taken = cast("CursorResult[Any]", done).rowcount  # Any: it has no rows
        total += taken
        if taken < most:
            return total


async def delete_in_batches(
    database: Database, table: str, where: str, *, by: str, most: int = BATCH, **values: object
) -> int:
    """Delete the rows of a condition, in batches, in the order of an indexed column; return how many there were."""
    chosen = f"select ctid from {table} where {where} order by {by} limit :most"  # noqa: S608 - our own names
    return await in_batches(database, f"delete from {table} where ctid = any(array({chosen}))", most=most, **values)  # noqa: S608
