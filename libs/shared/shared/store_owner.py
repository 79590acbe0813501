"""Whose a file store is: nothing is put there before this process has read that it is this installation's.

Each process looks for itself, at its first upload and each minute: what another one has found out, or written down as
set aside, opens no store here.
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
    """This database's own id, made with it; a restored copy has it too."""
    async with database.transaction() as session:
        return str((await session.scalars(select(Installation.installation_id))).one())


def guard_store(work: Work) -> None:
    """Let nothing be put into the file store before it is known to be ours; at each upload it is looked at until it
    is."""

    async def look() -> None:
        await see_owner(work)

    storage = work.resource(ObjectStorage)
    storage.stranger, storage.look = UNREAD, look


async def see_owner(work: Work) -> None:
    """Read whose the store is, and write this installation's id into one that has none and is empty, or of which the
    rows name most. Raises StorageUnavailable."""
    storage = work.resource(ObjectStorage)
    ours, owner = await installation_id(work.database), await storage.owner()
    if owner is None and await _is_known(work):
        await storage.claim(ours)
        owner = await storage.owner()  # another one may have been quicker
    if owner is None:
        storage.stranger = "it belongs to nobody yet, and most of what it holds is named by no row here"
    else:
        storage.stranger = None if owner == ours else f"it belongs to the installation {owner}, and this is {ours}"


async def claim_store(work: Work) -> None:
    """Look whose the store is (`see_owner`), in every process. Set aside, for a person to see: ForeignStore,
    StorageUnavailable."""
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
    """Whether the store is empty, or the rows name most of what it holds, as far as one page tells."""
    async for page in work.resource(ObjectStorage).pages():
        if page:
            return 2 * len(await named_of(work, [stored.key for stored in page])) >= len(page)
    return True


async def named_of(work: Work, keys: Sequence[str]) -> Collection[str]:
    """Which of the keys a row names."""
    if not keys:
        return ()
    async with work.database.transaction() as session:
        return await work.resource(UploadPolicy).named(session, keys)
