"""The claim: inserting an event's key, by which exactly one of its deliveries has an effect."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import PostgresError
from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, RawStatement, TableBase, driver_of, json_columns, record_of
from shared.messaging.message import Message
from shared.outages import is_contention

Key = tuple[str, UUID]
"""An event's key: its source and its id."""
KEPT_DAYS: Final = 90
"""How long keys of handled events are kept. An older event that comes again is handled again, and handlers accept
that."""
RowOf = Callable[[Any, datetime], TableBase]  # Any: each takes its own event classes
"""Makes the row an event is stored as; the instant is when that happens."""


class Locked(Exception):
    """Another delivery of this event has held its key for longer than the database lets us wait. Nothing is wrong."""


_CLAIM: Final = """
    insert into inbox (source, id, type, body_sha256, subject)
    select source, id, type, sum, subject
    from unnest(:sources::text[], :ids::uuid[], :types::text[], :sums::bytea[], :subjects::text[])
        as given (source, id, type, sum, subject)
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
"""Claims an event only while it neither waits for a retry nor is a dead letter."""
_CLAIM_ANY: Final = RawStatement(_CLAIM.format(where=""))
CLAIM_FREE: Final = RawStatement(_IF_FREE)
_UNCLAIM: Final = RawStatement("""
    delete from inbox using unnest(:sources::text[], :ids::uuid[]) as given (source, id)
    where inbox.source = given.source and inbox.id = given.id
""")


async def claim(session: AsyncSession, messages: Sequence[Message], statement: RawStatement = _CLAIM_ANY) -> set[Key]:
    """Claim events by inserting their keys; return the keys that were new.

    They are inserted in a fixed order: two receivers at once must not deadlock. Raises Locked: another delivery of one
    of them has taken long.
    """
    try:
        inserted = await statement.within(session, **_claims(messages))
    except DBAPIError as error:
        if is_contention(error):
            raise Locked("another delivery is at it") from error
        raise
    return {(row.source, row.id) for row in inserted}


async def unclaim(session: AsyncSession, messages: Sequence[Message]) -> None:
    """Delete the keys of messages that this transaction has claimed and not handled."""
    if messages:
        await _UNCLAIM.within(
            session, sources=[message.source for message in messages], ids=[message.id for message in messages]
        )


def _claims(messages: Sequence[Message]) -> dict[str, object]:
    return {
        "sources": [message.source for message in messages],
        "ids": [message.id for message in messages],
        "types": [message.type for message in messages],
        "sums": [message.sha256 for message in messages],
        "subjects": [message.event.aggregate_id for message in messages],
    }


async def digests_of(session: AsyncSession, keys: Sequence[Key]) -> dict[Key, bytes]:
    """Return the digest of the body with which each of these keys is known: as handled, in a retry or a dead letter."""
    sources, ids = [source for source, _ in keys], [id_ for _, id_ in keys]
    seen = await session.execute(_KNOWN, {"sources": sources, "ids": ids})
    return {(row.source, row.id): row.sum for row in seen}


_KNOWN = text("""
    with given as (
        select source, id from unnest(cast(:sources as text[]), cast(:ids as uuid[])) as given (source, id)
    )
    select source, id, sha256(body) as sum from parked_messages join given using (source, id)
    where resolved_at is null and reason not in ('malformed', 'same_id_other_body')
    union all
    select source, id, sha256(body) from inbox_retry join given using (source, id)
    union all
    select source, id, body_sha256 from inbox join given using (source, id)
""")


class Projection:
    """The statement that claims events and stores them as rows of a table."""

    def __init__(self, table: type[TableBase], row_of: RowOf) -> None:
        self._row_of = row_of
        name, columns = table.__tablename__, json_columns(table)
        self._statement = RawStatement(f"""
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
        """Claim and store these events, of which no two have one key; return the keys that were claimed.

        Raises Locked: another delivery of one of them has taken long.
        """
        at = database.clock()
        records = [to_json(record_of(self._row_of(message.event, at))).decode() for message in messages]
        try:
            async with driver_of(database.messaging) as driver:
                claimed = await self._statement.on(driver, **_claims(messages), records=records)
        except PostgresError as error:
            if is_contention(error):
                raise Locked("another delivery is at it") from error
            raise
        return {(row["source"], row["id"]) for row in claimed}
