"""The claim: inserting an event's key, which lets exactly one of its deliveries have an effect."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import PostgresError
from pydantic_core import to_json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, HotStatement, TableBase, driver_of, json_columns, record_of
from shared.messaging.message import Message
from shared.outages import is_contention

Key = tuple[str, UUID]
"""Of an event: its source and its id."""
KEPT_DAYS: Final = 90
"""The keys of what was handled. An older event that comes once more is handled once more, which its handlers stand."""
RowOf = Callable[[Any, datetime], TableBase]  # Any: each takes its own event classes
"""The row an event is kept as; the instant is when."""


class InHand(Exception):
    """Another delivery of this event has been at it for longer than the database lets us wait. Nothing is wrong."""


_CLAIM: Final = """
    insert into inbox (source, id, type, body_sha256)
    select source, id, type, sum from unnest(:sources::text[], :ids::uuid[], :types::text[], :sums::bytea[])
        as given (source, id, type, sum)
    {where}
    order by source, id
    on conflict do nothing
    returning source, id
"""
_IF_FREE: Final = _CLAIM.format(
    where="""
    where not exists (select from inbox_retry held where held.source = given.source and held.id = given.id)
    and not exists (
        select from parked_messages held where held.source = given.source and held.id = given.id
        and held.resolved_at is null and held.reason not in ('malformed', 'same_id_other_body')
    )
"""
)
"""Not while a retry or a person has it in hand."""
_CLAIM_ANY: Final = HotStatement(_CLAIM.format(where=""))
CLAIM_FREE: Final = HotStatement(_IF_FREE)
_GIVE_BACK: Final = HotStatement("""
    delete from inbox using unnest(:sources::text[], :ids::uuid[]) as given (source, id)
    where inbox.source = given.source and inbox.id = given.id
""")


async def claim(session: AsyncSession, messages: Sequence[Message], statement: HotStatement = _CLAIM_ANY) -> set[Key]:
    """Insert the keys in a fixed order (two receivers at once must not deadlock); the ones that were new.

    Raises InHand.
    """
    try:
        inserted = await statement.within(session, **_claims(messages))
    except DBAPIError as error:
        if is_contention(error):
            raise InHand("another delivery is at it") from error
        raise
    return {(row.source, row.id) for row in inserted}


async def give_back(session: AsyncSession, messages: Sequence[Message]) -> None:
    """Free again what this transaction has claimed and not handled."""
    if messages:
        await _GIVE_BACK.within(
            session, sources=[message.source for message in messages], ids=[message.id for message in messages]
        )


def _claims(messages: Sequence[Message]) -> dict[str, object]:
    return {
        "sources": [message.source for message in messages],
        "ids": [message.id for message in messages],
        "types": [message.type for message in messages],
        "sums": [message.sha256 for message in messages],
    }


class Keeping:
    """The statement that claims events and keeps them as rows of a table."""

    def __init__(self, table: type[TableBase], row_of: RowOf) -> None:
        self._row_of = row_of
        name, columns = table.__tablename__, json_columns(table)
        self._statement = HotStatement(f"""
            with claimed as ({_IF_FREE}),
            kept as (
                insert into {name} ({", ".join(columns)})
                select {", ".join(f"kept.{column}" for column in columns)}
                from claimed
                join unnest(:sources::text[], :ids::uuid[], :records::text[]) as given (source, id, record)
                    using (source, id),
                lateral jsonb_populate_record(null::{name}, given.record::jsonb) as kept
                on conflict do nothing
            )
            select source, id from claimed
        """)  # noqa: S608 - a table's own names

    async def write(self, database: Database, messages: Sequence[Message]) -> set[Key]:
        """No two of one key; the keys that were claimed. Raises InHand."""
        at = database.clock()
        records = [to_json(record_of(self._row_of(message.event, at))).decode() for message in messages]
        try:
            async with driver_of(database.messaging) as driver:
                claimed = await self._statement.on(driver, **_claims(messages), records=records)
        except PostgresError as error:
            if is_contention(error):
                raise InHand("another delivery is at it") from error
            raise
        return {(row["source"], row["id"]) for row in claimed}
