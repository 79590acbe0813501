"""Stored files that no row names: by the handful into the trash of a store that is ours, and gone after thirty days.

Files and rows lie in two stores, and either may have been restored, emptied or mistaken for another. So nothing is
deleted because the rows do not name it: a file waits in the trash, and a row that names it again brings it back. More
than a handful at once is left for a person, and so is a store of another installation: the round is set aside
(`rows_set_aside`, `set-aside list`), and `files` says and does the rest.
"""

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared import telemetry
from shared.cli import Command
from shared.database import Database
from shared.due_rows import for_each
from shared.jobs import Work
from shared.messaging.tables import Installation
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy

log = logging.getLogger(__name__)

TRASH_KEPT: Final = timedelta(days=30)

Named = Callable[[AsyncSession, Sequence[str]], Awaitable[Collection[str]]]
"""Which of some keys a row names."""


class ForeignStore(RuntimeError):
    """The file store belongs to another installation, or holds files this database knows nothing of."""


class TooManyOrphans(RuntimeError):
    """More stored files than a handful are named by no row: the database may be an old, an empty or a wrong one."""


async def claim_store(work: Work, named: Named) -> None:
    """Write this installation's id into a store that has none; until then, and in a stranger's, nothing is put.

    Set aside: ForeignStore, StorageUnavailable.
    """
    await _watched(work, "claim_store", lambda: _claim(work, named))


async def remove_orphans(work: Work, named: Named) -> None:
    """Put old files that no row names into the trash (uploads refused at their end, repeated, cut off by a crash, or
    dropped with their row), put back what is named again, and delete what has lain there for thirty days.

    Set aside: ForeignStore, TooManyOrphans, StorageUnavailable.
    """
    await _watched(work, "remove_orphans", lambda: _remove(work, named))


async def _watched(work: Work, job: str, step: Callable[[], Awaitable[None]]) -> None:
    store = work.resource(UploadPolicy).store

    async def go(_: str) -> None:
        await step()

    await for_each(work, job, select(literal(store).label("store")), go)


async def _claim(work: Work, named: Named) -> None:
    storage, ours = work.resource(ObjectStorage), await installation_id(work.database)
    owner = await storage.owner()
    if owner is None:
        storage.stranger = not await _is_known(work, named)
        if storage.stranger:
            raise ForeignStore("it belongs to nobody yet, and most of what it holds is named by no row here")
        await storage.claim(ours)
        owner = await storage.owner()  # another one may have been quicker
    storage.stranger = owner != ours
    if storage.stranger:
        raise ForeignStore(f"it belongs to the installation {owner}, and this is {ours}")


async def _is_known(work: Work, named: Named) -> bool:
    """Whether the store is empty, or the rows name most of what it holds, as far as one page tells."""
    async for page in work.resource(ObjectStorage).pages():
        if page:
            return 2 * len(await _ask(work, named, [stored.key for stored in page])) >= len(page)
    return True


async def _remove(work: Work, named: Named) -> None:
    storage, policy = work.resource(ObjectStorage), work.resource(UploadPolicy)
    if await storage.owner() != await installation_id(work.database):
        raise ForeignStore("nothing is removed from a store that is not ours")
    await _see_to_trash(work, named)
    orphans, count = await _orphans(work, named, policy.orphans_at_once)
    too_many = count > policy.orphans_at_once
    telemetry.orphaned_files.labels(policy.store).set(count if too_many else 0)
    if too_many:
        raise TooManyOrphans(f"{count} files are named by no row, and at most {policy.orphans_at_once} go at once")
    await _trash(work, orphans)


async def _orphans(work: Work, named: Named, most: int | None = None) -> tuple[list[str], int]:
    """Old files that no row names, at most so many of them, and how many there are."""
    before = work.now() - work.resource(UploadPolicy).orphan_age
    orphans: list[str] = []
    count = 0
    async for page in work.resource(ObjectStorage).pages():
        old = [stored.key for stored in page if stored.stored_at < before]
        known = await _ask(work, named, old)
        found = [key for key in old if key not in known]
        count += len(found)
        orphans += found if most is None else found[: most - len(orphans)]
    return orphans, count


async def _trash(work: Work, orphans: Sequence[str]) -> None:
    for key in orphans:
        await work.resource(ObjectStorage).trash(key, work.now().date())
    if orphans:
        store = work.resource(UploadPolicy).store
        log.info("files that no row names are in the trash", extra={"store": store, "files": len(orphans)})


async def _see_to_trash(work: Work, named: Named) -> None:
    storage, store = work.resource(ObjectStorage), work.resource(UploadPolicy).store
    until = (work.now() - TRASH_KEPT).date()
    deleted = put_back = 0
    async for page in storage.trashed():
        known = await _ask(work, named, [one.key for one in page])
        for one in page:
            if one.key in known:
                await storage.put_back(one)
                put_back += 1
            elif one.since < until:
                await storage.delete(one.path)
                deleted += 1
    if deleted:
        log.info("files were deleted from the trash", extra={"store": store, "files": deleted})
    if put_back:
        log.warning("files in the trash are named again, and back", extra={"store": store, "files": put_back})


async def _ask(work: Work, named: Named, keys: Sequence[str]) -> Collection[str]:
    if not keys:
        return ()
    async with work.database.transaction() as session:
        return await named(session, keys)


async def installation_id(database: Database) -> str:
    """This database's own id, made with it; a restored copy has it too."""
    async with database.transaction() as session:
        return str((await session.scalars(select(Installation.installation_id))).one())


def files_command(resources: Callable[[], Mapping[type, Any]], named: Named) -> Command:  # Any: each is its own type
    """`python -m <service> files`: what a person does about a store the job leaves alone."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("show", help="whose the store is, how many files no row names, how many are in the trash")
        for name, help_ in (
            ("trash", "put every file that no row names into the trash, however many"),
            ("claim", "let the store belong to this installation, whosever it was"),
        ):
            action = actions.add_parser(name, help=help_)
            action.add_argument("--by", required=True, help="who decides")
            action.add_argument("--reason", required=True)

    async def run(database: Database, chosen: argparse.Namespace) -> int:
        work = Work(database, resources())
        storage, ours = work.resource(ObjectStorage), await installation_id(database)
        if chosen.action == "claim":
            await storage.claim(ours, anew=True)
        elif await storage.owner() != ours and chosen.action == "trash":
            sys.stderr.write("the store belongs to another installation: claim it first\n")
            return 1
        orphans, count = await _orphans(work, named)
        if chosen.action == "trash":
            await _trash(work, orphans)
        if chosen.action != "show":
            log.warning("files: %s", chosen.action, extra={"by": chosen.by, "reason": chosen.reason, "files": count})
        trashed = sum([len(page) async for page in storage.trashed()])
        owner = await storage.owner()
        whose = "this installation" if owner == ours else owner or "nobody"
        left = 0 if chosen.action == "trash" else count
        sys.stdout.write(f"belongs to {whose}; {left} files named by no row; {trashed} in the trash\n")
        return 0

    return Command("files", "the file store: whose it is, and what no row names", arguments, run)
