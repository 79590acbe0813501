"""The jobs of assessment."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from assessment.commands import boards, releases, windows
from assessment.queries.results import boards_under_way, releases_under_way, results_to_ratify, results_to_release
from assessment.queries.windows import windows_closed_since, windows_opened_since
from assessment.tables import Board, Release
from shared import orphans, store_owner, stored_files
from shared.database import fetch
from shared.due_rows import for_batches, for_each, for_each_in_transaction
from shared.jobs import REMOVES, Jobs, Work

jobs = Jobs()


@jobs.every(3600)
async def publish_windows(work: Work) -> None:
    """Publish the regular windows of the coming months."""
    async with work.database.transaction() as session:
        await windows.publish_coming_windows(session)


@jobs.every(5)
async def announce_windows(work: Work) -> None:
    """Announce the windows that have opened since the last time, then those that have closed."""
    opened, closed = windows_opened_since(work.now()), windows_closed_since(work.now())
    await for_each_in_transaction(work, "announce_openings", opened, windows.announce_opening)
    await for_each_in_transaction(work, "announce_closings", closed, windows.announce_closing)


@jobs.every(1)
async def release_results(work: Work) -> None:
    """Go on with the releases that were too large for their request."""
    if await work.database.finds(_RELEASES):
        await for_each(work, "releases", releases_under_way(), partial(_release, work))


@jobs.every(1)
async def ratify_results(work: Work) -> None:
    """Go on with the boards whose results were too many for their request."""
    if await work.database.finds(_BOARDS):
        await for_each(work, "boards", boards_under_way(), partial(_ratify, work))


_RELEASES = "select from releases where under_way limit 1"
_BOARDS = "select from boards where under_way limit 1"


async def _release(work: Work, release_id: UUID) -> None:
    async def some(attempt_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            release = await fetch(session, Release, release_id, lock=True)
            await releases.release_batch(session, release, attempt_ids)

    async with work.database.transaction() as session:
        due = results_to_release(await fetch(session, Release, release_id))
    await for_batches(work, "release_results", due, some, batch=releases.BATCH)
    async with work.database.transaction() as session:
        await releases.finish_release(session, release_id)


async def _ratify(work: Work, board_id: UUID) -> None:
    async def some(attempt_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            board = await fetch(session, Board, board_id, lock=True)
            await boards.ratify_batch(session, board, attempt_ids)

    async with work.database.transaction() as session:
        due = results_to_ratify(await fetch(session, Board, board_id))
    await for_batches(work, "ratify_results", due, some, batch=releases.BATCH)
    async with work.database.transaction() as session:
        await boards.finish_board(session, board_id)


@jobs.every(60, in_each_process=True)
async def claim_store(work: Work) -> None:
    await store_owner.claim_store(work)


@jobs.every(3600, effect=REMOVES)
async def remove_orphans(work: Work) -> None:
    """Remove stored files that no submission names: uploads refused at their end, repeated, or cut off by a crash."""
    await orphans.remove_orphans(work)


@jobs.every(60, effect=REMOVES)
async def retry_orphans(work: Work) -> None:
    await orphans.retry_orphans(work)


@jobs.every(60)
async def check_files(work: Work) -> None:
    await stored_files.check_files(work)
