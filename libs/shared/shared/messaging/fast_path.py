"""The write of a command's fast path: rows, events and the stored reply in one statement, a transaction of its own.

Through a session the same costs many times as much. It is for what many people do in the same minute, and only for its
ordinary case: every other case takes the ordinary path through a session, which is also the oracle in the tests.
"""

from collections.abc import Sequence
from typing import Final

from asyncpg import UniqueViolationError
from pydantic_core import to_json

from shared.database import Database, RawStatement, TableBase, json_columns, record_of
from shared.events import Event
from shared.idempotency import INSERT_REPLY, StoredReply
from shared.messaging.outbox import row_of


class Fallback(Exception):
    """The fast path does not serve this case: nothing was written, and the ordinary path is to be taken."""


class FastInsert:
    """One statement that writes new rows of these tables, and their events.

    `changes` are further `with` queries that write, each of them `from go where ok`. `go` is one row that says whether
    to write at all: whether `condition` holds. `looks` are the `with` queries the condition is decided by; they lock
    the rows they find, for of two statements at once neither sees what the other writes.
    """

    def __init__(
        self, *new: type[TableBase], changes: Sequence[str] = (), looks: Sequence[str] = (), condition: str = "true"
    ) -> None:
        self._new = new
        changes = [*map(_insert, new), *changes, _ANNOUNCED]
        self._alone = _compose(looks, condition, changes)
        self._with_reply = _compose(looks, f"({condition}) and {_FREE}", [*changes, _REPLIED])

    async def run(
        self,
        database: Database,
        rows: Sequence[TableBase],
        events: Sequence[Event],
        *,
        reply: StoredReply | None = None,
        **values: object,
    ) -> None:
        """Write these rows and events, and the reply, in one transaction; columns that a row leaves unset are null.

        Raises Fallback, with nothing written: the condition does not hold, a unique row is there already, or a request
        with the reply's key is being worked on.
        """
        by_table: dict[type[TableBase], list[dict[str, object]]] = {table: [] for table in self._new}
        for row in rows:
            by_table[type(row)].append(record_of(row))
        announced = [row_of(event, causation=None) for event in events]
        ids, types, keys, bodies = zip(*announced, strict=True)
        lease = database.notifier.lease(len(announced))
        values |= {"event_ids": ids, "event_types": types, "event_keys": keys, "event_bodies": bodies, "lease": lease}
        values |= {table.__tablename__: to_json(records).decode() for table, records in by_table.items()}
        statement = self._alone
        if reply is not None:
            statement = self._with_reply
            values |= {**reply.values(), "key_lock": reply.asked.lock}
        try:
            written = await statement.row(database, **values)
        except UniqueViolationError as there:
            raise Fallback from there
        if not written["ok"]:
            raise Fallback
        if lease:
            database.notifier.hand_off([(*row, written["installation"]) for row in announced])
        else:
            database.notifier.notify()


def _compose(looks: Sequence[str], condition: str, changes: Sequence[str]) -> RawStatement:
    go = f"go as materialized (select {condition} as ok)"
    parts = ", ".join([*looks, go, *changes])
    return RawStatement(f"with {parts} select ok, ({_INSTALLATION}) as installation from go")  # noqa: S608 - constants; values are bound


def _insert(table: type[TableBase]) -> str:
    name, columns = table.__tablename__, ", ".join(json_columns(table))
    return f"""
        new_{name} as (
            insert into {name} ({columns})
            select {columns} from go, jsonb_populate_recordset(null::{name}, :{name}::jsonb) where ok
        )
    """  # noqa: S608 - a table's own names


_INSTALLATION: Final = "select installation_id from installation"
_ANNOUNCED: Final = """
    announced as (
        insert into outbox (id, type, partition_key, body, next_attempt_at)
        select event.id, event.type, event.partition_key, event.body, now() + make_interval(secs => :lease::float8)
        from go, unnest(:event_ids::uuid[], :event_types::text[], :event_keys::text[], :event_bodies::text[])
            with ordinality as event (id, type, partition_key, body, place)
        where ok order by place
    )
"""
_REPLIED: Final = f"replied as ({INSERT_REPLY} from go where ok)"
_FREE: Final = "pg_try_advisory_xact_lock(:key_lock)"
"""Takes the key's lock; false where a request with this key is being worked on."""
