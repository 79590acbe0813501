"""The response cache: answers to public reads, kept in memory while the database would give the same ones.

The database notifies of every change at its commit (LISTEN/NOTIFY); then the cache is emptied, a few milliseconds after
the change. While the listening connection is down nothing is cached.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from catalogue.domain import Facets
from shared import liveness
from shared.driver import connect_driver
from shared.outages import note_outage

log = logging.getLogger(__name__)

CHANNEL: Final = "catalogue"
MOST: Final = 512
"""The most answers that are kept; a list of 100 courses has about 60 kB."""
BEAT_SECONDS: Final = 2.0
"""How often the listening connection is checked, so that a dead one is not trusted for longer."""


class Asked(NamedTuple):
    """A GET request: path and query string as they arrived; the key of the cache."""

    path: str
    query: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body read at the instant `since`; it holds until the next price begins, None where none will."""

    body: bytes
    since: datetime
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)


class ResponseCache:
    """The answers and facets kept by this process, at most `most` of each; the longest unused go first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Asked, Answer] = OrderedDict()
        self._counted: OrderedDict[str | None, Facets] = OrderedDict()
        self.listening = asyncio.Event()
        """Set while notifications of changes arrive."""
        self._changes = 0

    def find(self, asked: Asked, at: datetime) -> Answer | None:
        answer = self._kept.get(asked)
        if answer is None or not answer.holds(at):
            return None
        self._kept.move_to_end(asked)
        return answer

    async def fill(self, asked: Asked, read: Callable[[], Awaitable[Answer]]) -> bytes:
        """Return the body that `read` gives, and cache the answer unless something changed meanwhile."""
        changes = self._changes
        answer = await read()
        if self.listening.is_set() and changes == self._changes:  # otherwise it may have been read before the change
            self._kept[asked] = answer
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer.body

    async def count(self, words: str | None, read: Callable[[], Awaitable[Facets]]) -> Facets:
        """Return the facets of a search (`words` None: of all courses), cached; they serve every page and filter."""
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
        """Listen for changes for ever; after an outage connect again."""
        while True:
            liveness.beat()
            try:
                await self._listen(url)
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
            await asyncio.sleep(1)

    async def _listen(self, url: str) -> None:
        def notified(*_: object) -> None:
            self.forget()

        connection = await connect_driver(url)
        try:
            await connection.add_listener(CHANNEL, notified)
            self.forget()
            self.listening.set()
            while True:
                liveness.beat(BEAT_SECONDS)
                await asyncio.sleep(BEAT_SECONDS)
                await connection.execute("select 1", timeout=BEAT_SECONDS)
        finally:
            self.listening.clear()
            self.forget()
            connection.terminate()
