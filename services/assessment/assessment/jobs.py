from collections.abc import Collection, Sequence

from assessment import queries
from assessment.commands import windows
from shared import uploads
from shared.jobs import Jobs, Work
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy

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

    async def known(keys: Sequence[str]) -> Collection[str]:
        async with work.database.transaction() as session:
            return await queries.known_keys(session, keys)

    before = work.now() - work.resource(UploadPolicy).orphan_age
    await uploads.remove_orphans(work.resource(ObjectStorage), stored_before=before, known=known)
