"""How far it is: one line that is updated on a terminal, else a line now and then."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

EVERY_SECONDS = 10.0
"""Between lines where there is no terminal."""


class Progress:
    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._told = 0.0
        self._what, self._done, self._of = "", 0, 0

    def begin(self, what: str, of: int) -> None:
        self._what, self._done, self._of = what, 0, of
        self._told = time.monotonic()

    def step(self) -> None:
        self._done += 1
        if self._terminal or time.monotonic() - self._told > EVERY_SECONDS:
            self._tell("\r\x1b[K" if self._terminal else "", "" if self._terminal else "\n")

    def end(self) -> None:
        if self._of:
            self._tell("\r\x1b[K" if self._terminal else "", "\n")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def _tell(self, before: str, after: str) -> None:
        self._told = time.monotonic()
        seconds = self._told - self._began
        print(f"{before}{seconds:7.1f} s  {self._what}: {self._done}/{self._of}", end=after, flush=True)


async def each(
    progress: Progress, what: str, items: Iterable[T], do: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Do it for every item, so many at a time; the first failure ends it and is raised in a group."""
    listed = list(items)
    progress.begin(what, len(listed))
    waiting = iter(listed)

    async def go() -> None:
        for item in waiting:
            await do(item)
            progress.step()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(listed))):
            group.create_task(go())
    progress.end()
