"""Activities: each thing that happens is a task that may stop at gates, and the scheduler alone lets it go on.

A gate is before every transaction and every call to others. No row is locked there, so in whatever order activities go
on from their gates, none waits for anything but the database's answer to one statement.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


class Died(BaseException):
    """The replica this code ran in was killed."""


CUT, SILENT, UNANSWERED = "cut", "silent", "unanswered"


@dataclass
class Trouble:
    """A failure to come of a statement: an error of this SQLSTATE, its connection `CUT`, or no answer (`SILENT`).

    `UNANSWERED`: a commit that is done but never answered.
    """

    after: int
    """How many statements, or commits, succeed before."""
    how: str


class Activity:
    """One thing that happens: a request with all the requests it causes, a delivery, a run of a job."""

    def __init__(self, name: str, chance: Any) -> None:  # Any: random.Random
        self.name, self.chance = name, chance
        self.task: asyncio.Task[Any] | None = None  # Any: whatever it gives
        self.gates_left: int | None = None
        """How many gates it passes before it stops; None for all."""
        self.gate: asyncio.Future[None] | None = None
        self.at = "the beginning"
        self.holding = 0
        """How many database connections it holds: with one it does not stop at a gate."""
        self.ending = False
        self.commits_left: int | None = None
        """How many transactions it commits before it stops inside one; None where it never does."""
        self.inside = False
        """Whether it stopped before a commit, with rows locked."""
        self.blocked = False
        """Whether it waits in the database for a row that another activity has locked."""
        self.until_blocked: Callable[[], Coroutine[Any, Any, None]] | None = None
        """Returns once another statement waits for a lock; None where nothing can block it."""
        self.trouble: Trouble | None = None
        self.troubled = False
        """Whether a statement of it was made to fail."""
        self._stopped = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()

    async def begin(self, work: Coroutine[Any, Any, Any], gates: int | None) -> None:
        """Start the task and run it until it has passed so many gates, or to its end."""
        self.gates_left = gates
        token = current.set(self)
        try:
            self.task = asyncio.get_running_loop().create_task(work, name=self.name)
        finally:
            current.reset(token)
        await self.until_it_stops()

    async def go_on(self, gates: int | None) -> None:
        self.gates_left = gates
        if self.gate is not None:
            gate, self.gate = self.gate, None
            gate.set_result(None)
        await self.until_it_stops()

    async def until_it_stops(self) -> None:
        """Wait until it stops: at a gate, at its end, or before a row that is locked."""
        assert self.task is not None, "it was begun"
        loop = asyncio.get_running_loop()
        stopping: asyncio.Task[Any] = loop.create_task(self._stopped.wait())
        watching = loop.create_task(self.until_blocked()) if self.until_blocked else None
        waited_for = {self.task, stopping, *([watching] if watching else [])}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        self.blocked = not (self.task.done() or self._stopped.is_set())
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        stopping.cancel()
        self._stopped.clear()

    async def stop_at(self, name: str) -> None:
        """Stop here unless it is to pass more gates. Called by its own code; inner tasks (a gather) never stop."""
        if self.gates_left is None or self.holding or asyncio.current_task() is not self.task:
            return
        if self.gates_left > 0:
            self.gates_left -= 1
            return
        await self._rest_at(name)

    async def stop_inside(self, name: str) -> None:
        """Stop before a commit, with rows locked, once it has made as many commits as it is to."""
        if self.commits_left is None or asyncio.current_task() is not self.task:
            return
        if self.commits_left > 0:
            self.commits_left -= 1
            return
        self.commits_left, self.inside = None, True
        try:
            await self._rest_at(name)
        finally:
            self.inside = False

    async def _rest_at(self, name: str) -> None:
        self.at = name
        self.gate = asyncio.get_running_loop().create_future()
        self._stopped.set()
        try:
            await self.gate
        except asyncio.CancelledError:
            if not self.ending:  # timed out while it stood here: it learns of that when the scheduler lets it go on
                await self._rest_at(f"{name}, too late")
            raise


current: ContextVar[Activity | None] = ContextVar("activity", default=None)
