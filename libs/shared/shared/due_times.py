"""Due times that a clock wrote which stood ahead: nothing may wait until that clock's day has come.

Such a time is known by lying further ahead than the column is ever written; what it is about is due now, or has all its
time anew.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.batches import in_batches
from shared.clock import CLOCKS_APART
from shared.database import Database
from shared.mail import LONGEST_WAIT as LONGEST_WAIT_OF_LETTERS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueTime:
    """A column that says when a row is looked at next."""

    table: str
    column: str
    longest: timedelta
    """No later than this is it ever written, seen from the instant of writing."""
    waiting: str = "true"
    """Which rows are still looked at; as the index on the column says it, where it is partial."""
    again: timedelta = timedelta()
    """What a wrong one is set to, seen from now."""
    key: str = "ctid"
    """What tells its rows apart; `ctid` does not in a table of parts."""


EVERYWHERE: Final = (
    DueTime("letters", "due_at", LONGEST_WAIT_OF_LETTERS, "sent_at is null and failed_at is null"),
    DueTime("inbox_retry", "due_at", timedelta(days=1)),
    DueTime("outbox", "next_attempt_at", timedelta(minutes=1), "sent_at is null", key="position"),
    DueTime("set_aside_rows", "due_at", timedelta(hours=1)),
)


async def bring_forward(database: Database, columns: Sequence[DueTime]) -> int:
    """Make due now what a wrong clock put off; how many rows."""
    total = 0
    now = database.clock()
    for one in columns:
        found = f"""
            select {one.key} from {one.table} where {one.waiting} and {one.column} > cast(:latest as timestamptz)
            order by {one.column} limit :most for update skip locked
        """  # noqa: S608 - our own names
        moved = f"update {one.table} set {one.column} = :due where {one.waiting} and {one.key} = any(array({found}))"  # noqa: S608
        total += await in_batches(database, moved, due=now + one.again, latest=now + one.longest + CLOCKS_APART)
    if total:
        log.warning("due times written by a clock that stood ahead were brought forward", extra={"rows": total})
    return total
