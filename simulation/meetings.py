"""How a job is run: by one replica, by two at once, or with something happening in its middle."""

import random
import re
from collections import Counter
from functools import partial
from typing import Any, Final

from sqlalchemy import event

from simulation.activities import Activity, current
from simulation.replicas import Replica
from simulation.simulated_platform import SimulatedPlatform

_WRITES: Final = re.compile(r"\s*(with\b.*?\)\s*)?(insert|update|delete)\b", re.IGNORECASE | re.DOTALL)


class Meeting:
    """Runs a job by one replica."""

    def __init__(self, platform: SimulatedPlatform) -> None:
        self.platform = platform
        self.wrote: Counter[str] = Counter()
        """By the activity's name: how many rows a run of a job has written."""

    async def do(self, service: str, job: str) -> bool:
        """Run the job. Returns whether it wrote anything."""
        return await self._end([await self._begin(service, 0, job, None)])

    async def before(self) -> None:
        """Called when something is about to happen."""

    async def after(self) -> None:
        """Called when it has happened, and all events about it are delivered."""

    async def _begin(self, service: str, number: int, job: str, gates: int | None) -> Activity:
        replica = self.platform.replicas[service][number]
        name = f"job {job} on {replica}"
        self.wrote[name] += 0
        return await self.platform.happen(name, random.Random(name), partial(replica.run_job, job, alone=False), gates)

    async def _end(self, activities: list[Activity]) -> bool:
        for activity in activities:
            while not activity.done:
                await self.platform.go_on(activity, None)
        wrote = [self.wrote.pop(activity.name, 0) for activity in activities]
        return any(wrote)


class InStep(Meeting):
    """Runs a job by two replicas at once, alternating at gates: both have read the same before either goes on."""

    async def do(self, service: str, job: str) -> bool:
        both = [await self._begin(service, number, job, 0) for number in range(2)]
        while not all(one.done for one in both):
            for one in both:
                if not one.done:
                    await self.platform.go_on(one, 0)
        return await self._end(both)


class Between(Meeting):
    """Runs a job by one replica; and whatever happens, happens while every job has stopped at one of its gates."""

    def __init__(self, platform: SimulatedPlatform, seed: int) -> None:
        super().__init__(platform)
        self._chance = random.Random(seed)
        self._halves: list[Activity] = []

    async def before(self) -> None:
        for service, replicas in self.platform.replicas.items():
            for job in replicas[1].jobs:
                self._halves.append(await self._begin(service, 1, job, self._chance.randint(1, 7)))

    async def after(self) -> None:
        halves, self._halves = self._halves, []
        await self._end(halves)


def meeting_of(platform: SimulatedPlatform, described: str) -> Meeting:
    """Return the meeting of this name: `alone`, `in-step`, or `between <seed>`."""
    kind, _, seed = described.partition(" ")
    return Between(platform, int(seed)) if kind == "between" else {"alone": Meeting, "in-step": InStep}[kind](platform)


def count_writes(replica: Replica, meeting: Meeting) -> None:
    def executed(_: Any, cursor: Any, statement: str, *__: Any) -> None:  # Any: SQLAlchemy's
        activity = current.get()
        if activity is not None and activity.name in meeting.wrote and _WRITES.match(statement):
            meeting.wrote[activity.name] += abs(cursor.rowcount)  # -1 where several rows went at once

    for engine in (replica.process.database.web, replica.process.database.messaging):
        event.listen(engine.sync_engine, "after_cursor_execute", executed)
