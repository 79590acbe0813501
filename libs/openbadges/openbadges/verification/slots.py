"""Slots for computing: documents that take little come first, and no client takes all."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from openbadges.errors import Busy
from openbadges.verification.limits import Limits

_PICTURES = (b"\x89", b"<")
_LEAST_SECONDS = 0.03
"""Processor seconds that any document takes at least: those of a badge."""


class VerifierBusy(Busy):
    """Too many documents are waiting to be examined."""


class Slot:
    """One document's slot, from its arrival to its answer. It computes between `take` and `give`."""

    def __init__(self, slots: "Slots", cost: float) -> None:
        self.cost = cost
        """Processor seconds it is expected to take, or those it took already if they are more."""
        self.turn: asyncio.Future[None] | None = None
        self._slots = slots
        self._came = asyncio.get_running_loop().time()
        self.computes_long = False
        """Whether it was admitted as one that takes long."""
        self._computes = False

    @property
    def takes_long(self) -> bool:
        return self.cost >= self._slots.limits.slice_seconds

    @property
    def due(self) -> float:
        """When it is due; the earliest is next. One that came first and takes little comes before all that come
        later."""
        return self._came + self._slots.limits.ageing * self.cost

    async def take(self) -> None:
        """Wait until this document may compute. Raises VerifierBusy where it had to make room for one that takes
        less."""
        self.turn = asyncio.get_running_loop().create_future()
        self._slots.waiting.append(self)
        self._slots.call_next()
        try:
            await self.turn
        except BaseException:
            if self in self._slots.waiting:
                self._slots.waiting.remove(self)
            elif self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None:
                self._computes = True  # it was admitted at the very moment at which it left
                self.give()
            raise
        self._computes = True

    def give(self) -> None:
        """End this document's computing, if it computes now, so that the next one can begin."""
        if self._computes:
            self._computes = False
            self._slots.free += 1
            self._slots.long -= self.computes_long
            self._slots.call_next()

    async def spend(self, seconds: float) -> None:
        """Note that it has taken so many seconds in all; wait if another one is due now."""
        self.cost = max(self.cost, seconds)
        if self.takes_long != self.computes_long or any(other.due < self.due for other in self._slots.waiting):
            self.give()
            await self.take()


class Slots:
    """The slots for documents in hand, of which as many compute at once as there are workers."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.free = limits.workers
        self.waiting: list[Slot] = []
        self.long = 0
        """How many of the documents that compute take long."""
        self._taken = 0

    @contextmanager
    def of(self, document: bytes) -> Generator[Slot]:
        """Give a document a slot. Raises VerifierBusy where all are taken by documents that take no more than this
        one."""
        slot = Slot(self, expected(document, self.limits))
        if self._taken >= self.limits.waiting:
            self._make_room(slot)
        self._taken += 1
        try:
            yield slot
        finally:
            slot.give()
            self._taken -= 1

    def call_next(self) -> None:
        """Let documents compute while there are workers free."""
        while self.free and (able := [one for one in self.waiting if self._may_compute(one)]):
            slot = min(able, key=lambda one: one.due)
            self.waiting.remove(slot)
            assert slot.turn is not None, "it waits"
            if not slot.turn.done():
                self.free -= 1
                slot.computes_long = slot.takes_long
                self.long += slot.computes_long
                slot.turn.set_result(None)

    def _may_compute(self, slot: Slot) -> bool:
        """Return whether the document may compute; one of several workers is left to documents that take little."""
        return not slot.takes_long or self.long < max(self.limits.workers - 1, 1)

    def _make_room(self, for_one: Slot) -> None:
        costliest = max(self.waiting, key=lambda one: one.cost, default=for_one)
        if costliest.cost <= for_one.cost:
            raise busy()
        self.waiting.remove(costliest)
        assert costliest.turn is not None, "it waits"
        if not costliest.turn.done():
            costliest.turn.set_exception(busy())


class _Waiter:
    def __init__(self, cost: float, ageing: float) -> None:
        loop = asyncio.get_running_loop()
        self.cost = cost
        self.due = loop.time() + ageing * cost
        self.called: asyncio.Future[None] = loop.create_future()


class ClientQueue:
    """Lets each client have one document worked on at a time: the one in its line that is due first, as in `Slots`.

    The length of a line is counted in what its documents are expected to take: behind one address there may be a whole
    class.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines: dict[str, list[_Waiter]] = {}

    @asynccontextmanager
    async def of(self, client: str, document: bytes) -> AsyncGenerator[None]:
        """Wait until it is the document's turn in its client's line.

        Raises VerifierBusy where the line is too long and this document takes most in it.
        """
        turn = _Waiter(max(expected(document, self._limits), _LEAST_SECONDS), self._limits.ageing)
        line = self._lines.setdefault(client, [])
        line.append(turn)
        try:
            self._make_room(line)
            self._call_next(line)
            await turn.called
            yield
        finally:
            if turn in line:
                line.remove(turn)
            self._call_next(line)
            if not line and self._lines.get(client) is line:
                del self._lines[client]

    def _make_room(self, line: list[_Waiter]) -> None:
        while sum(turn.cost for turn in line) > self._limits.waiting_of_one and len(line) > 1:
            costliest = max((turn for turn in line if not turn.called.done()), key=lambda turn: (turn.cost, turn.due))
            line.remove(costliest)
            costliest.called.set_exception(busy())

    @staticmethod
    def _call_next(line: list[_Waiter]) -> None:
        if line and not any(turn.called.done() for turn in line):
            min(line, key=lambda turn: turn.due).called.set_result(None)


def expected(document: bytes, limits: Limits) -> float:
    """Return a guess at the processor seconds that a document takes."""
    guess = min(len(document) / limits.bytes_a_second, limits.seconds)
    if document.lstrip()[:1] in _PICTURES:  # what is in it is smaller than the picture
        guess = min(guess, limits.slice_seconds / 2)
    return guess


def busy() -> VerifierBusy:
    return VerifierBusy("many documents are being checked; try again shortly", retry_after=5)
