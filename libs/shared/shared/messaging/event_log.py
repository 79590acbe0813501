"""The outbox as the service's event log: partitioned by year, kept, and its old partitions detached by an operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database, Unknown
from shared.errors import Conflict
from shared.messaging.epochs import keep_epoch

YEARS_AHEAD: Final = 2
"""How many years ahead have partitions: long before one is missing, some replica has added it."""


class StillKept(Conflict):
    """A part of the event log stays until its last year is past the years it is kept."""


class NotSent(Conflict):
    """A part of the event log stays while an event in it is not sent."""


@dataclass(frozen=True, slots=True)
class Part:
    """A partition of the event log: the events of one year, or of several."""

    name: str
    ends_at: datetime | None
    """Its events were written before this instant; None for a part without an end, which an operator has made."""

    @property
    def last_year(self) -> str:
        """The last year whose events are in it."""
        return "no end" if self.ends_at is None else str(self.ends_at.year - 1)

    events: int
    """How many there are, as the database estimates."""
    bytes: int


async def keep_event_log(database: Database) -> None:
    """Add the partitions of the next years, and keep the epoch, so that the feed is whole on a restored database."""
    async with database.transaction() as session:
        await session.execute(text(_ADD), {"ahead": YEARS_AHEAD})
    await keep_epoch(database)


async def parts(session: AsyncSession) -> Sequence[Part]:
    """Return the partitions of the event log, oldest first."""
    return [Part(*row) for row in await session.execute(text(_PARTS))]


async def detach(session: AsyncSession, name: str, *, kept_years: int) -> Part:
    """Detach a partition from the event log. It stays in the database as a table of its own, to be dumped and dropped.

    Raises Unknown: there is none by this name; StillKept: it is not old enough; NotSent: an event in it is not sent.
    """
    part = next((part for part in await parts(session) if part.name == name), None)
    if part is None:
        raise Unknown(f"{name} is no part of the event log")
    past = text("select cast(:ends_at as timestamptz) < now() - make_interval(years => :years)")
    if not await session.scalar(past, {"ends_at": part.ends_at, "years": kept_years}):
        raise StillKept(f"{name} ends in {part.last_year}, and {kept_years} years are kept")
    if await session.scalar(text(f"select true from {name} where sent_at is null limit 1")):  # noqa: S608 - a part's name
        raise NotSent(f"an event in {name} is not sent")
    await session.execute(text(f"alter table outbox detach partition {name}"))
    return part


_ADD = "select add_outbox_parts(extract(year from now() at time zone 'UTC')::integer + :ahead)"
_PARTS = """
    select parts.relname, bound.ends_at, greatest(parts.reltuples, 0)::bigint, pg_total_relation_size(parts.oid)
    from pg_inherits join pg_class parts on parts.oid = inhrelid,
    lateral (
        select substring(pg_get_expr(parts.relpartbound, parts.oid) from 'TO \\(''([^'']+)''')::timestamptz as ends_at
    ) as bound
    where inhparent = 'outbox'::regclass order by bound.ends_at
"""
