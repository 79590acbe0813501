"""Prints the progress of a replay: one line that is updated on a terminal, elsewhere a line now and then."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

EVERY_SECONDS = 10.0
"""Seconds between lines where there is no terminal."""


class Progress:
    """A counter of steps that prints itself."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._printed_at = 0.0
        self._what, self._done = "", 0
        self._of: int | None = None

    @contextmanager
    def counting(self, what: str, of: int | None = None) -> Generator[None]:
        """Count steps from zero while the block lasts; `of` is how many there are, where that is known."""
        self._what, self._done, self._of = what, 0, of
        self._printed_at = time.monotonic()
        yield
        if self._done:
            self._print("\r\x1b[K" if self._terminal else "", "\n")

    def step(self, by: int = 1) -> None:
        self._done += by
        if self._terminal or time.monotonic() - self._printed_at > EVERY_SECONDS:
            self._print("\r\x1b[K" if self._terminal else "", "" if self._terminal else "\n")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def _print(self, before: str, after: str) -> None:
        self._printed_at = time.monotonic()
        seconds = self._printed_at - self._began
        of = "" if self._of is None else f"/{self._of}"
        print(f"{before}{seconds:7.1f} s  {self._what}: {self._done}{of}", end=after, flush=True)


async def each(
    progress: Progress, what: str, items: Iterable[T], do: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Call `do` for every item, `at_once` at a time; the first failure ends it and is raised in a group."""
    listed = list(items)
    waiting = iter(listed)

    async def go() -> None:
        for item in waiting:
            await do(item)
            progress.step()

    with progress.counting(what, len(listed)):
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(listed))):
                group.create_task(go())
