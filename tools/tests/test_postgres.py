import asyncio
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from embedded import supervise
from embedded.postgres import Postgres, PostgresError, _unprivileged


async def fetch(server, query, **to):
    connection = await server.connect(**to)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def execute(server, *statements):
    connection = await server.connect()
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_whatever_the_locale_the_text_is_unicode(postgres, monkeypatch):
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")  # where i becomes İ, and which is not installed here
    monkeypatch.setenv("LANG", "xx_XX.none")
    async with postgres:
        assert await fetch(postgres, "SHOW server_encoding") == "UTF8"
        assert await fetch(postgres, "SELECT upper('ifé')") == "IFÉ"


async def test_the_callers_postgres_variables_lead_nowhere_else(running, monkeypatch):
    for name, value in {"PGPORT": "6000", "PGHOST": "elsewhere", "PGUSER": "nobody", "PGDATA": "/x"}.items():
        monkeypatch.setenv(name, value)
    engine = create_async_engine(running.url())
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_user")) == "postgres"
    await engine.dispose()


async def test_only_a_private_socket_listens(postgres):
    async with postgres:
        assert await fetch(postgres, "SHOW listen_addresses") == ""
        assert stat.S_IMODE(postgres.socket_dir.stat().st_mode) == 0o700
    assert not postgres.socket_dir.exists()


async def test_no_permission_is_changed_above_the_data(postgres):
    folders = postgres.data_dir.parents
    postgres.data_dir.parent.mkdir()
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in folders]
    async with postgres:
        assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in folders] == before
        owner = (postgres.data_dir / "cluster").stat().st_uid
        assert owner == os.geteuid()


async def test_a_long_path_still_has_a_short_socket(tmp_path):
    deep = tmp_path.joinpath(*["a folder with a long name"] * 8)
    async with Postgres(deep, {"fsync": "off"}) as server:
        assert len(str(server.socket_dir)) < 80
        assert await fetch(server, "SELECT 1") == 1


async def test_a_socket_folder_of_somebody_else_is_refused(postgres):
    postgres.socket_dir.mkdir(mode=0o777)
    postgres.socket_dir.chmod(0o777)
    try:
        with pytest.raises(PostgresError, match="not a private folder"):
            await postgres.start()
    finally:
        postgres.socket_dir.rmdir()


@pytest.fixture
def runtime_folder(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_the_runtime_folder_is_preferred_where_it_can_be_used(tmp_path, runtime_folder, monkeypatch):
    assert Postgres(tmp_path).socket_dir.parent == runtime_folder
    for unusable in ("", "/run/it's quoted", "/run/" + "long" * 30, str(runtime_folder / "none")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert len(Postgres(tmp_path).socket_dir.parts) == 3  # right below the temporary folder


def test_the_runtime_folder_of_another_user_is_left_alone(tmp_path, runtime_folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: runtime_folder.stat().st_uid + 1)
    monkeypatch.setattr(os, "access", lambda *_: True)  # as root sees it
    assert Postgres(tmp_path).socket_dir.parent != runtime_folder


@pytest.mark.parametrize("torn", ["", "\n", "4"])
async def test_a_process_id_of_which_a_power_cut_left_half_does_not_bar_the_start(postgres, torn):
    await postgres.start()
    await postgres.kill()
    (postgres.data_dir / "cluster" / "postmaster.pid").write_text(torn)
    async with postgres:
        assert await fetch(postgres, "SELECT 1") == 1


async def test_settings_reach_the_server(running):
    assert await fetch(running, "SHOW fsync") == "off"
    assert await fetch(running, "SHOW max_connections") == "30"
    assert await fetch(running, "SHOW timezone") == "UTC"


async def test_a_second_start_finds_the_data(postgres):
    async with postgres:
        await execute(postgres, "CREATE TABLE kept AS SELECT 7 AS number")
    async with Postgres(postgres.data_dir, {"fsync": "off"}) as again:
        assert await fetch(again, "SELECT number FROM kept") == 7


@pytest.mark.parametrize("sign", ['"', "$", "`"])
async def test_a_path_that_a_shell_would_read_is_reported_by_its_sign(tmp_path, sign):
    with pytest.raises(PostgresError, match=f"holds {re.escape(sign)}, which a shell would read"):
        await Postgres(tmp_path / f"da{sign}ta").start()


async def test_where_shared_memory_has_no_room_files_do(postgres, monkeypatch):
    monkeypatch.setattr("embedded.postgres.SHARED_MEMORY", 1 << 62)
    async with postgres:
        assert await fetch(postgres, "SHOW dynamic_shared_memory_type") == "mmap"


async def test_a_log_grown_long_begins_anew(postgres, monkeypatch):
    monkeypatch.setattr("embedded.process.LOG_BYTES", 10)
    async with postgres:
        pass
    async with postgres:
        assert postgres.log.read_text().count("starting PostgreSQL") == 1
    assert postgres.log.with_name("postgres.log.1").exists()


async def test_what_was_committed_survives_kill_9(tmp_path):
    server = await Postgres(tmp_path / "data").start()
    address = server.url()
    await execute(server, "CREATE TABLE kept AS SELECT 7 AS number")
    open_connection = await server.connect()
    pid = server.pid
    await server.kill()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await open_connection.fetchval("SELECT 1")
    with pytest.raises(OSError, match=r"[Rr]efused"):
        await server.connect()
    async with server:
        assert server.pid != pid
        assert server.url() == address
        assert await fetch(server, "SELECT number FROM kept") == 7


async def test_a_process_id_since_given_to_another_program_does_not_bar_the_start(postgres):
    await postgres.start()
    await postgres.kill()
    pid_file = postgres.data_dir / "cluster" / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    bystander = await asyncio.create_subprocess_exec("sleep", "60", cwd="/")
    try:
        pid_file.write_text(f"{bystander.pid}\n{rest}")
        async with postgres:
            assert await fetch(postgres, "SELECT 1") == 1
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_dead_server_that_nobody_has_collected_does_not_bar_the_start(postgres):
    await postgres.start()
    await postgres.kill()
    pid_file = postgres.data_dir / "cluster" / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    uncollected = await asyncio.to_thread(subprocess.Popen, ["true"])
    try:
        await asyncio.to_thread(os.waitid, os.P_PID, uncollected.pid, os.WEXITED | os.WNOWAIT)
        pid_file.write_text(f"{uncollected.pid}\n{rest}")
        async with postgres:
            assert await fetch(postgres, "SELECT 1") == 1
    finally:
        await asyncio.to_thread(uncollected.wait)


async def test_an_interrupted_creation_is_begun_anew(postgres):
    half = postgres.data_dir / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with postgres:
        assert await fetch(postgres, "SELECT 1") == 1
    assert not half.exists()


async def test_the_same_server_is_not_started_twice(running):
    with pytest.raises(PostgresError, match="already started"):
        await running.start()


PARENT = """
import asyncio, sys
from pathlib import Path
from embedded.postgres import Postgres
async def main():
    async with Postgres(Path(sys.argv[1]), {"fsync": "off"}) as server:
        print(server.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture
def another_process(tmp_path):
    """A Python process that runs a server on tmp_path / "data", and the server's process id."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "data"], stdout=subprocess.PIPE)
    with parent.stdout:
        yield parent, int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    parent.wait()


async def test_a_second_copy_reads_who_has_the_data(another_process, tmp_path):
    parent, _ = another_process
    with pytest.raises(PostgresError, match=f"already running on .*process {parent.pid}"):
        await Postgres(tmp_path / "data").start()


async def test_the_server_ends_when_its_parent_is_killed(another_process, tmp_path, alive):
    parent, pid = another_process
    parent.kill()
    # The next start waits for the orphan's orderly end by itself.
    async with Postgres(tmp_path / "data", {"fsync": "off"}) as server:
        assert not alive(pid)
        assert await fetch(server, "SELECT 1") == 1
    assert "not properly shut down" not in server.log.read_text()


async def test_a_frozen_server_ends_with_its_parent_too(another_process, tmp_path, alive):
    parent, pid = another_process
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    async with Postgres(tmp_path / "data", {"fsync": "off"}):
        assert not alive(pid)


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_server_whose_leash_was_killed_as_well_bars_no_start(another_process, tmp_path, alive):
    parent, pid = another_process
    os.kill(parent_of(pid), signal.SIGKILL)
    parent.kill()
    async with Postgres(tmp_path / "data", {"fsync": "off"}) as server:
        assert not alive(pid)
        assert await fetch(server, "SELECT 1") == 1
    assert "not properly shut down" not in server.log.read_text()


def test_a_program_ends_whose_owner_is_killed_before_it_learns_of_it():
    """Else a server is left that nobody holds, and it bars every later start."""
    for _ in range(5):
        reading, narrate = os.pipe()
        os.close(reading)
        command = [sys.executable, "-IS", supervise.__file__, str(int(signal.SIGTERM)), "", "sleep", "60"]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=narrate, timeout=20, check=False)
        os.close(narrate)
        assert ended.returncode == signal.SIGTERM


async def test_the_private_folder_goes_with_the_server_whatever_becomes_of_its_owner(another_process, tmp_path, alive):
    parent, pid = another_process
    folder = Postgres(tmp_path / "data").socket_dir
    assert folder.exists()
    parent.kill()
    for _ in range(1000):
        if not folder.exists():
            break
        await asyncio.sleep(0.02)
    assert not folder.exists()
    assert not alive(pid)


async def test_ctrl_c_ends_both(another_process, alive):
    parent, pid = another_process
    parent.send_signal(signal.SIGINT)
    parent.wait(timeout=10)
    assert not alive(pid)


@pytest.mark.parametrize("moment", [0, 0.03, 0.2, 0.5])
async def test_a_cancelled_start_leaves_nothing_running(postgres, new_children, moment):
    start = asyncio.create_task(postgres.start())
    await asyncio.sleep(moment)
    start.cancel()
    await asyncio.wait([start])
    assert start.cancelled() or moment == 0.5  # by then a fast machine may have it started
    await postgres.stop()
    assert new_children() == set()
    async with postgres:
        assert await fetch(postgres, "SELECT 1") == 1


async def test_a_frozen_server_hangs_and_thaws(running):
    connection = await running.connect()
    running.freeze()
    query = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([query], timeout=0.5)
    assert not done
    running.thaw()
    assert await query == 1
    await connection.close()


async def test_a_frozen_server_can_be_stopped(postgres, alive):
    await postgres.start()
    pid = postgres.pid
    postgres.freeze()
    await postgres.stop()
    assert not alive(pid)


async def test_one_services_role_cannot_open_anothers_database(running):
    await running.create_role_and_database("payments")
    await running.create_role_and_database("enrolment")
    assert await fetch(running, "SELECT 1", database="payments", user="payments") == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await running.connect(database="enrolment", user="payments")


async def test_a_services_role_is_bounded_and_owns_its_database(running):
    await running.create_role_and_database("payments")
    address = await running.create_role_and_database("payments")  # again: nothing changes
    engine = create_async_engine(address)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE orders (id int)"))
        for setting, value in {
            "statement_timeout": "5s",
            "lock_timeout": "1s",
            "idle_in_transaction_session_timeout": "10s",
        }.items():
            assert await connection.scalar(text(f"SHOW {setting}")) == value
        assert await connection.scalar(text("SHOW is_superuser")) == "off"
    await engine.dispose()


async def test_alembic_takes_the_address_as_it_is(postgres):
    from alembic.config import Config

    config = Config()
    config.set_main_option("sqlalchemy.url", postgres.url("payments", "payments"))  # % would be refused
    assert config.get_main_option("sqlalchemy.url") == postgres.url("payments", "payments")


async def test_data_of_another_version_are_refused(postgres):
    cluster = postgres.data_dir / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresError, match="PostgreSQL 15 but this is 18"):
        await postgres.start()


async def test_a_server_that_cannot_start_says_why(postgres):
    broken = Postgres(postgres.data_dir, {"shared_buffers": "lots"})
    with pytest.raises(PostgresError, match=r'invalid value for parameter "shared_buffers"'):
        await broken.start()


@pytest.mark.parametrize("script", ["#!/bin/sh\necho 'Operation not permitted' >&2; exit 1\n", None])
async def test_root_without_user_namespaces_reads_what_to_do(postgres, tmp_path, monkeypatch, script):
    if script:
        (tmp_path / "unshare").write_text(script)
        (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PostgresError, match=r"as an ordinary user, or allow user namespaces"):
        await postgres.start()


@pytest.mark.parametrize(("user", "apart"), [("root", True), ("without a name", True), ("ordinary", False)])
def test_only_those_whom_postgresql_refuses_get_a_user_namespace(monkeypatch, tmp_path, user, apart):
    named = pwd.getpwall()
    uid = {"root": 0, "without a name": max(entry.pw_uid for entry in named) + 1, "ordinary": named[1].pw_uid}[user]
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert _unprivileged(tmp_path, tmp_path) == (["unshare", "--user", "--"] if apart else [])
