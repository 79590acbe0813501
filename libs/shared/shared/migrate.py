"""Migrations: forward only, under a lock, with time-outs, so that a deployment never waits on a busy table for long."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import to_tuple
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

SHARED_VERSIONS = Path(__file__).parent / "migrations" / "versions"
LOCK = 7_251_001  # any number, the same for every migrator of a database
PATIENCE_SECONDS = 1800.0
"""How long to wait for another migrator: building an index of a large table takes time."""


def configuration(versions: Path) -> Config:
    """Return Alembic's settings for one service: its own versions beside the messaging branch."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    places = dict.fromkeys((SHARED_VERSIONS, versions))  # one, where the messaging branch is migrated alone
    config.set_main_option("version_locations", "\n".join(map(str, places)).replace("%", "%%"))
    return config


async def migrate(url: str, versions: Path) -> None:
    """Bring the database to the newest head of both branches; of two migrators at once one waits for the other.

    Raises TimeoutError: the other took longer than PATIENCE_SECONDS.
    """
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("set statement_timeout to '60s'"))
            await connection.execute(text("set lock_timeout to '4s'"))
            # The server does not learn that a migrator's machine died: the session, and the lock with it, is to end.
            await connection.execute(text("set idle_session_timeout to '60s'"))
            await connection.commit()
            async with asyncio.timeout(PATIENCE_SECONDS):
                # Held by the session, so that it outlives the migrations' own transactions. Polled, and not waited for
                # in a statement: an index that is built concurrently would wait for that statement in turn.
                while not await connection.scalar(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
                    await connection.commit()
                    await asyncio.sleep(0.2)
            await connection.commit()
            await connection.run_sync(_upgrade, versions)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, versions: Path) -> None:
    config = configuration(versions)
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


class Revisions:
    """The migrations of this release; reading them takes a while."""

    def __init__(self, versions: Path) -> None:
        script = ScriptDirectory.from_config(configuration(versions))
        self._wanted = set(script.get_heads())
        self._known = {revision.revision: revision for revision in script.walk_revisions()}

    async def fit(self, engine: AsyncEngine) -> bool:
        """Return whether the schema is at least the one of this release; a newer, compatible one is fine."""
        async with engine.connect() as connection:
            present = set(await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_heads()))
        # A revision we do not know is newer than ours; one we know that is no head is older. A branch that another one
        # depends on has no row of its own: it is implied by the other, also by a newer one we do not know.
        newer, older = present - self._known.keys(), (present & self._known.keys()) - self._wanted
        implied = {on for one in present & self._known.keys() for on in _dependencies(self._known, one)}
        return bool(present) and not older and (bool(newer) or self._wanted <= present | implied)


def _dependencies(known: Mapping[str, Script], revision: str) -> set[str]:
    """Return the revisions of other branches that a revision depends on, itself or through those before it."""
    found: set[str] = set()
    before: list[str] = [revision]
    while before:
        one = known[before.pop()]
        on = set(to_tuple(one.dependencies, ()))
        found |= on
        before += [*to_tuple(one.down_revision, ()), *on]
    return found
