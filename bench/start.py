"""`make run` as a newcomer meets it: a clone of what is committed, from the command to the first answer, twice."""

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.measuring import Bench, Limit, Result
from embedded import ports
from embedded.process import Process

_ROOT = Path(__file__).parents[1]
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def measure(bench: Bench) -> list[Result]:
    clone = bench.folder / "clone"
    cloning = await asyncio.create_subprocess_exec("git", "clone", "--quiet", str(_ROOT), str(clone))
    if await cloning.wait():
        raise RuntimeError(f"{_ROOT} could not be cloned")
    port = ports.suggest(len(ports.NAMES))
    first, second = await _start(clone, port), await _start(clone, port)
    return [
        Result("make run, warm package cache", "s to first answer", first, Limit(60, 40, at_most=True), "installs"),
        Result("make run, second start", "s to first answer", second, Limit(10, 6, at_most=True), "finds its data"),
    ]


async def _start(clone: Path, port: int) -> float:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MC_", "VIRTUAL_ENV"))}
    env = {**kept, "MC_PORT": str(port)}
    began = time.perf_counter()
    # Not SIGINT: make would leave that to the terminal, which sends a Ctrl-C to everything it runs.
    process = Process(["make", "-C", str(clone), "run"], log=clone.parent / "run.log", env=env, ending=signal.SIGTERM)
    try:
        while not await asyncio.to_thread(_answers, f"http://127.0.0.1:{port}/v1/courses?limit=1"):
            if not process.running:
                raise RuntimeError(f"make run ended: {process.output()}")
            await asyncio.sleep(0.05)
        return time.perf_counter() - began
    finally:
        await process.stop()


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5) as answer:
            return answer.status == 200 and b'"slug"' in answer.read()
    except (urllib.error.URLError, OSError):
        return False
