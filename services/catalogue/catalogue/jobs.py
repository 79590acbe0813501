"""The catalogue's jobs."""

from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.commands import listings, reference
from catalogue.queries.rows import renamed_subjects
from shared.due_rows import for_each, for_each_in_transaction, is_the_row, set_aside
from shared.jobs import Jobs, Work
from shared.messaging.tables import SetAside

jobs = Jobs()

_RENAMED = "select from subjects where renewed_up_to is not null limit 1"
_LISTED: Final = "renew_listing"


@jobs.every(1)
async def renew_listings(work: Work) -> None:
    """Renew the listings of renamed subjects, each batch in a transaction of its own, so that no editor waits long."""
    if await work.database.finds(_RENAMED):
        await for_each(work, "renew_listings", renamed_subjects(), partial(_renew, work))


async def _renew(work: Work, subject_id: UUID) -> None:
    more = True
    while more:
        try:
            async with work.database.transaction() as session:
                more = await reference.renew_some_listings(session, subject_id)
        except Exception as error:
            if not is_the_row(error) or not await _renew_one_by_one(work, subject_id):
                raise


async def _renew_one_by_one(work: Work, subject_id: UUID) -> bool:
    """Go past courses whose listings cannot be renewed, and set them aside for `renew_listings_again`.

    Returns whether there were any courses.
    """
    async with work.database.transaction() as session:
        reached, course_ids = await reference.next_courses(session, subject_id)
    if reached is None or not course_ids:
        return False
    for course_id in course_ids:
        try:
            async with work.database.transaction() as session:
                await listings.renew_listings(session, [course_id])
        except Exception as error:
            if not is_the_row(error):
                raise
            await set_aside(work, _LISTED, course_id, error)
    async with work.database.transaction() as session:
        await reference.go_past(session, subject_id, reached, course_ids)
    return True


@jobs.every(30)
async def renew_listings_again(work: Work) -> None:
    """Try again to renew the listings of courses for which it failed when their subject was renamed."""

    async def renew(session: AsyncSession, row_key: str) -> None:
        await listings.renew_listings(session, [UUID(row_key)])

    failed = select(SetAside.row_key).where(SetAside.job == _LISTED).order_by(SetAside.first_failed_at)
    await for_each_in_transaction(work, _LISTED, failed, renew)
