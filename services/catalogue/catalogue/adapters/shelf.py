"""Answers to public reads, kept in memory for as long as the database would give the same ones.

The database notifies of every change with its commit; then all is forgotten, a few milliseconds after it
happened. While nobody listens nothing is kept.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from catalogue.domain import Facets
from shared.driver import connect_driver
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)

CHANNEL: Final = "catalogue"
MOST: Final = 512
"""Answers kept; a list of 100 courses has about 60 kB."""
BEAT_SECONDS: Final = 2.0
"""How often the connection is tried, so that a dead one is not trusted for longer."""


class Asked(NamedTuple):
    """A GET, as it came."""

    path: str
    query: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read at an instant, and the next instant at which a price makes it another; None where none will."""

    body: bytes
    since: datetime
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)


class Shelf:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Asked, Answer] = OrderedDict()
        self._counted: OrderedDict[str | None, Facets] = OrderedDict()
        self.listening = asyncio.Event()
        """Set while changes are heard of."""
        self._changes = 0

    def find(self, asked: Asked, at: datetime) -> Answer | None:
        answer = self._kept.get(asked)
        if answer is None or not answer.holds(at):
            return None
        self._kept.move_to_end(asked)
        return answer

    async def fill(self, asked: Asked, read: Callable[[], Awaitable[Answer]]) -> bytes:
        """What `read` gives, kept unless something changed meanwhile."""
        changes = self._changes
        answer = await read()
        if self.listening.is_set() and changes == self._changes:  # else it may be from before the change
            self._kept[asked] = answer
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer.body

    async def count(self, words: str | None, read: Callable[[], Awaitable[Facets]]) -> Facets:
        """The facets of these words (None: of everything), the same for every page and filter."""
        kept = self._counted.get(words)
        if kept is not None:
            self._counted.move_to_end(words)
            return kept
        changes = self._changes
        facets = await read()
        if self.listening.is_set() and changes == self._changes:
            self._counted[words] = facets
            if len(self._counted) > self._most:
                self._counted.popitem(last=False)
        return facets

    def forget(self) -> None:
        self._changes += 1
        self._kept.clear()
        self._counted.clear()

    async def run(self, url: str) -> None:
        """Listen for changes, for ever."""
        while True:
            try:
                await self._listen(url)
            except DATABASE_ERRORS as error:
                note_outage(log, error)
            await asyncio.sleep(1)

    async def _listen(self, url: str) -> None:
        def hear(*_: object) -> None:
            self.forget()

        connection = await connect_driver(url)
        try:
            await connection.add_listener(CHANNEL, hear)
            self.forget()
            self.listening.set()
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                await connection.execute("select 1", timeout=BEAT_SECONDS)
        finally:
            self.listening.clear()
            self.forget()
            connection.terminate()
