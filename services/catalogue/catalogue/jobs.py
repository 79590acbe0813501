"""The catalogue's jobs."""

from functools import partial
from uuid import UUID

from catalogue.commands.reference import renew_some_listings
from catalogue.queries.rows import renamed_subjects
from shared.due_rows import for_each
from shared.jobs import Jobs, Work

jobs = Jobs()

_RENAMED = "select from subjects where renewed_up_to is not null limit 1"


@jobs.every(1)
async def renew_listings(work: Work) -> None:
    """Renew the listings of renamed subjects, each batch in a transaction of its own, so that no editor waits long."""
    if await work.database.finds(_RENAMED):
        await for_each(work, "renew_listings", renamed_subjects(), partial(_renew, work))


async def _renew(work: Work, subject_id: UUID) -> None:
    more = True
    while more:
        async with work.database.transaction() as session:
            more = await renew_some_listings(session, subject_id)
