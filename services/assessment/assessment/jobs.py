from assessment import queries
from assessment.commands import windows
from shared.files import UploadPolicy
from shared.jobs import Jobs, Work
from shared.storage import ObjectStorage

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
async def remove_orphans(work: Work) -> None:
    """Delete stored files that no submission names: uploads refused at their end, repeated, or cut off by a crash."""
    storage = work.resource(ObjectStorage)
    before = work.now() - work.resource(UploadPolicy).orphan_age
    async for page in storage.pages():
        old = [stored.key for stored in page if stored.stored_at < before]
        if not old:
            continue
        async with work.database.transaction() as session:
            named = await queries.known_keys(session, old)
        for key in old:
            if key not in named:
                await storage.delete(key)
