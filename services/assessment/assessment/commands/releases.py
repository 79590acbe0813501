"""Releasing results of a window, in batches, each of which is committed. Boards ratify results in the same way.

What is asked for is a row, and so is how far it has come. A window with few results is done with the request itself.
Else a job goes on with it, also after a crash: a result changes its state in the transaction that announces it, so that
none is announced twice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from sqlalchemy import Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands.marking import release_some
from assessment.domain import marks
from assessment.queries.results import results_to_release
from assessment.tables import Board, Release, Window
from shared.committed_log import log_once_committed
from shared.database import fetch, lock_number, now
from shared.ids import new_id
from shared.outages import is_contention, is_database_down

log = logging.getLogger(__name__)

BATCH = 250
"""How many results one transaction takes: a quarter of a second."""


async def release_window(session: AsyncSession, actor: str, window_id: UUID) -> Release:
    """Release every result of a window that is marked, but for those in which the actor has an interest.

    Raises ResultsBusy.
    """
    await fetch(session, Window, window_id)
    await take_results(session, window_id)
    release = Release(
        release_id=new_id(),
        window_id=window_id,
        released_by=actor,
        requested_at=now(session),
        expected=0,
        released=0,
        passed=0,
        under_way=True,
    )
    session.add(release)
    await session.flush()
    found = results_to_release(release)
    release.expected = await count(session, found)
    if await done_at_once(session, release, found, lambda ids: release_batch(session, release, ids)):
        release.under_way = False
    return release


async def release_batch(session: AsyncSession, release: Release, attempt_ids: Sequence[UUID]) -> None:
    """Release those of these attempts that the release may. The release must be locked."""
    released = await release_some(session, release.released_by, attempt_ids)
    release.released += len(released)
    release.passed += sum(bool(attempt.passed) for attempt in released)
    release.reached = max(attempt_ids)


async def finish_release(session: AsyncSession, release_id: UUID) -> None:
    """Close a release that has dealt with all its results."""
    release = await fetch(session, Release, release_id, lock=True)
    release.under_way = False
    said = {"window": str(release.window_id), "released": release.released}
    log_once_committed(session, log, logging.INFO, "results released", said)


async def take_results(session: AsyncSession, window_id: UUID) -> None:
    """Lock a window's results: they are released or ratified by one at a time. Raises ResultsBusy."""
    busy = "the results of this window are being released or ratified"
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(lock_number("results", window_id)))):
        raise marks.ResultsBusy(busy, headers={"Retry-After": "5"})
    for table in (Release, Board):
        if await session.scalar(select(exists().where(table.window_id == window_id, table.under_way))):
            raise marks.ResultsBusy(busy, headers={"Retry-After": "5"})


async def count(session: AsyncSession, found: Select[UUID]) -> int:
    return await session.scalar(select(func.count()).select_from(found.order_by(None).subquery())) or 0


async def done_at_once(
    session: AsyncSession,
    work: Release | Board,
    found: Select[UUID],
    handle: Callable[[Sequence[UUID]], Awaitable[None]],
) -> bool:
    """Handle these results at once if they are few; return whether that is done.

    Where it fails it is left to the job, which sets the bad result aside.
    """
    if (work.expected or 0) > BATCH:
        return False
    attempt_ids = (await session.scalars(found)).all()
    if not attempt_ids:
        return True
    try:
        async with session.begin_nested():
            await handle(attempt_ids)
    except Exception as error:
        if is_database_down(error) and not is_contention(error):
            raise
        log_once_committed(session, log, logging.WARNING, "results are left to the job", error=error)
        await session.refresh(work)
        return False
    return True
