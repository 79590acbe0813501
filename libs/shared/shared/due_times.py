"""Correction of due times written by a clock that stood ahead: no row may wait until that clock's day has come.

Such a time is recognised by lying further ahead than the column is ever written; its row becomes due now, or after a
whole pause.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.batches import in_batches
from shared.clock import CLOCKS_APART
from shared.database import Database
from shared.emails import LONGEST_WAIT as LONGEST_WAIT_OF_EMAILS
from shared.messaging.relay import LONGEST_PAUSE as LONGEST_PAUSE_OF_EVENTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueTime:
    """A column that says when a row is due."""

    table: str
    column: str
    longest: timedelta
    """The longest time after the instant of writing that is ever written."""
    waiting: str = "true"
    """The condition of rows that still wait; where the column's index is partial, the same as the index has."""
    again: timedelta = timedelta()
    """How long after now a wrong one is set to."""
    key: str = "ctid"
    """The column that identifies a row; `ctid` does not in a partitioned table."""


EVERYWHERE: Final = (
    DueTime("letters", "due_at", LONGEST_WAIT_OF_EMAILS, "sent_at is null and failed_at is null"),
    DueTime("inbox_retry", "due_at", timedelta(days=1)),
    DueTime("outbox", "next_attempt_at", LONGEST_PAUSE_OF_EVENTS, "sent_at is null", key="position"),
    DueTime("set_aside_rows", "due_at", timedelta(hours=1)),
)


async def bring_forward(database: Database, columns: Sequence[DueTime]) -> int:
    """Correct the due times that a wrong clock wrote into these columns; return how many rows there were."""
    total = 0
    now = database.clock()
    for one in columns:
        found = f"""
            select {one.key} from {one.table} where {one.waiting} and {one.column} > cast(:latest as timestamptz)
            order by {one.column} limit :most for no key update skip locked
        """  # noqa: S608 - our own names
        moved = f"update {one.table} set {one.column} = :due where {one.waiting} and {one.key} = any(array({found}))"  # noqa: S608
        total += await in_batches(database, moved, due=now + one.again, latest=now + one.longest + CLOCKS_APART)
    if total:
        log.warning("due times written by a clock that stood ahead were brought forward", extra={"rows": total})
    return total
