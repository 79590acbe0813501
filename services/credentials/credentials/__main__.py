"""The commands of credentials: those of every service, files, and the rebuild of all that is derived."""

import argparse
import sys
from uuid import UUID

from credentials.app import build
from credentials.commands import rebuild
from credentials.settings import Settings
from shared.cli import Command, main
from shared.database import Database
from shared.orphans import files_command


def _arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dry-run", action="store_true", help="say who would gain or lose what, and change nothing")
    what.add_argument("--apply", action="store_true", help="derive anew whoever differs, and announce it")
    parser.add_argument("--signed-off-by", help="who answers for what is applied")


async def _rebuild(database: Database, arguments: argparse.Namespace) -> int:
    """Return the exit code: 0 where nothing differs or what differed was applied, 1 where a dry run found something or
    a learner cannot be derived."""
    if arguments.apply and not arguments.signed_off_by:
        sys.stderr.write("--apply needs --signed-off-by\n")
        return 2
    differing: dict[UUID, int] = {}
    underivable = set[UUID]()
    async for one in rebuild.differences(database):
        if one.kind == "regulations":
            underivable.add(one.learner_id)
            sys.stdout.write(f"{one.learner_id}  cannot be derived: this release does not know {one.name}\n")
            continue
        differing[one.learner_id] = differing.get(one.learner_id, 0) + 1
        sys.stdout.write(f"{one.learner_id}  {'gains' if one.gained else 'loses'}  {one.kind}  {one.name}\n")
    sys.stdout.write(f"{sum(differing.values())} differences for {len(differing)} learners\n")
    if arguments.apply:
        derivable = [learner_id for learner_id in differing if learner_id not in underivable]
        count = await rebuild.apply(database, derivable, signed_off_by=arguments.signed_off_by)
        sys.stdout.write(f"{count} learners derived anew, signed off by {arguments.signed_off_by}\n")
        return 1 if underivable else 0
    return 1 if differing or underivable else 0


REBUILD = Command("rebuild", "derive everything anew from the facts and compare", _arguments, _rebuild)

FILES = files_command(lambda: build(Settings()).resources)  # pyright: ignore[reportCallIssue] - read from the environment

if __name__ == "__main__":
    main(Settings, build, [REBUILD, FILES])
