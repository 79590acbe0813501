"""Whether the simulator sees: faults that the platform had are brought back one by one, and must be found."""

import asyncio
from itertools import count, islice

from simulation.faults import FAULTS
from simulation.life import Plan
from simulation.runs import Runs
from simulation.shrinking import kind_of


class Looking:
    """Lives with a fault and without it: what is violated anyway is not what finds it."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._anyway: dict[int, set[str]] = {}

    async def search(self, fault: str, most: int) -> tuple[str, str] | None:
        """What sees it, and within how many seeds, of which those that cannot meet it are passed over."""
        needs, at_once = FAULTS[fault].needs, len(self._runs.workers)
        able = (seed for seed in count() if needs <= Plan(seed).behaviours)
        for _ in range(0, most, at_once):
            found = await asyncio.gather(*(self._seen(seed, fault) for seed in islice(able, at_once)))
            for seed, kind in sorted(one for one in found if one is not None):
                return kind, f"{seed + 1}"
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


async def show(runs: Runs, only: str | None, most: int) -> int:
    """Print the table (fault, found by, seeds); how many were not found."""
    names = [only] if only else list(FAULTS)
    looking, missed = Looking(runs), 0
    print("| fault | found by | seeds |\n|---|---|---|", flush=True)
    for name in names:
        found = await looking.search(name, most)
        missed += found is None
        by, seeds = found or ("**nothing**", f"not in {most}")
        print(f"| {name} | {by} | {seeds} |", flush=True)
    return missed
