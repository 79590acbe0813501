"""How a comparison is made: alternating rounds, medians, a ratio, and what it must be."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limit:
    """What a figure has to reach, if anything; `at_most` where less is better."""

    must: float | None
    goal: float | None
    stretch: float | None = None
    at_most: bool = False

    def verdict(self, value: float) -> str:
        """The highest of the three that is reached; FAIL below must, `below` where there is only a goal, else `-`."""

        def reached(bound: float | None) -> bool:
            return bound is not None and (value <= bound if self.at_most else value >= bound)

        names = {"stretch": self.stretch, "goal": self.goal, "must": self.must}
        missed = "FAIL" if self.must else "below" if self.goal else "-"
        return next((name for name, bound in names.items() if reached(bound)), missed)


@dataclass(frozen=True)
class Result:
    """One line of the table: a figure beside the yardstick it was measured against."""

    subject: str
    measure: str
    value: float
    limit: Limit
    detail: str

    @property
    def verdict(self) -> str:
        return self.limit.verdict(self.value)


Round = Callable[[], Awaitable[float]]
"""One measurement; returns a rate (per second) or a duration."""


async def alternate(rounds: int, measured: Mapping[str, Round]) -> dict[str, float]:
    """The median of each, measured in turn, so that whatever else the machine does falls on all alike."""
    seen: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            seen[name].append(await measure())
    return {name: statistics.median(values) for name, values in seen.items()}


async def rate(count: int, work: Awaitable[object]) -> float:
    """How many per second, where the work does `count` of them."""
    began = time.perf_counter()
    await work
    return count / (time.perf_counter() - began)


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


@dataclass(frozen=True)
class Bench:
    """What the measurements share: how often, and a folder of this run's own."""

    folder: Path
    rounds: int = 3
    short: bool = False
    """A trial run: a tenth of the work, figures that mean little."""

    def size(self, full: int) -> int:
        return max(full // 10, 50) if self.short else full


def stolen() -> tuple[int, int]:
    """The time that other guests of the host took from our cores, and all time, so far; nothing where none is
    reported."""
    try:
        times = list(map(int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]))
    except FileNotFoundError:
        return 0, round(time.monotonic())
    return times[7], sum(times)
