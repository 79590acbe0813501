from assessment import queries
from assessment.commands import windows
from shared import orphans
from shared.jobs import FIRST_HOUR, Jobs, Work

jobs = Jobs()


@jobs.every(3600)
async def publish_windows(work: Work) -> None:
    async with work.database.transaction() as session:
        await windows.publish_coming_windows(session)


@jobs.every(5)
async def announce_windows(work: Work) -> None:
    async with work.database.transaction() as session:
        await windows.announce_windows(session)


@jobs.every(3600)
async def claim_store(work: Work) -> None:
    await orphans.claim_store(work, queries.known_keys)


@jobs.every(3600, first_after=FIRST_HOUR)
async def remove_orphans(work: Work) -> None:
    """Stored files that no submission names: uploads refused at their end, repeated, or cut off by a crash."""
    await orphans.remove_orphans(work, queries.known_keys)
