"""Migrations: forward only, under a lock, with time-outs, so that a deployment never waits on a busy table for long."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.database import Database

SHARED_VERSIONS = Path(__file__).parent / "migrations" / "versions"
LOCK = 7_251_001  # any number, the same for every migrator of a database


def configuration(versions: Path) -> Config:
    """Alembic's settings for one service: its own versions beside the messaging branch."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{SHARED_VERSIONS}\n{versions}".replace("%", "%%"))
    return config


async def migrate(url: str, versions: Path) -> None:
    """Bring the database to the newest head of both branches. Two at once: one waits for the other."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            # Held by the session, so that it outlives the migrations' own transactions.
            await connection.execute(text("set lock_timeout to '60s'"))
            await connection.execute(text("set statement_timeout to '60s'"))
            await connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
            await connection.execute(text("set lock_timeout to '4s'"))
            await connection.commit()
            await connection.run_sync(_upgrade, versions)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, versions: Path) -> None:
    config = configuration(versions)
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


async def is_migrated(database: Database, versions: Path) -> bool:
    """Whether the schema is at least what this release was written for; a newer, compatible one is fine."""
    script = await asyncio.to_thread(ScriptDirectory.from_config, configuration(versions))
    wanted = set(script.get_heads())
    async with database.messaging.connect() as connection:
        present = set(await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_heads()))
    known = {revision.revision for revision in script.walk_revisions()}
    # A revision we do not know is newer than ours; one we know that is no head is older. One stands per branch.
    newer, older = present - known, (present & known) - wanted
    return not older and len(wanted - present) <= len(newer)
