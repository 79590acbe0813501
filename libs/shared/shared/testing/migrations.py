"""Databases as an earlier release has left them, for tests of what a migration makes of their rows."""

from pathlib import Path

from alembic import command
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared.migrate import configuration


async def migrated_until(url: str, versions: Path, revision: str) -> AsyncEngine:
    """Migrate an empty database up to this revision of a service, and return an engine for it, to be disposed of.

    `versions`: the folder of the service's migrations.
    """

    def until(connection: Connection) -> None:
        config = configuration(versions)
        config.attributes["connection"] = connection
        for one in ("messaging@head", revision):
            command.upgrade(config, one)

    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:  # a revision may commit within
        await connection.run_sync(until)
        await connection.commit()
    return engine
