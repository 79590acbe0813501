"""PostgreSQL servers of a test's own: transaction ids from their beginning, dumps, snapshots of the disk."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from embedded.postgres import Postgres, _bin_dir
from shared.messaging.event_log import YEARS_AHEAD
from shared.migrate import migrate

from . import delivery
from .messaging_nodes import ServiceNode


def cluster(folder: Path, settings: Mapping[str, str | int] | None = None) -> Postgres:
    """To be started. What commits without waiting for the log is written late, so that a crash loses it for certain."""
    return Postgres(folder, {"fsync": "off", "wal_writer_delay": "10s", **(settings or {})})


async def producer(server: Postgres, name: str = "payments") -> ServiceNode:
    """A service of the delivery suite on this server, migrated."""
    url = await server.create_role_and_database(name)
    await migrate(url, delivery.VERSIONS)
    return ServiceNode(name, url)


@pytest.fixture
async def server(tmp_path):
    async with cluster(tmp_path / "original") as running:
        yield running


@pytest.fixture
async def original(server):
    """The payments of the delivery suite, on `server`."""
    made = await producer(server)
    yield made
    await made.database.dispose()


async def drop(server: Postgres, database: str = "payments") -> None:
    connection = await server.connect()
    await connection.execute(f"drop database {database} with (force)")
    await connection.close()


async def next_xid(server: Postgres) -> int:
    connection = await server.connect()
    try:
        found = await connection.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        assert isinstance(found, int)
        return found
    finally:
        await connection.close()


async def spend_xids(server: Postgres, until: int) -> None:
    """Use up transaction ids until the next one is that, or already higher."""
    connection = await server.connect()
    try:
        while await connection.fetchval("select pg_current_xact_id()::text::bigint") < until - 1:
            pass
    finally:
        await connection.close()


async def dump(server: Postgres, database: str, into: Path) -> None:
    await _run(
        "pg_dump", "--format=custom", f"--file={into}", f"--host={server.socket_dir}", "--username=postgres", database
    )


async def restore(server: Postgres, database: str, dumped: Path) -> ServiceNode:
    url = await server.create_role_and_database(database)
    await _run(
        "pg_restore",
        "--exit-on-error",
        f"--host={server.socket_dir}",
        "--username=postgres",
        f"--dbname={database}",
        str(dumped),
    )
    return ServiceNode(database, url)


def snapshot(server: Postgres, into: Path) -> None:
    """The disk as it is at one instant, as a storage system would copy it."""
    server.freeze()
    try:
        into.mkdir(mode=0o700)
        shutil.copytree(server.data_dir / "cluster", into / "cluster")
    finally:
        server.thaw()


async def _run(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        _bin_dir() / program, *arguments, env={**os.environ, "PGPORT": "5432"}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def part_from(driver, first_year: int) -> None:
    """Begin an event log, which is empty, anew: a part a year from this one to the years to come."""
    for (name,) in await driver.fetch(
        "select cast(inhrelid::regclass as text) from pg_inherits where inhparent = 'outbox'::regclass"
    ):
        await driver.execute(f"drop table {name}")
    before = f"outbox_to_{first_year - 1}"
    await driver.execute(f"create table {before} (like outbox including defaults, primary key (position), unique (id))")
    for index in (
        "(position) where sent_at is null",
        "(xid, position)",
        "(type, xid, position) include (created_at)",
    ):
        await driver.execute(f"create index on {before} {index}")
    await driver.execute(
        f"alter table outbox attach partition {before} for values from (minvalue) to ('{first_year}-01-01 00:00Z')"
    )
    last = await driver.fetchval("select cast(extract(year from now()) as integer)") + YEARS_AHEAD
    for year in range(first_year, last + 1):
        await driver.execute("select add_outbox_parts($1)", year)
