"""A check that simulator and tests are not blind: faults the platform had are brought back one by one, to be found."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Final

from simulation.faults import FAULTS
from simulation.life import Plan
from simulation.runs import Runs
from simulation.shrinking import kind_of

ROOT: Final = Path(__file__).parents[1]
TABLE: Final = ROOT / "docs" / "testing.md"
HEAD: Final = "| fault | the simulator, within how many seeds | its kind's test |\n|---|---|---|\n"
_ROW: Final = re.compile(r"^\| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)
_FAILED: Final = re.compile(r"^\d+ failed", re.MULTILINE)
AT_ONCE: Final = 2
"""Tests that run at once, each with a server of its own."""
NOTHING: Final = "**nothing**"
UNMEASURED: Final = "not measured"


class Looking:
    """The search for a fault by lives with it and without it: a violation that both have does not count."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._anyway: dict[int, set[str]] = {}

    async def search(self, needs: frozenset[str], fault: str, most: int) -> str | None:
        """Return within how many seeds a violation shows the fault, and which; None where `most` lives do not.

        Seeds whose behaviours cannot meet the fault are passed over.
        """
        at_once = len(self._runs.workers)
        able = (seed for seed in count() if needs <= Plan(seed).behaviours)
        for _ in range(0, most, at_once):
            found = await asyncio.gather(*(self._seen(seed, fault) for seed in islice(able, at_once)))
            for seed, kind in sorted(one for one in found if one is not None):
                return f"{seed + 1}: {kind}"
        return None

    async def _seen(self, seed: int, fault: str) -> tuple[int, str] | None:
        kinds = await self._kinds(seed, fault)
        if kinds and seed not in self._anyway:
            self._anyway[seed] = set(await self._kinds(seed, None))
        fresh = [kind for kind in kinds if kind not in self._anyway[seed]]
        return (seed, fresh[0]) if fresh else None

    async def _kinds(self, seed: int, fault: str | None) -> list[str]:
        ended = await self._runs.live(seed=seed, fault=fault)
        return [kind_of(one) for one in ended["violations"]]


async def fails(test: str, fault: str) -> bool:
    """Run a test with the fault. Returns whether the test fails, and so finds it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "simulation.bringing_back", test),
        cwd=ROOT,
        env={**os.environ, "FAULT": fault},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode == 1 and _FAILED.search(said.decode()) is not None


@dataclass(frozen=True)
class Found:
    """What found a fault, in the words of the table; where the simulator was not run, what the table said before."""

    simulator: str
    test: str

    @property
    def at_all(self) -> bool:
        return self.test != NOTHING or self.simulator[:1].isdigit()


async def _look(
    runs: Runs | None, fault: str, most: int, before: Found | None, testing: asyncio.Semaphore
) -> tuple[str, Found]:
    one = FAULTS[fault]
    lived = "" if one.needs is None else UNMEASURED if before is None else before.simulator
    if runs is not None and one.needs is not None:
        lived = await Looking(runs).search(one.needs, fault, most) or f"not in {most}"
    file, _, name = one.test.partition("::")
    test = f"{Path(file).parts[-3] if file.startswith('services') else Path(file).parts[0]}: {name}"
    async with testing:
        return fault, Found(lived, test if await fails(one.test, fault) else NOTHING)


async def show(runs: Runs | None, only: str | None, most: int) -> int:
    """Bring back all faults, or one, and write the table of docs/testing.md. Returns how many nothing found.

    Without `runs` only the tests are run.
    """
    before = {name: Found(lived, test) for name, lived, test in _ROW.findall(TABLE.read_text()) if name in FAULTS}
    missed, testing = 0, asyncio.Semaphore(AT_ONCE)
    names = [only] if only else list(FAULTS)
    for looking in asyncio.as_completed([_look(runs, name, most, before.get(name), testing) for name in names]):
        name, found = await looking
        missed += not found.at_all
        print(f"| {name} | {found.simulator} | {found.test} |", flush=True)
        before[name] = found
        _write(before)
    return missed


def _write(found: dict[str, Found]) -> None:
    rows = [f"| {name} | {found[name].simulator} | {found[name].test} |\n" for name in FAULTS if name in found]
    text = TABLE.read_text()
    begin = text.index(HEAD)
    end = text.index("\n\n", begin) + 1
    TABLE.write_text(text[:begin] + HEAD + "".join(rows) + text[end:])
