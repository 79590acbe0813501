"""Ownership of file stores: nothing is stored before this process has read that the store is this installation's.

Each process reads the owner itself, at its first upload and each minute, and relies on no other's finding.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select

from shared.database import Database
from shared.due_rows import set_aside
from shared.jobs import Work
from shared.messaging.tables import Installation, SetAside
from shared.storage import ObjectStorage, StorageUnavailable
from shared.uploads import UploadPolicy

JOB = "claim_store"
UNREAD = "whose it is was not read yet"


class ForeignStore(RuntimeError):
    """The file store belongs to another installation, or holds files this database knows nothing of."""


async def installation_id(database: Database) -> str:
    """Return the installation's id, which was made with the database and is the same in a restored copy."""
    async with database.transaction() as session:
        return str((await session.scalars(select(Installation.installation_id))).one())


def guard_store(work: Work) -> None:
    """Have the file store refuse uploads until it is known to be ours; each upload reads its owner until then."""

    async def look() -> None:
        await see_owner(work)

    storage = work.resource(ObjectStorage)
    storage.stranger, storage.look = UNREAD, look


async def see_owner(work: Work) -> None:
    """Read the store's owner, and claim a store without one that is empty, or most of whose files our rows name.

    Raises StorageUnavailable: the store cannot be read.
    """
    storage = work.resource(ObjectStorage)
    ours, owner = await installation_id(work.database), await storage.owner()
    if owner is None and await _is_known(work):
        await storage.claim(ours)
        owner = await storage.owner()  # another installation may have been quicker
    if owner is None:
        storage.stranger = "it belongs to nobody yet, and most of what it holds is named by no row here"
    else:
        storage.stranger = None if owner == ours else f"it belongs to the installation {owner}, and this is {ours}"


async def claim_store(work: Work) -> None:
    """Read the store's owner (`see_owner`), as a job of every process; ForeignStore and StorageUnavailable set it
    aside."""
    store, storage = work.resource(UploadPolicy).store, work.resource(ObjectStorage)
    wrong: Exception | None = None
    try:
        await see_owner(work)
    except StorageUnavailable as error:
        wrong = error
    else:
        if storage.stranger:
            wrong = ForeignStore(storage.stranger)
    if wrong:
        await set_aside(work, JOB, store, wrong)
        return
    async with work.database.transaction() as session:
        await session.execute(delete(SetAside).where(SetAside.job == JOB, SetAside.row_key == store))


async def _is_known(work: Work) -> bool:
    """Return whether the store is empty, or our rows name most of its files, judging by one page."""
    async for page in work.resource(ObjectStorage).pages():
        if page:
            return 2 * len(await named_of(work, [stored.key for stored in page])) >= len(page)
    return True


async def named_of(work: Work, keys: Sequence[str]) -> Collection[str]:
    """Return those of the keys that a row names."""
    if not keys:
        return ()
    async with work.database.transaction() as session:
        return await work.resource(UploadPolicy).named(session, keys)
