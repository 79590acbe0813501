"""Which history of its database a feed's cursor was given in.

Transaction ids order the event log, and they are not for ever: a dump that is restored in another cluster brings ids of
that cluster's future; a database set back to an earlier moment (from a base backup, a snapshot, a replica that was
promoted) gives ids out a second time. So each start of a database server, and each timeline, begins an epoch. It goes
on from its predecessor's *mark*, the fence as it stood a minute ago at most: whatever was committed before that is in
both histories. In another cluster nothing of the predecessor's order holds, and cursors begin anew.
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


async def resume(connection: AsyncConnection, asked: Cursor) -> Cursor | None:
    """The cursor as it is to be read in the present epoch; None while that has not begun (`begin_epoch`).

    One of an epoch that is not in this database's history, or from its future, begins anew. One of an earlier epoch
    goes back to where that history is certain to have been this one. For the rest of the transaction statements find
    their rows by an index.
    """
    row = (await connection.execute(text(_LOOK), {"epoch": asked.epoch})).one()
    if row.epoch is None:
        return None
    if asked.epoch == row.epoch:
        xid, position = (asked.xid, asked.position) if asked.xid <= row.next_xid else (0, 0)
    else:
        since = row.since or 0
        xid, position = (asked.xid, asked.position) if asked.xid < since else (since, 0)
    begin = Cursor(row.epoch, xid, position)
    if (xid, position) != (asked.xid, asked.position):
        log.warning("a feed's reader is sent back", extra={"from": str(asked), "to": str(begin)})
    return begin


async def begin_epoch(database: Database) -> None:
    """Begin the present epoch, unless that has been done."""
    async with database.messaging.begin() as connection:
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
_LOOK = f"""
    select (select epoch from feed_epochs where server = {_SERVER}) as epoch,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next_xid,
        (select min(later.since) from feed_epochs asked join feed_epochs later on later.number > asked.number
            where asked.epoch = :epoch) as since, {BY_INDEX}
"""  # noqa: S608 - constants of this module
_BEGIN = f"""
    insert into feed_epochs (epoch, system, server, since, mark)
    select :epoch, here.system, here.server, coalesce(before.mark, 0), coalesce(before.mark, 0)
    from (select {_SYSTEM} as system, {_SERVER} as server) here
    left join (select system, mark from feed_epochs order by number desc limit 1) before using (system)
    where not exists (select from feed_epochs where feed_epochs.server = here.server)
    on conflict (server) do nothing
    returning epoch, since
"""  # noqa: S608 - constants of this module
_MARK = f"""
    update feed_epochs set mark = greatest(mark, pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
    where server = {_SERVER}
"""  # noqa: S608 - constants of this module
_TO_THE_PRESENT = """
    update outbox set xid = pg_current_xact_id()
    where position = any(array(
        select position from outbox where xid >= pg_snapshot_xmax(pg_current_snapshot())
        order by xid, position limit :most
    ))
"""
"""Each batch is a transaction of the present, so it comes after every cursor there is: none can have passed it."""
