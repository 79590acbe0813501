"""Many lives at once: worker processes, each with a database server of its own, live one life after the other."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from embedded.postgres import Postgres
from simulation import base, rest
from simulation.databases import Databases, running
from simulation.partners import register_partner
from simulation.simulated_platform import SimulatedPlatform

JSON = dict[str, Any]  # Any: JSON
PATIENCE_SECONDS: Final = 600.0
"""How long one life may take, on a busy machine; one that takes longer is stuck."""
LONGEST_LINE: Final = 10_000_000


class Worker:
    """A worker process with its databases; started at its first task, and anew after a life that did not end."""

    def __init__(self, number: int, databases: Databases, begun: JSON) -> None:
        self._settings = {
            "sockets": str(databases.sockets),
            "data": str(databases.data),
            "worker": f"w{number}",
            "begun": begun,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def live(self, task: JSON) -> JSON:
        """Live one life in the worker's process. Returns its outcome; a life that does not end is a violation, too."""
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task).encode() + b"\n")
        try:
            async with asyncio.timeout(task.get("patience", PATIENCE_SECONDS)):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line:
            return json.loads(line)
        await self.stop()
        return {"seed": task.get("seed"), "violations": ["stuck: the life did not end"], "did": [], "seconds": 0.0}

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "simulation.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                cwd=Path(__file__).parents[1],
                env={**os.environ, "PYTHONHASHSEED": "0"},
            )
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(self._settings).encode() + b"\n")
        return self._process

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None


class Runs:
    """The workers, of which each life takes a free one."""

    def __init__(self, workers: list[Worker]) -> None:
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        self.workers = workers
        for worker in workers:
            self._free.put_nowait(worker)

    async def live(self, **task: Any) -> JSON:  # Any: JSON
        """Live one life, once a worker is free. Returns its outcome."""
        worker = await self._free.get()
        try:
            return await worker.live(task)
        finally:
            self._free.put_nowait(worker)

    async def each(self, seeds: Iterable[int]) -> AsyncIterator[JSON]:
        """Live all these seeds; yields their outcomes as they end."""
        for ended in asyncio.as_completed([asyncio.ensure_future(self.live(seed=seed)) for seed in seeds]):
            yield await ended


@asynccontextmanager
async def opened(workers: int) -> AsyncGenerator[Runs]:
    """Fill the databases every platform begins with, and start so many workers. To be used in a SimulatedLoop.

    Each worker has a server of its own: a feed ends before the oldest transaction of its whole server, be it another
    platform's.
    """
    with tempfile.TemporaryDirectory(prefix="mc-simulation-") as folder:
        first = Path(folder) / "base"
        async with running(first) as (server, databases):
            begun = await _begin(server, databases)
        async with AsyncExitStack() as stack:
            made: list[Worker] = []
            for number in range(workers):
                shutil.copytree(first, own := Path(folder) / f"w{number}")
                _, databases = await stack.enter_async_context(running(own))
                made.append(Worker(number, databases, begun))
                stack.push_async_callback(made[-1].stop)
            yield Runs(made)


async def _begin(server: Postgres, databases: Databases) -> JSON:
    """Fill the databases every platform begins with. Returns the courses and the partner of all platforms."""
    await databases.migrate(server, "base")
    platform = SimulatedPlatform(databases, "base", "base")
    with platform.exists():
        await platform.begin()
        await base.fill(platform)
        courses = await base.courses_of(platform)
        partner = await register_partner(platform, courses)
        await rest.settle(platform)
        await platform.end()
    return {"courses": courses, "partner": partner}
