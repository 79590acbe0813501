"""Ownership of file stores: nothing is stored but where the store says at that moment that it is this installation's.

Each process reads the owner itself, before and after each upload and each minute, and relies on no other's finding. A
database that has had a store takes no other for it, however empty: the volume may not be mounted, the bucket or prefix
may be another. Where the store really is new a person says so: `python -m <service> files claim`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update

from shared.database import Database
from shared.due_rows import set_aside
from shared.file_checks import Checked
from shared.jobs import Work
from shared.messaging.tables import Installation, SetAside
from shared.storage import ObjectStorage, StorageUnavailable
from shared.uploads import UploadPolicy

JOB = "claim_store"
UNREAD = "whose it is was not read yet"


class ForeignStore(RuntimeError):
    """The file store belongs to another installation, holds files this database knows nothing of, or is empty though
    this database has one."""


async def installation_id(database: Database) -> str:
    """Return the installation's id, which was made with the database and is the same in a restored copy."""
    return str((await _installation(database))[0])


async def claimed_at(database: Database) -> datetime | None:
    """Return since when this database is known to have a file store; None where it had none yet."""
    return (await _installation(database))[1]


async def _installation(database: Database) -> tuple[UUID, datetime | None]:
    async with database.transaction() as session:
        columns = select(Installation.installation_id, Installation.store_claimed_at)
        row = (await session.execute(columns)).one()
    return row.installation_id, row.store_claimed_at


def guard_store(work: Work) -> None:
    """Have the file store refuse uploads until it is known to be ours; each upload reads its owner."""

    async def look() -> None:
        await see_owner(work)

    storage = work.resource(ObjectStorage)
    storage.stranger, storage.look = UNREAD, look


async def see_owner(work: Work) -> None:
    """Read the store's owner, and claim a store without one where this database had none before: one that is empty
    while no row names a file, or most of whose files our rows name.

    Raises StorageUnavailable: the store cannot be read.
    """
    storage = work.resource(ObjectStorage)
    (id_, since), owner = await _installation(work.database), await storage.owner()
    ours, missing = str(id_), "its mark of this installation is gone again"
    if owner is None:
        refused = await _refused(work, since)
        if refused is None:
            await storage.claim(ours)
            owner = await storage.owner()  # another installation may have been quicker
        missing = refused or missing
    if owner == ours and since is None and storage.lasts:
        await _remember(work.database)
    if owner is None:
        storage.stranger = missing
    else:
        storage.stranger = None if owner == ours else f"it belongs to the installation {owner}, and this is {ours}"


async def claim_anew(work: Work) -> None:
    """Make the store this installation's because a person says so, whichever it belonged to and however empty it is.

    Raises StorageUnavailable.
    """
    await work.resource(ObjectStorage).claim(await installation_id(work.database), anew=True)
    await _remember(work.database)


async def _remember(database: Database) -> None:
    async with database.transaction() as session:
        never = Installation.store_claimed_at.is_(None)
        await session.execute(update(Installation).where(never).values(store_claimed_at=database.clock()))


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


async def _refused(work: Work, since: datetime | None) -> str | None:
    """Return why a store without an owner is not taken for ours, judging by one page of its files; None where it is."""
    storage = work.resource(ObjectStorage)
    if since is not None and storage.lasts:
        return f"it does not say whose it is, and this installation has had its own since {since:%Y-%m-%d}"
    async for page in storage.pages():
        if page:
            if 2 * len(await named_of(work, [stored.key for stored in page])) >= len(page):
                return None
            return "it belongs to nobody yet, and most of what it holds is named by no row here"
    async with work.database.transaction() as session:
        if storage.lasts and await work.resource(UploadPolicy).names_any(session):
            return "it belongs to nobody yet and is empty, and rows here name files"
    return None


async def named_of(work: Work, keys: Sequence[str]) -> Mapping[str, Checked]:
    """Return the keys that rows name, each with the size and digest that its row has of the file."""
    if not keys:
        return {}
    async with work.database.transaction() as session:
        return await work.resource(UploadPolicy).named(session, keys)
