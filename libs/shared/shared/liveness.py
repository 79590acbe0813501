"""Liveness of a process's loops: each says in every round by when its next beat is due.

A loop belongs to the process in whose `Loops` it runs; outside of any, as in a test of its own, nothing is noted.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Final

STUCK_SECONDS: Final = 60.0
"""How long a loop may work between two beats. Every wait of ours has a limit far below: only a fault takes so long."""


class Loops:
    """The loops of one process, and when the next beat of each is due."""

    def __init__(self) -> None:
        self.due: dict[str, float] = {}
        self.reported: set[str] = set()
        """The loops that have beaten or rested since they began."""

    def stuck(self) -> list[str]:
        """Return the names of the loops whose beat is overdue."""
        now = asyncio.get_running_loop().time()
        return sorted(name for name, due in self.due.items() if due < now)


_loops: ContextVar[Loops | None] = ContextVar("loops", default=None)
_name: ContextVar[str] = ContextVar("loop", default="")


def begin(loops: Loops, name: str) -> None:
    """Make this task, with those it starts from now on, a loop of that process."""
    _loops.set(loops)
    _name.set(name)
    loops.due[name] = asyncio.get_running_loop().time() + STUCK_SECONDS


async def part(name: str, work: Coroutine[None, None, None]) -> None:
    """Run a task that another loop has started, and ends, as a loop of its own."""
    loops = _loops.get()
    if loops is None:
        await work
        return
    begin(loops, whole := f"{_name.get()}: {name}")
    try:
        await work
    finally:
        del loops.due[whole]


def beat(within: float = 0.0) -> None:
    """Note that the loop is alive; its next beat is due after so many seconds, and STUCK_SECONDS for its work."""
    _note(asyncio.get_running_loop().time() + within + STUCK_SECONDS)


def rest() -> None:
    """Note that the loop waits for something that may never come: no beat is due."""
    _note(float("inf"))


def _note(due: float) -> None:
    if (loops := _loops.get()) is not None:
        loops.due[_name.get()] = due
        loops.reported.add(_name.get())
