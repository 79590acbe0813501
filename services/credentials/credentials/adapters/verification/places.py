"""Whose turn it is to compute: documents that take little come first, and nobody takes the places of all."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from credentials.adapters.verification.limits import Limits
from shared.errors import Unavailable

_PICTURES = (b"\x89", b"<")


class VerifierBusy(Unavailable):
    """Too many documents are waiting to be examined."""


class Place:
    """One document's, from when it comes until it is answered. It computes between `take` and `give`."""

    def __init__(self, places: "Places", cost: float) -> None:
        self.cost = cost
        """Seconds of a processor it is expected to take, or took already if that is more."""
        self.turn: asyncio.Future[None] | None = None
        self._places = places
        self._came = asyncio.get_running_loop().time()
        self.computes_long = False
        """Whether it was let compute as one that takes long."""
        self._computes = False

    @property
    def takes_long(self) -> bool:
        return self.cost >= self._places.limits.slice_seconds

    @property
    def due(self) -> float:
        """Whoever's is earliest is next. A document that came first and takes little is before all that come later."""
        return self._came + self._places.limits.ageing * self.cost

    async def take(self) -> None:
        """Wait for this document's turn. Raises VerifierBusy where it had to make room for one that takes less."""
        self.turn = asyncio.get_running_loop().create_future()
        self._places.waiting.append(self)
        self._places.call_next()
        try:
            await self.turn
        except BaseException:
            if self in self._places.waiting:
                self._places.waiting.remove(self)
            elif self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None:
                self._computes = True  # it was called in the very moment in which it left
                self.give()
            raise
        self._computes = True

    def give(self) -> None:
        """Let the next one compute, if this one does."""
        if self._computes:
            self._computes = False
            self._places.free += 1
            self._places.long -= self.computes_long
            self._places.call_next()

    async def spend(self, seconds: float) -> None:
        """It has taken so many in all; wait if it is another's turn now."""
        self.cost = max(self.cost, seconds)
        if self.takes_long != self.computes_long or any(other.due < self.due for other in self._places.waiting):
            self.give()
            await self.take()


class Places:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.free = limits.workers
        self.waiting: list[Place] = []
        self.long = 0
        """How many of those that compute take long."""
        self._taken = 0

    @contextmanager
    def of(self, document: bytes) -> Generator[Place]:
        """A place for it. Raises VerifierBusy where all are taken by documents that take no more than this one."""
        guess = len(document) / self.limits.bytes_a_second
        if document.lstrip()[:1] in _PICTURES:  # what is in it is smaller than the picture
            guess = min(guess, self.limits.slice_seconds / 2)
        place = Place(self, guess)
        if self._taken >= self.limits.waiting:
            self._make_room(place)
        self._taken += 1
        try:
            yield place
        finally:
            place.give()
            self._taken -= 1

    def call_next(self) -> None:
        while self.free and (able := [one for one in self.waiting if self._may_compute(one)]):
            place = min(able, key=lambda one: one.due)
            self.waiting.remove(place)
            assert place.turn is not None, "it waits"
            if not place.turn.done():
                self.free -= 1
                place.computes_long = place.takes_long
                self.long += place.computes_long
                place.turn.set_result(None)

    def _may_compute(self, place: Place) -> bool:
        """One worker is left to those that take little, where there are several."""
        return not place.takes_long or self.long < max(self.limits.workers - 1, 1)

    def _make_room(self, for_one: Place) -> None:
        costliest = max(self.waiting, key=lambda one: one.cost, default=for_one)
        if costliest.cost <= for_one.cost:
            raise busy()
        self.waiting.remove(costliest)
        assert costliest.turn is not None, "it waits"
        if not costliest.turn.done():
            costliest.turn.set_exception(busy())


class Turns:
    """Lets each client have one document examined at a time."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._present = Counter[str]()
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def of(self, client: str) -> AsyncGenerator[None]:
        """Waits for the client's turn. Raises VerifierBusy where too many of theirs are in line already."""
        if self._present[client] > self._waiting:
            raise busy()
        self._present[client] += 1
        try:
            async with self._locks.setdefault(client, asyncio.Lock()):
                yield
        finally:
            self._present[client] -= 1
            if not self._present[client]:
                del self._present[client], self._locks[client]


def busy() -> VerifierBusy:
    return VerifierBusy("many documents are being checked; try again shortly", headers={"Retry-After": "5"})
