"""Jobs row by row: each due row in transactions of its own, and a row that fails set aside for a person to see.

A row that is set aside is skipped for a while and tried again after longer and longer pauses; meanwhile the others go
on. The gauge `rows_set_aside` counts them, `python -m <service> set-aside list` shows them.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from sqlalchemy import Select, Text, cast, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from shared import telemetry
from shared.committed_log import log_once_committed
from shared.database import Unknown
from shared.errors import Unavailable
from shared.jobs import Work
from shared.messaging.dead_lettering import printable
from shared.messaging.tables import SetAside
from shared.outages import is_being_cancelled, is_contention, is_database_down

log = logging.getLogger(__name__)

K = TypeVar("K")
A = TypeVar("A")

BATCH: Final = 100
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
AWAY_AT_MOST: Final = 3
"""After so many rows one after the other that fail because an outside system is away, the rest of the round waits."""
AWAY_AGAIN_AT_MOST: Final = 1
"""The same of rows that failed before: each may hang until its limit, and what is newly due waits meanwhile."""


async def for_each(
    work: Work, job: str, due: Select[K], handle: Callable[[K], Awaitable[object]], *, batch: int = BATCH
) -> None:
    """Handle every row whose key `due` selects, in its order, each once.

    `handle` opens its own transactions and checks again that the row is still due: another replica may handle it at the
    same time. Rows that failed before come last, in the order in which their pauses ended. A row whose handling raises
    is set aside. So is one for which an outside system is away (Unavailable); after AWAY_AT_MOST of these one after the
    other, or AWAY_AGAIN_AT_MOST that failed before, the round ends, and the rest stays due. Raises when the database is
    away.
    """
    await _Round(work, job, due, batch).walk(handle)


async def for_each_in_transaction(
    work: Work,
    job: str,
    due: Select[K],
    handle: Callable[[AsyncSession, K], Awaitable[object]],
    *,
    batch: int = BATCH,
) -> None:
    """Handle every due row as `for_each` does, each in one transaction, which `handle` is given."""

    async def alone(key: K) -> None:
        async with work.database.transaction() as session:
            await handle(session, key)

    await for_each(work, job, due, alone, batch=batch)


async def for_batches(
    work: Work,
    job: str,
    due: Select[K],
    handle: Callable[[Sequence[K]], Awaitable[object]],
    *,
    batch: int = BATCH,
) -> None:
    """Handle every due row as `for_each` does, for work that is cheaper in batches.

    `handle` gets a batch of keys, and where that raises, each of them alone, so that only the bad ones are set aside.
    It must leave nothing half done when it raises.
    """
    await _Round(work, job, due, batch).walk_batches(handle)


class _Round(Generic[K]):
    """One walk of a job over its due rows."""

    def __init__(self, work: Work, job: str, due: Select[K], batch: int) -> None:
        self._work, self._job, self._batch = work, job, batch
        self._began = work.now()
        self._key = key = due.selected_columns[0]
        aside = aliased(SetAside)  # `due` may itself be of rows that were set aside
        failed = aside.job == job, aside.row_key == cast(key, Text)
        pause_ends = select(aside.due_at).where(*failed).scalar_subquery()
        # Those that never failed come first: however many others fail, they do not wait for them.
        self._passes = [
            due.where(~exists().where(*failed)).limit(batch),
            due.where(pause_ends <= self._began).order_by(None).order_by(pause_ends).limit(batch),
        ]
        self._seen: set[K] = set()
        self._again: set[K] = set()
        """Rows handled in this round and still due: they are handled again in the next one."""

    async def walk(self, handle: Callable[[K], Awaitable[object]]) -> None:
        away = 0
        while keys := await self._take():
            for key in keys:
                error = await self._try(handle, key, key)
                away = away + 1 if _is_away(error) else 0
                if self._failed_before and error is None:
                    await forget(self._work, self._job, self._began, key)  # the round may not come to its end
                if away >= (AWAY_AGAIN_AT_MOST if self._failed_before else AWAY_AT_MOST):
                    log.warning("the outside world is away; what is left waits", extra={"job": self._job})
                    return
        # All that is due was looked at.
        await forget(self._work, self._job, self._began)

    async def walk_batches(self, handle: Callable[[Sequence[K]], Awaitable[object]]) -> None:
        while keys := await self._take():
            try:
                await handle(keys)
            except Exception as error:
                if _is_away(error) or not is_the_row(error):
                    raise
                log.warning("a batch failed; each row alone", extra={"job": self._job}, exc_info=error)
                for key in keys:
                    await self._try(handle, [key], key)
        # All that is due was looked at.
        await forget(self._work, self._job, self._began)

    @property
    def _failed_before(self) -> bool:
        return len(self._passes) == 1

    async def _take(self) -> list[K]:
        """Return the next rows that were not handled in this round; none when all were."""
        async with self._work.database.transaction() as session:
            while True:
                statement = self._passes[0].where(self._key.not_in(self._again)) if self._again else self._passes[0]
                keys = (await session.scalars(statement)).all()
                fresh = [key for key in dict.fromkeys(keys) if key not in self._seen]
                self._again |= self._seen.intersection(keys)
                self._seen.update(fresh)
                if fresh:
                    return fresh
                if len(keys) < self._batch:
                    if self._failed_before:
                        return []
                    del self._passes[0]

    async def _try(self, handle: Callable[[A], Awaitable[object]], argument: A, key: K) -> Exception | None:
        try:
            await handle(argument)
        except Exception as error:
            if not is_the_row(error):
                raise
            await set_aside(self._work, self._job, key, error)
            return error
        return None


async def set_aside(work: Work, job: str, key: object, error: Exception, session: AsyncSession | None = None) -> None:
    """Record that a row failed; jobs that do not find their rows by `for_each` call it themselves, and `forget`.

    It is recorded with what the session's transaction does, where one is given, else by itself.

    Its pause grows with each failure, since a bad row seldom mends itself; where an outside system is away it is always
    a minute.
    """
    away = _is_away(error)
    level = logging.WARNING if away or is_contention(error) else logging.ERROR
    telemetry.rows_failed.labels(job).inc()
    at = work.now()
    state = {"failed_at": at, "due_at": at + FIRST_PAUSE, "last_error": printable(repr(error))}
    async with work.database.transaction() if session is None else nullcontext(session) as recording:
        log_once_committed(recording, log, level, "row set aside", {"job": job, "row": str(key)}, error)
        failures = await recording.scalar(
            insert(SetAside)
            .values(job=job, row_key=str(key), failures=1, first_failed_at=at, **state)
            .on_conflict_do_update(index_elements=["job", "row_key"], set_={"failures": SetAside.failures + 1, **state})
            .returning(SetAside.failures)
        )
        if not away:
            pause = min(FIRST_PAUSE * 2 ** min((failures or 1) - 1, 16), LONGEST_PAUSE)
            await recording.execute(
                update(SetAside).where(SetAside.job == job, SetAside.row_key == str(key)).values(due_at=at + pause)
            )


async def forget(work: Work, job: str, until: datetime, key: object = None) -> None:
    """Delete the records of rows, or of the one with this key, whose pause had ended by then and that were not set
    aside again: they were handled, or are due no more."""
    statement = delete(SetAside).where(SetAside.job == job, SetAside.due_at <= until)
    async with work.database.transaction() as session:
        await session.execute(statement if key is None else statement.where(SetAside.row_key == str(key)))


def _is_away(error: Exception | None) -> bool:
    return isinstance(error, Unavailable) and not error.answered


def is_the_row(error: Exception) -> bool:
    """Return whether an error concerns this row, rather than this process, which is being stopped, or the database,
    which is away."""
    return not is_being_cancelled() and (is_contention(error) or not is_database_down(error))


async def list_set_aside(session: AsyncSession) -> Sequence[SetAside]:
    """Return the rows that are set aside, by when they first failed."""
    return (await session.scalars(select(SetAside).order_by(SetAside.first_failed_at, SetAside.row_key))).all()


async def failures_of(session: AsyncSession, job: str, key: object, *, like: type[Exception]) -> int:
    """Return how often the job has failed on this row one time after the other, the last time with an error like this;
    0 where it failed otherwise, or not."""
    statement = select(SetAside.failures).where(
        SetAside.job == job, SetAside.row_key == str(key), SetAside.last_error.startswith(like.__name__)
    )
    return await session.scalar(statement) or 0


async def count_set_aside(session: AsyncSession) -> int:
    """Return how many rows are set aside."""
    return await session.scalar(select(func.count()).select_from(SetAside)) or 0


async def retry(session: AsyncSession, job: str, row_key: str) -> None:
    """Have the job handle this row again in its next round.

    Raises Unknown: the job has not set it aside.
    """
    found = await session.scalar(
        update(SetAside)
        .where(SetAside.job == job, SetAside.row_key == row_key)
        .values(due_at=SetAside.failed_at)
        .returning(SetAside.row_key)
    )
    if found is None:
        raise Unknown(f"{job} has set no row {row_key} aside")
