"""Shrinking of a failing life to the smallest that still fails: fewer behaviours, fewer steps."""

from collections.abc import Sequence
from typing import Any, Final

from simulation.life import STEPS
from simulation.runs import Runs

JSON = dict[str, Any]  # Any: JSON
MOST_TRIALS: Final = 60


def kind_of(violation: str) -> str:
    """Return the kind of a violation: its text without the ids and values."""
    return ":".join(violation.split(":")[:2])[:100]


class Shrinking:
    def __init__(self, runs: Runs, failed: JSON) -> None:
        self._runs = runs
        self.seed: int = failed["seed"]
        self.kind = kind_of(failed["violations"][0])
        self.without: list[str] = []
        self.dropped: list[int] = []
        self.steps = STEPS
        self.last = failed
        self._trials = 0

    async def shrink(self) -> JSON:
        """Return the smallest life found that fails in the same way."""
        for behaviour in self.last.get("behaviours", []):
            if await self._fails(without=[*self.without, behaviour]):
                self.without.append(behaviour)
        await self._cut()
        await self._drop()
        return self.last

    async def _cut(self) -> None:
        """Cut the life off after as few steps as still fail."""
        low = 0
        while self.steps - low > 4 and self._trials < MOST_TRIALS:
            middle = (low + self.steps) // 2
            if await self._fails(steps=middle):
                self.steps = middle
            else:
                low = middle

    async def _drop(self) -> None:
        size = max(self.steps // 4, 1)
        while size and self._trials < MOST_TRIALS:
            for first in range(0, self.steps, size):
                chunk = [step for step in range(first, min(first + size, self.steps)) if step not in self.dropped]
                if chunk and self._trials < MOST_TRIALS and await self._fails(dropped=[*self.dropped, *chunk]):
                    self.dropped += chunk
            size //= 2

    async def _fails(
        self,
        *,
        without: Sequence[str] | None = None,
        dropped: Sequence[int] | None = None,
        steps: int | None = None,
    ) -> bool:
        self._trials += 1
        tried = await self._runs.live(
            seed=self.seed,
            without=self.without if without is None else without,
            dropped=self.dropped if dropped is None else dropped,
            steps=self.steps if steps is None else steps,
        )
        if not any(kind_of(one) == self.kind for one in tried["violations"]):
            return False
        self.last = tried
        return True
