"""Writes a migration for what was changed in a service's tables.py: `write_migration SERVICE NAME`.

What is compared is a database of the migrations there are. Alembic does not see everything (no check constraint, no
predicate of an index): what the new migration leaves undone is said, to be written into it by hand.
"""

import argparse
import asyncio
import contextlib
import io
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from embedded.postgres import Postgres
from embedded.schema import FAST, MESSAGING, Comparison, tables_of, versions_of
from embedded.services import NAMES
from shared.messaging.tables import MessagingBase
from shared.migrate import configuration, migrate

LONGEST = 32
"""Characters of a revision's name for which Alembic's table has room."""


class Unwritten(Exception):
    """No migration is written; the message says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """A new migration, and the differences that it leaves."""

    path: Path
    undone: list[str] = field(default_factory=list[str])


def comparing(tables: MetaData) -> Mapping[str, Any]:  # Any: each option's own type
    """Return Alembic's options for comparing a database with these tables, without others' tables and partitions."""
    others = MessagingBase.metadata.tables.keys() - tables.tables.keys()

    def is_ours(name: str | None, kind: str, _: Mapping[str, str | None]) -> bool:
        return kind != "table" or not (name in others or str(name).startswith("outbox_"))

    return {"target_metadata": tables, "include_name": is_ours, "compare_server_default": True}


async def write_migration(server: Postgres, name: str, slug: str, versions: Path, tables: MetaData) -> Written:
    """Write the migration that brings a database from the migrations of this folder to these tables.

    Raises Unwritten: nothing was changed, or the name is not acceptable.
    """
    revision, config = f"{name}_{slug}", configuration(versions)
    script = ScriptDirectory.from_config(config)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug) or len(revision) > LONGEST:
        raise Unwritten(f"{revision}: lower-case words joined by _ are a name, of {LONGEST} characters at most")
    if any(one.revision == revision for one in script.walk_revisions()):
        raise Unwritten(f"{revision}: there is a migration of this name")
    comparison = await Comparison.of(server, name, versions, tables)
    if not await comparison.differences():
        raise Unwritten(f"{name}: the migrations make what tables.py says")
    heads = [one for one in script.get_revisions("heads") if Path(one.path).parent == versions]

    def write(connection: Connection) -> Script | list[Script | None] | None:
        config.attributes.update(connection=connection, comparing=comparing(tables))
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # about what SQLAlchemy cannot reflect
            return command.revision(
                config,
                slug.replace("_", " ").capitalize() + ".",
                autogenerate=True,
                head=heads[0].revision,
                version_path=versions,
                rev_id=revision,
            )

    engine = create_async_engine(comparison.url, poolclass=NullPool)
    async with engine.connect() as connection:
        made = await connection.run_sync(write)
    assert isinstance(made, Script)
    path = Path(made.path)
    _tidy(path)
    await migrate(comparison.url, versions)
    return Written(path, await comparison.differences())


def _tidy(path: Path) -> None:
    """Format the file as all our code: without Alembic's own comments and unused imports."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.strip().startswith("# ###")))
    ruff = Path(sys.executable).with_name("ruff")
    for words in (["check", "--quiet", "--fix-only", "--exit-zero"], ["format", "--quiet"]):
        subprocess.run([ruff, *words, path], check=False)


async def _write(name: str, slug: str) -> Written:
    with tempfile.TemporaryDirectory(prefix="mc-schema-") as folder:
        async with Postgres(Path(folder) / "postgres", FAST) as server:
            return await write_migration(server, name, slug, versions_of(name), tables_of(name))


def main() -> int:
    """Write a migration. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make migration", description=__doc__)
    parser.add_argument("service", choices=(*NAMES, MESSAGING))
    parser.add_argument("name", help="what it creates, as lower-case words joined by _")
    given = parser.parse_args()
    try:
        written = asyncio.run(_write(given.service, given.name))
    except Unwritten as why:
        print(why, file=sys.stderr)
        return 1
    print(f"{written.path}: look through it before you keep it")
    if written.undone:
        print("It leaves undone:", *written.undone, sep="\n- ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
