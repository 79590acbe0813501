"""Which history of its database a feed's cursor was given in.

Transaction ids order the event log, and they are not for ever: a dump that is restored in another cluster brings ids of
that cluster's future; a database set back to an earlier moment (from a base backup, a snapshot, a replica that was
promoted) gives ids out a second time. So each start of a database server, and each timeline, begins an epoch, and so
does a server that finds another's epoch to be the last one. It goes on from its predecessor's *mark*, the fence as it
stood a minute ago at most: whatever was committed before that is in both histories. In another cluster, and in a copy
of the same one that has not counted so far as the mark, nothing of the predecessor's order holds, and cursors begin
anew.

Where one backend is killed PostgreSQL starts its parts anew within the same epoch, and commits that waited for no disk
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


class BadFeedCursor(Malformed):
    """A feed cursor is `epoch.transaction.position`, as the feed gave it, or `0.0` for the beginning."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the event log: before the first event after this transaction's position."""

    epoch: str | None
    """None in a cursor of the releases that had no epochs."""
    xid: int
    position: int

    @classmethod
    def parse(cls, cursor: str) -> "Cursor":
        """Raises BadFeedCursor."""
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise BadFeedCursor(cursor)
        return cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.epoch}.{self.xid}.{self.position}"


def same_epoch(one: str, other: str) -> bool:
    """Raises BadFeedCursor."""
    return Cursor.parse(one).epoch == Cursor.parse(other).epoch


async def resume(connection: AsyncConnection, asked: Cursor) -> tuple[Cursor, int] | None:
    """The cursor as it is to be read in the present epoch, and that epoch's mark; None while it has not begun
    (`begin_epoch`).

    One of an epoch that is not in this database's history, or from its future, begins anew. One of an earlier epoch
    goes back to where that history is certain to have been this one. For the rest of the transaction statements find
    their rows by an index.
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
    """Begin the present epoch, unless that has been done."""
    async with database.messaging.begin() as connection:
        await connection.execute(text(_ONE_AT_A_TIME))
        begun = await connection.execute(text(_BEGIN), {"epoch": secrets.token_hex(6)})
    for row in begun:
        log.info("the event log begins an epoch", extra={"epoch": row.epoch, "since": row.since})


async def keep_epoch(database: Database) -> int:
    """Begin the present epoch where that has not been done, and mark where it stands; then write anew the transaction
    ids of the future, which the fence would hide until the counter has passed them. How many events those were."""
    await begin_epoch(database)
    async with database.messaging.begin() as connection:
        await connection.execute(text(_MARK))
    count = await in_batches(database, _TO_THE_PRESENT)
    if count:
        log.warning("events with transaction ids of the future are visible again", extra={"count": count})
    return count


BY_INDEX: Final = "set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)"
"""Else a log that was just restored, of which there are no statistics yet, is sorted whole for every page."""
_NEXT_XID: Final = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_LAST: Final = "(select system, server, epoch, mark from feed_epochs order by number desc limit 1)"
_LOOK = f"""
    select present.epoch, present.mark, {_NEXT_XID} as next_xid,
        (select min(later.since) from feed_epochs asked join feed_epochs later on later.number > asked.number
            where asked.epoch = :epoch) as since, {BY_INDEX}
    from (select {_SERVER} as server) here left join {_LAST} present using (server)
"""  # noqa: S608 - constants of this module
_ONE_AT_A_TIME = "lock table feed_epochs in share row exclusive mode"
_BEGIN = f"""
    insert into feed_epochs (epoch, system, server, since, mark)
    select :epoch, here.system, here.server, good.mark, good.mark
    from (select {_SYSTEM} as system, {_SERVER} as server) here left join {_LAST} last on true, lateral (
        select case when last.system = here.system and last.mark <= {_NEXT_XID} then last.mark else 0 end as mark
    ) good
    where last.server is distinct from here.server
    returning epoch, since
"""  # noqa: S608 - constants of this module
_MARK = f"""
    with durably as materialized (select set_config('synchronous_commit', 'on', true))
    update feed_epochs set mark = greatest(mark, pg_snapshot_xmin(pg_current_snapshot())::text::bigint) from durably
    where number = (select max(number) from feed_epochs) and server = {_SERVER}
"""  # noqa: S608 - constants of this module
_TO_THE_PRESENT = """
    update outbox set xid = pg_current_xact_id()
    where position = any(array(
        select position from outbox where xid >= pg_snapshot_xmax(pg_current_snapshot())
        order by xid, position limit :most
    ))
"""
"""Each batch is a transaction of the present, so it comes after every cursor there is: none can have passed it."""
