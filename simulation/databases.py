"""The databases of platforms: migrated and filled once, and copied anew for every seed.

In them `now()` and its sisters are functions of the schema `public`, made before the migrations and found before those
of `pg_catalog` by the search path: they read the platform's instant from a file.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from embedded.postgres import Postgres
from embedded.services import NAMES, versions_of
from shared.migrate import migrate
from simulation.instants import BEGIN, written

SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": 0,
    "max_connections": 500,
    "shared_buffers": "256MB",
    "log_min_messages": "fatal",
}
_connect = asyncpg.connect  # the real one, which no platform has patched
_ROLE: Final = {
    "search_path": "public, pg_catalog",
    "statement_timeout": 0,
    "lock_timeout": "'60s'",
    "idle_in_transaction_session_timeout": 0,
}
"""Settings of the services' roles: no time of the machine decides anything; lock holders go on by the scheduler."""
_CLOCKS: Final = ("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp")
_CLOCK: Final = """
    create function public.{name}() returns timestamptz language plpgsql stable security definer as
    $$ begin return pg_read_file('instants/' || current_database())::timestamptz; end $$
"""


class Databases:
    """The databases of one PostgreSQL server, which this process or its parent keeps running."""

    def __init__(self, sockets: Path, data: Path) -> None:
        self.sockets, self.data = sockets, data
        self.instants = data / "cluster" / "instants"

    async def connect(self, database: str = "postgres") -> Any:  # Any: asyncpg ships no types
        return await _connect(host=str(self.sockets), port=5432, user="postgres", database=database)

    def url(self, worker: str, service: str) -> str:
        return f"postgresql+asyncpg://sim_{service}@/{worker}_{service}?host={self.sockets}&port=5432"

    def urls(self, worker: str) -> dict[str, str]:
        return {name: self.url(worker, name) for name in NAMES}

    def clocks(self, worker: str) -> list[Path]:
        return [self.instants / f"{worker}_{name}" for name in NAMES]

    async def migrate(self, server: Postgres, worker: str) -> None:
        """Make a migrated database for every service, whose clock is the platform's."""
        self.instants.mkdir(exist_ok=True)
        for clock in self.clocks(worker):
            clock.write_text(written(BEGIN))
        admin = await self.connect()
        for name in NAMES:
            await server.create_role_and_database(f"sim_{name}")
            for setting, value in _ROLE.items():
                await admin.execute(f"alter role sim_{name} set {setting} = {value}")
            await admin.execute(f"create database {worker}_{name} owner sim_{name}")
            there = await self.connect(f"{worker}_{name}")
            for clock in _CLOCKS:
                await there.execute(_CLOCK.format(name=clock))
            await there.close()
        await admin.close()
        for name in NAMES:
            await migrate(self.url(worker, name), versions_of(name))

    async def copy(self, source: str, worker: str) -> None:
        """Replace the worker's databases by copies of the source's."""
        admin = await self.connect()
        for name in NAMES:
            await admin.execute(f"drop database if exists {worker}_{name} with (force)")
            await admin.execute(
                f"create database {worker}_{name} template {source}_{name} owner sim_{name} strategy file_copy"
            )
        await admin.close()

    async def until_gone(self, pids: set[int]) -> None:
        """Wait until these backends have ended and so released their dead client's locks."""
        admin = await self.connect()
        while await admin.fetchval("select exists (select from pg_stat_activity where pid = any($1))", pids):
            await admin.execute("select pg_terminate_backend(pid) from unnest($1::int[]) pid", list(pids))
            await admin.execute("select pg_sleep(0.001)")
        await admin.close()


@asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[tuple[Postgres, Databases]]:
    async with Postgres(folder / "postgres", SETTINGS) as server:
        yield server, Databases(server.socket_dir, server.data_dir)
