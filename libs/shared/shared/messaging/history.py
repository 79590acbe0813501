"""Whether this database has all the history the other services have read, and whether this process has caught up in it.

A database that was restored from a copy, or is another one, lacks what happened since, and cannot see that by itself.
The other services can: each has read its event log to a cursor (`shared.messaging.epochs`), and has taken in what the
broker brought, in the seconds before too. A cursor that this database cannot have given, and an event that is not in
it, show that history is lost. Cursors are compared when others read this log, cursors and events when their logs are
read. A loss is stored, logged and measured: until a person has accepted it (`python -m <service> restored accept`) no
job ends, refuses or removes anything.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.committed_log import log_once_committed
from shared.database import Database
from shared.errors import Conflict
from shared.ids import made_at
from shared.messaging.deduplication import KEPT_DAYS
from shared.messaging.epochs import PRESENT, REMEMBERED, START, Cursor, begin_epoch, kept_cursor

log = logging.getLogger(__name__)

TAKEN: Final = 500
"""How many of the events last made are compared: lost ones are among them, for all others of a service are asked within
seconds of a new epoch."""
_AHEAD: Final = timedelta(days=1)
"""An id that says it was made later than that is no time."""


class NotThisDatabase(Conflict):
    """Another service has read, as this service's log, the log of another installation's database."""


@dataclass(frozen=True, slots=True)
class State:
    """The present epoch of a database, and whether its history is lost."""

    epoch: str | None
    """The present epoch; None where it has not begun."""
    lost_at: datetime | None
    """Since when it is known that history is lost, unless that was accepted."""
    lost: str | None
    accepted_at: datetime | None
    installation: UUID


@dataclass(frozen=True, slots=True)
class Reader:
    """How far another service has read this one's log, and the installation it took the log to be of."""

    service: str
    cursor: str
    installation: UUID | None
    taken: tuple[UUID, ...] = ()
    """The ids of the events last made, `TAKEN` at most, that it has taken in by feed or broker; a service of the
    previous release does not say."""


async def state_of(database: Database) -> State:
    """Return the state of a database, after beginning its epoch where it has not begun.

    Raises HalfRestored: the database is being restored.
    """
    while True:
        async with database.messaging.connect() as connection:
            row = (await connection.execute(text(_STATE))).one_or_none()
        if row is not None and row.epoch is not None:
            return State(*row)
        await begin_epoch(database)


async def lost(session: AsyncSession) -> str | None:
    """Return how it was noticed that history is lost; None where none is, or the loss was accepted."""
    return (await session.execute(text("select history_lost from installation"))).scalar()


async def is_whole(session: AsyncSession) -> bool:
    """Return whether every other service was asked in the present epoch, and none has read events missing here.

    Until they were asked, this may be a copy that was restored a moment ago.
    """
    return bool((await session.execute(text(_IS_WHOLE))).scalar())


async def accepted_at(session: AsyncSession) -> datetime | None:
    """Return when a person last accepted that history is lost: what was due before then may have been done already."""
    return (await session.execute(text("select history_accepted_at from installation"))).scalar_one()


async def restored_at(session: AsyncSession) -> datetime | None:
    """Return when it was last noticed, or accepted, that history is lost."""
    return (
        await session.execute(text("select greatest(history_lost_at, history_accepted_at) from installation"))
    ).scalar_one()


async def reader_of(database: Database, source: str) -> Reader | None:
    """Return how far this service has read another's log, and what it has taken in; None where it has not begun."""
    async with database.messaging.connect() as connection:
        row = (await connection.execute(text(_POSITION), {"source": source})).one_or_none()
        taken = await connection.execute(text(_TAKEN), {"source": f"/services/{source}", "most": TAKEN})
        ids = tuple(taken.scalars())
    if row is None:
        return Reader(source, START, None, ids) if ids else None
    return Reader(source, kept_cursor(row.cursor, source), row.installation, ids)


async def is_remembered(database: Database, cursor: str) -> bool:
    """Return whether this database can have given the cursor.

    Raises BadFeedCursor: it is none.
    """
    asked = Cursor.parse(cursor)
    if asked.epoch is None:  # the beginning
        return True
    values = {"epoch": asked.epoch, "xid": asked.xid, "position": asked.position}
    async with database.messaging.connect() as connection:
        return bool(await connection.scalar(text(REMEMBERED), values))


async def lacking(database: Database, ids: Sequence[UUID]) -> list[UUID]:
    """Return which of these events are not in this database's log, though it has everything of their time."""
    if not ids:
        return []
    async with database.messaging.connect() as connection:
        at: datetime = (await connection.execute(text("select now()"))).scalar_one()
        young = [one for one in ids if at - timedelta(days=KEPT_DAYS) < made_at(one) < at + _AHEAD]
        return list((await connection.execute(text(_LACKING), {"ids": young})).scalars())


async def compare(database: Database, reader: Reader) -> bool:
    """Return whether the reader's cursor, and every event it has taken in, is of this database's history; where not,
    record that history is lost: once, and not where it was accepted since."""
    remembered = await is_remembered(database, reader.cursor)
    if not remembered:
        why = f"{reader.service} has read the event log to {reader.cursor}, which this database has never given"
        await _note(database, reader, _NOTE, {"epoch": Cursor.parse(reader.cursor).epoch, "why": why})
    if absent := await lacking(database, reader.taken):
        last = max(absent, key=made_at)
        why = f"{reader.service} has taken in {len(absent)} events that are not here, the last one {last}"
        await _note(database, reader, _NOTE_TAKEN, {"made_at": made_at(last), "why": why})
    return remembered and not absent


async def _note(database: Database, reader: Reader, statement: str, values: Mapping[str, object]) -> None:
    async with database.messaging.begin() as connection:
        noted = (await connection.execute(text(statement), values)).one_or_none()
    if noted is not None:
        log.error(
            "this database has lost history: nothing is ended, refused or removed until `restored accept`",
            extra={"reader": reader.service, "cursor": reader.cursor, "why": values["why"]},
        )


async def accept(
    session: AsyncSession, readers: Sequence[Reader], *, installation: UUID | None, by: str, reason: str
) -> None:
    """Accept that history is lost: jobs end and remove again.

    Where readers have read another installation's log under our name, `installation` has to name one: this database is
    of that installation from now on. Raises NotThisDatabase: it names none of them, or one is to be named.
    """
    locked = text("select installation_id from installation for no key update")
    ours: UUID = (await session.execute(locked)).scalar_one()
    known = {reader.installation for reader in readers if reader.installation} - {ours}
    if installation not in {*known, ours, *([] if known else [None])}:
        names = ", ".join(f"{one.service} has read {one.installation}" for one in readers if one.installation in known)
        raise NotThisDatabase(f"this is {ours}; {names or 'no other was read'}: say which with --installation")
    epochs = [Cursor.parse(reader.cursor).epoch for reader in readers]
    values = {"installation": installation or ours, "epochs": [epoch for epoch in epochs if epoch]}
    await session.execute(text(_ACCEPT), values)
    said = {"by": by, "reason": reason, "installation": str(values["installation"])}
    log_once_committed(session, log, logging.WARNING, "lost history was accepted", said)


class History:
    """How far one process has caught up with the other services in the present epoch of its database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.round = 0
        """Counts the epochs this process has seen."""
        self.caught_up = asyncio.Event()
        """Set once, in this epoch, every feed was read to its end, all other services were asked how far they have read
        this log, and events that waited for another were tried again."""
        self._epoch: str | None = None
        self._since = asyncio.get_event_loop().time()

    async def look(self) -> State:
        """Return the database's state; where another epoch has begun, count as not caught up."""
        state = await state_of(self.database)
        if state.epoch != self._epoch:
            if self._epoch is not None:
                log.warning("the database is in another history", extra={"was": self._epoch, "now": state.epoch})
            self._epoch, self._since = state.epoch, asyncio.get_running_loop().time()
            self.round += 1
            self.caught_up.clear()
        return state

    async def note_compared(self) -> None:
        """Record that every other service was asked, in the epoch last seen by `look`, how far it has read this log."""
        async with self.database.messaging.begin() as connection:
            await connection.execute(text(_COMPARED), {"epoch": self._epoch})

    async def settled(self, *, for_seconds: float = 0.0) -> bool:
        """Return whether what cannot be undone may be done: this process has caught up, has seen the present epoch for
        so many seconds, and no history is lost."""
        if not self.caught_up.is_set() or asyncio.get_running_loop().time() < self._since + for_seconds:
            return False
        state = await self.look()
        return self.caught_up.is_set() and state.lost_at is None


_STATE: Final = f"""
    select ({PRESENT}) as epoch, history_lost_at, history_lost, history_accepted_at, installation_id from installation
"""  # noqa: S608 - constants
_IS_WHOLE: Final = f"select history_lost is null and compared_epoch = ({PRESENT}) from installation"  # noqa: S608 - as above
_COMPARED: Final = """
    update installation set compared_epoch = :epoch where compared_epoch is distinct from cast(:epoch as text)
"""
_POSITION: Final = "select cursor, installation from feed_positions where source = :source"
_TAKEN: Final = """
    (select id from inbox where source = :source order by id desc limit :most)
    union (select id from inbox_retry where source = :source order by id desc limit :most)
    order by id desc limit :most
"""
"""By the key's index. An id begins with the time it was made; it decides here only which events are looked at."""
_LACKING: Final = """
    select given.id from unnest(cast(:ids as uuid[])) as given (id)
    where (select true from outbox where outbox.id = given.id limit 1) is null
"""
"""Each by its index, whatever the planner knows of a log that was just restored."""
_NOTE_TAKEN: Final = """
    update installation set history_lost_at = now(), history_lost = :why
    where history_lost_at is null and (history_accepted_at < :made_at) is not false
    returning installation_id
"""
"""What was announced before a loss was accepted was lost then; the broker may bring it to a reader later."""
_NOTE: Final = """
    update installation set history_lost_at = coalesce(history_lost_at, now()),
        history_lost = coalesce(history_lost, :why), lost_epochs = lost_epochs || cast(:epoch as text)
    where cast(:epoch as text) <> all(lost_epochs)
    returning installation_id
"""
_ACCEPT: Final = """
    update installation set installation_id = :installation, history_lost_at = null, history_lost = null,
        history_accepted_at = now(), lost_epochs = array(
            (select unnest(lost_epochs || cast(:epochs as text[])) union select epoch from feed_epochs)
            except select epoch from feed_epochs where number = (select max(number) from feed_epochs)
        )
"""
