"""Removal of orphans, stored files that no row names: a few at once into the trash, and after thirty days for good.

Files and rows lie in two stores, and either may have been restored, emptied or mistaken for another. So nothing is
deleted because the rows do not name it: a file waits in the trash, and a row that names it again brings it back. More
than a few at once are left for a person, and so is a store that is not known to be ours: the round is set aside
(`rows_set_aside`, `set-aside list`), and `python -m <service> files` shows and does the rest.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import exists, literal, select

from shared import telemetry
from shared.cli import Command
from shared.database import Database, Unknown
from shared.due_rows import for_each, retry
from shared.jobs import Work, run_exclusively
from shared.messaging.tables import SetAside
from shared.storage import ObjectStorage
from shared.store_owner import ForeignStore, claim_anew, claimed_at, installation_id, named_of
from shared.uploads import UploadPolicy

log = logging.getLogger(__name__)

JOB: Final = "remove_orphans"
TRASH_KEPT: Final = timedelta(days=30)


class TooManyOrphans(RuntimeError):
    """More than a few stored files are named by no row: the database may be an old, an empty or a wrong one."""


async def remove_orphans(work: Work) -> None:
    """Put old files that no row names into the trash, put back those named again, and delete those there for 30 days.

    Orphans are uploads refused at their end, repeated, cut off by a crash, or dropped with their row. What is there of
    uploads that never came whole is deleted once it is as old: no receipt was given for it, and no database can name
    it. The round is set aside by ForeignStore, TooManyOrphans and StorageUnavailable.
    """
    store = work.resource(UploadPolicy).store

    async def go(_: str) -> None:
        await _remove(work)

    await for_each(work, JOB, select(literal(store).label("store")), go)


async def retry_orphans(work: Work) -> None:
    """Run a round that was set aside again, once its pause is over or a person has decided (`files`).

    As a job of each minute: `remove_orphans` itself comes much later.
    """
    store = work.resource(UploadPolicy).store
    over = SetAside.job == JOB, SetAside.row_key == store, SetAside.due_at <= work.now()
    async with work.database.transaction() as session:
        due = await session.scalar(select(exists().where(*over)))
    if due:
        await run_exclusively(JOB, remove_orphans, work)


async def _remove(work: Work) -> None:
    storage, policy = work.resource(ObjectStorage), work.resource(UploadPolicy)
    if await storage.owner() != await installation_id(work.database):
        raise ForeignStore("nothing is removed from a store that is not ours")
    await _see_to_trash(work)
    await _delete_parts(work)
    orphans, count = await _orphans(work, policy.orphans_at_once)
    too_many = count > policy.orphans_at_once
    telemetry.orphaned_files.labels(policy.store).set(count if too_many else 0)
    if too_many:
        raise TooManyOrphans(f"{count} files are named by no row, and at most {policy.orphans_at_once} go at once")
    await _trash(work, orphans)


async def _orphans(work: Work, most: int | None = None) -> tuple[list[str], int]:
    """Return old files that no row names, at most so many of them, and how many there are in all."""
    before = work.now() - work.resource(UploadPolicy).orphan_age
    orphans: list[str] = []
    count = 0
    async for page in work.resource(ObjectStorage).pages():
        old = [stored.key for stored in page if stored.stored_at < before]
        known = await named_of(work, old)
        found = [key for key in old if key not in known]
        count += len(found)
        orphans += found if most is None else found[: most - len(orphans)]
    return orphans, count


async def _old_parts(work: Work) -> list[str]:
    """Return the parts of uploads that have not grown for the age of an orphan."""
    before = work.now() - work.resource(UploadPolicy).orphan_age
    return [part.key async for page in work.resource(ObjectStorage).parts() for part in page if part.stored_at < before]


async def _delete_parts(work: Work) -> None:
    parts = await _old_parts(work)
    for part in parts:
        await work.resource(ObjectStorage).delete_part(part)
    if parts:
        store = work.resource(UploadPolicy).store
        log.warning("parts of uploads that were cut off are deleted", extra={"store": store, "files": len(parts)})


async def _trash(work: Work, orphans: Sequence[str]) -> None:
    for key in orphans:
        await work.resource(ObjectStorage).trash(key, work.now().date())
    if orphans:
        store = work.resource(UploadPolicy).store
        log.info("files that no row names are in the trash", extra={"store": store, "files": len(orphans)})


async def _see_to_trash(work: Work) -> None:
    storage, store = work.resource(ObjectStorage), work.resource(UploadPolicy).store
    until = (work.now() - TRASH_KEPT).date()
    deleted = put_back = 0
    async for page in storage.trashed():
        known = await named_of(work, [one.key for one in page])
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


def files_command(resources: Callable[[], Mapping[type, Any]]) -> Command:  # Any: each is its own type
    """Return `python -m <service> files`: what a person does about a store that the job leaves alone."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser(
            "show", help="whose the store is, and how many files no row names, are parts, are in the trash"
        )
        for name, help_ in (
            ("trash", "put every file that no row names into the trash, however many"),
            ("claim", "let the store belong to this installation, whosever it was, or though it is a new one"),
        ):
            action = actions.add_parser(name, help=help_)
            action.add_argument("--by", required=True, help="who decides")
            action.add_argument("--reason", required=True)

    async def run(database: Database, chosen: argparse.Namespace) -> int:
        return await _do(Work(database, resources()), chosen)

    return Command("files", "the file store: whose it is, and what no row names", arguments, run)


async def _do(work: Work, chosen: argparse.Namespace) -> int:
    """Run the chosen action of the `files` command, print what the store holds then, and return the exit status."""
    storage, ours = work.resource(ObjectStorage), await installation_id(work.database)
    if chosen.action == "claim":
        await claim_anew(work)
    elif await storage.owner() != ours and chosen.action == "trash":
        sys.stderr.write("the store does not belong to this installation: claim it first\n")
        return 1
    orphans, count = await _orphans(work)
    if chosen.action == "trash":
        await _delete_parts(work)
        await _trash(work, orphans)
    if chosen.action != "show":
        with suppress(Unknown):
            async with work.database.transaction() as session:
                await retry(session, JOB, work.resource(UploadPolicy).store)
        log.warning("files: %s", chosen.action, extra={"by": chosen.by, "reason": chosen.reason, "files": count})
    trashed = sum([len(page) async for page in storage.trashed()])
    parts = len(await _old_parts(work))
    owner = await storage.owner()
    since = await claimed_at(work.database)
    nobody = "nobody" if since is None else f"nobody, and this installation has had its own since {since:%Y-%m-%d}"
    whose = "this installation" if owner == ours else owner or nobody
    left = 0 if chosen.action == "trash" else count
    sys.stdout.write(
        f"belongs to {whose}; {left} files named by no row; {parts} parts of uploads cut off; {trashed} in the trash\n"
    )
    return 0
