"""Epochs: in which history of its database a feed's cursor was given.

Transaction ids order the event log, and they are not for ever: a dump that is restored in another cluster brings ids of
that cluster's future; a database set back to an earlier moment (from a base backup, a snapshot, a replica that was
promoted) gives ids out a second time. So each start of a database server, and each timeline, begins an epoch, and so
does a server that finds another's epoch to be the last one, or tables a dump was restored into. An epoch goes on from
its predecessor's *mark*, the fence as it stood a minute ago at most: whatever was committed before that is in both. In
another cluster, and in a copy of the same one whose counter has not reached the mark, nothing of the predecessor's
order holds, and cursors begin anew.

Where one backend is killed PostgreSQL restarts its processes within the same epoch, and commits that waited for no disk
are lost with their transaction ids. So no cursor is given that stands after both the last row and the mark: these are
on the disk, and no id before them is given out again.
"""

import logging
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import telemetry
from shared.batches import in_batches
from shared.database import Database
from shared.errors import Malformed

log = logging.getLogger(__name__)

START: Final = "0.0"
_CURSOR: Final = re.compile(r"(?:([0-9a-f]{12})\.)?([0-9]{1,18})\.([0-9]{1,18})")
_SYSTEM: Final = "(select system_identifier::text from pg_control_system())"
_SERVER: Final = f"""
    concat_ws('/', {_SYSTEM}, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
        extract(epoch from pg_postmaster_start_time()))
"""
"""Cluster, timeline, and when the server was started: a snapshot of the disk that is put back keeps the first two."""
_TABLES: Final = """
    concat_ws('/', (select oid from pg_database where datname = current_database()),
        pg_relation_filenode('feed_epochs'))
"""
"""The database's number and the file of a table: a dump that is restored in the same server has others."""


class BadFeedCursor(Malformed):
    """A feed cursor is `epoch.transaction.position`, as the feed gave it, or `0.0` for the beginning."""


class HalfRestored(ConnectionError):
    """The database is being restored: the rows and keys that identify it are not all there yet."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A point in the event log: after the event at this position of this transaction."""

    epoch: str | None
    """None at the beginning, and in a cursor of the releases that had no epochs."""
    xid: int
    position: int

    @classmethod
    def parse(cls, cursor: str) -> "Cursor":
        """Parse a cursor.

        Raises BadFeedCursor: it is none.
        """
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise BadFeedCursor(cursor)
        return cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.xid}.{self.position}"


def same_epoch(one: str, other: str) -> bool:
    """Return whether two cursors were given in the same epoch.

    Raises BadFeedCursor: one of them is no cursor.
    """
    return Cursor.parse(one).epoch == Cursor.parse(other).epoch


def leads_on(one: str, other: str) -> bool:
    """Return whether the second cursor is further on in the log than the first, in the same epoch or from its start.

    Raises BadFeedCursor: one of them is no cursor.
    """
    before, after = Cursor.parse(one), Cursor.parse(other)
    if before.epoch not in {None, after.epoch}:
        return False
    return (after.xid, after.position) > (before.xid, before.position)


def kept_cursor(cursor: str, reader: str) -> str:
    """Return a cursor that was stored in our own database, or the beginning where what is stored there is none.

    `reader` names in the log and in the metric whose cursor it is. Events that are then read a second time do no harm.
    """
    try:
        Cursor.parse(cursor)
    except BadFeedCursor:
        telemetry.cursors_unreadable.labels(reader).inc()
        log.error(  # noqa: TRY400 - where it was read does not matter
            "a kept cursor is none: the log is read anew", extra={"reader": reader, "cursor": cursor[:100]}
        )
        return START
    return cursor


async def resume(connection: AsyncConnection, asked: Cursor) -> tuple[Cursor, int] | None:
    """Return the cursor as it is to be read in the present epoch, and that epoch's mark; None while the epoch has not
    begun (`begin_epoch`).

    A cursor of an epoch that is not in this database's history, or from its future, becomes the beginning. A cursor of
    an earlier epoch is set back to the point up to which both epochs have the same events. For the rest of the
    transaction statements find their rows by an index.
    """
    row = (await connection.execute(text(_LOOK), {"epoch": asked.epoch})).one()
    if row.epoch is None:
        return None
    xid, position = asked.xid, asked.position
    if asked.epoch != row.epoch and xid >= (since := row.since or 0):
        xid, position = since, 0
    if max(asked.xid, xid) > row.next_xid:
        xid, position = 0, 0
    begin = Cursor(row.epoch, xid, position)
    if (xid, position) != (asked.xid, asked.position):
        log.warning("a feed's reader is sent back", extra={"from": str(asked), "to": str(begin)})
    return begin, row.mark


async def begin_epoch(database: Database) -> None:
    """Begin the present epoch, unless it has begun.

    Raises HalfRestored: the database is being restored.
    """
    async with database.messaging.begin() as connection:
        if await connection.scalar(text(_IS_RESTORED)) is None:
            raise HalfRestored
        await connection.execute(text(_ONE_AT_A_TIME))
        begun = await connection.execute(text(_BEGIN), {"epoch": secrets.token_hex(6)})
    for row in begun:
        log.info("the event log begins an epoch", extra={"epoch": row.epoch, "since": row.since})


async def keep_epoch(database: Database) -> int:
    """Begin the present epoch where it has not begun, and move its mark to the fence.

    Then give events with transaction ids of the future the present one: the fence would hide them until the counter has
    passed those. Returns how many events these were.
    """
    await begin_epoch(database)
    async with database.messaging.begin() as connection:
        await connection.execute(text(_MARK))
    count = await in_batches(database, _TO_THE_PRESENT)
    if count:
        log.warning("events with transaction ids of the future are visible again", extra={"count": count})
    return count


BY_INDEX: Final = "set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)"
"""Else a log that was just restored, and has no statistics yet, is sorted whole for every page."""
_NEXT_XID: Final = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_LAST: Final = "(select system, server, tables, epoch, mark from feed_epochs order by number desc limit 1)"
_HERE: Final = f"(select {_SYSTEM} as system, {_SERVER} as server, {_TABLES} as tables) here"
_SAME: Final = "present.server = here.server and coalesce(present.tables, here.tables) = here.tables"
_LOOK = f"""
    select present.epoch, present.mark, {_NEXT_XID} as next_xid,
        (select min(later.since) from feed_epochs asked join feed_epochs later on later.number > asked.number
            where asked.epoch = :epoch) as since, {BY_INDEX}
    from {_HERE} left join {_LAST} present on {_SAME}
"""  # noqa: S608 - constants of this module
PRESENT: Final = f"select present.epoch from {_HERE} left join {_LAST} present on {_SAME}"  # noqa: S608 - as above
"""Selects the epoch this database is in now; null where it has not begun."""
REMEMBERED: Final = """
    select coalesce(bool_or((:xid, :position) <= (asked.mark, 0) or exists (
        select from outbox where position = :position and (cast(cast(xid as text) as bigint) = :xid
            or created_at < (select min(began_at) from feed_epochs where number > asked.number))
    )), false)
    from feed_epochs asked where asked.epoch = :epoch
"""
"""Selects whether a cursor can have been given in this database's history: it stands at or before its epoch's mark, or
after an event that is here (whose transaction id may have been written anew in another cluster)."""
_IS_RESTORED = """
    select 1 from installation
    where exists (select from pg_constraint where conrelid = 'feed_epochs'::regclass and contype = 'p')
"""
"""A dump restores rows first, then the identity's next number, and keys last: a row written by us in between would have
a number that one of its rows has."""
_ONE_AT_A_TIME = "lock table feed_epochs in share row exclusive mode"
_BEGIN = f"""
    insert into feed_epochs (epoch, system, server, tables, since, mark)
    select :epoch, here.system, here.server, here.tables, good.mark, good.mark
    from {_HERE} left join {_LAST} present on true, lateral (
        select case when present.system = here.system and present.mark <= {_NEXT_XID} then present.mark else 0 end
            as mark
    ) good
    where ({_SAME}) is not true
    returning epoch, since
"""  # noqa: S608 - constants of this module
_MARK = f"""
    with durably as materialized (select set_config('synchronous_commit', 'on', true))
    update feed_epochs present set mark = greatest(mark, pg_snapshot_xmin(pg_current_snapshot())::text::bigint),
        tables = here.tables
    from durably, {_HERE} where number = (select max(number) from feed_epochs) and {_SAME}
"""  # noqa: S608 - constants of this module
_TO_THE_PRESENT = """
    update outbox set xid = pg_current_xact_id()
    where position = any(array(
        select position from outbox where xid >= pg_snapshot_xmax(pg_current_snapshot())
        order by xid, position limit :most
    ))
"""
"""Each batch is a transaction of the present, so it comes after every cursor there is: none can have passed it."""
