"""What the platform in one process does about the PostgreSQL beside it."""

import asyncio
import os
import signal

import asyncpg
import pytest

from embedded import platform
from embedded.postgres import Postgres


@pytest.mark.parametrize("ended_by", [signal.SIGQUIT, signal.SIGKILL])
async def test_a_postgres_that_was_ended_is_started_again_and_it_is_said(tmp_path, monkeypatch, capsys, ended_by):
    monkeypatch.setattr(platform, "SHORTEST_PAUSE", 0.1)
    async with Postgres(tmp_path / "postgres", {"fsync": "off"}) as server:
        keeping = asyncio.create_task(platform.keep_up(server))
        was = server.pid
        os.kill(was, ended_by)
        async with asyncio.timeout(30):
            while not server.running or server.pid == was:  # noqa: ASYNC110 - its start wakes nobody
                await asyncio.sleep(0.1)
            while True:
                try:
                    connection = await server.connect()
                    break
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.1)
        assert await connection.fetchval("select 1") == 1
        await connection.close()
        keeping.cancel()
        await asyncio.wait([keeping])
    assert set(capsys.readouterr().err.splitlines()) == {"PostgreSQL has ended; it is started again"}
