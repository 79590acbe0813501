"""Other programs a comparison needs: nginx, wrk, a bare FastAPI; and which core each of them gets."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from embedded import supervise
from embedded.postgres import Postgres
from embedded.process import Process

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32

Command = Sequence[str | Path]


class ProgramMissing(RuntimeError):
    """A program of the system that a comparison needs is not installed."""


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise ProgramMissing(f"{name} is not installed (Debian: apt-get install {name})")
    return found


def on_core(core: int) -> list[str]:
    """Ties a command to one core where there are two."""
    return [program("taskset"), "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def tie(server: Postgres, core: int) -> None:
    """Keep a database server on one core; the backends it starts from now on stay there too."""
    if (os.cpu_count() or 1) > 1:
        for pid in supervise.tree(server.pid):
            os.sched_setaffinity(pid, {core})


@contextmanager
def ourselves_on(core: int) -> Generator[None]:
    """This process on one core for a while."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def running(
    command: Command, core: int | None, log: Path, port: int, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Process]:
    """A server on one core, or on any, from when it listens until the end."""
    env = {**os.environ, **(environment or {})}
    process = Process([*(on_core(core) if core is not None else []), *command], log=log, env=env, ending=signal.SIGTERM)
    try:
        async with asyncio.timeout(60):
            while not await _listens(port):
                if not process.running:
                    raise RuntimeError(f"{command[0]} ended: {process.output()}")
                await asyncio.sleep(0.05)
        yield process
    finally:
        await process.stop()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def nginx(folder: Path, name: str, port: int, location: str) -> Command:
    """The command of an nginx with one worker and one location."""
    home = folder / name
    home.mkdir()
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; keepalive_requests 100000000;\n"
        f"  client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;\n"
        f"  uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;\n"
        "  upstream behind { server 127.0.0.1:1; keepalive 64; }\n"
        f"  server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}\n"
    )
    return [program("nginx"), "-p", home, "-c", home / "nginx.conf"]


def fastapi(body: bytes, folder: Path, port: int) -> Command:
    """The command of a FastAPI without a database, which answers everything with these bytes."""
    file = folder / f"body-{port}.json"
    file.write_bytes(body)
    return [sys.executable, "-m", "bench.bare", str(port), str(file)]


EACH_ANOTHER = Path(__file__).with_name("each_another.lua")
"""Makes every request another one, so that no answer is there before it is asked for."""


async def wrk(url: str, seconds: int, headers: dict[str, str] | None = None, *, script: Path | None = None) -> float:
    """Answers per second. Raises RuntimeError where any of them was none or an error."""
    options = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    options += ["-s", str(script)] if script else []
    command = [*on_core(LOAD_CORE), program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, url]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    printed = output.decode()
    found = re.search(r"Requests/sec:\s+([0-9.]+)", printed)
    if found is None or "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(printed)
    return float(found[1])


def two_kilobytes() -> str:
    return json.dumps({"items": [{"id": number, "text": "x" * 40} for number in range(30)]})[:2048]
