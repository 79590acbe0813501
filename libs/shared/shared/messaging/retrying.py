"""What becomes of an event whose handling did not end well: it is tried again, and a person sees it at last.

Failures and waits are counted apart, each against its own budget. A try is counted as a failure before it is made,
for it may kill the process, and every outcome but a failure takes that back.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from shared.messaging.claim import InHand
from shared.outages import is_contention


class NotYet(Exception):
    """The handler cannot go on until another event arrives; it is tried again later, patiently."""


class Outcome(Enum):
    """How a try ended that did not succeed. A process that dies in it has no outcome: the try stays counted."""

    FAILED = auto()
    """The handler is at fault, or the event."""
    WAITS = auto()
    """For another event."""
    IN_THE_WAY = auto()
    """Others were at work on the same event or the same rows."""
    BROKEN_OFF = auto()
    """The database went away, or the process was stopped: it tells nothing about the event."""


def outcome_of(error: BaseException, *, outage: bool) -> Outcome:
    if outage:
        return Outcome.BROKEN_OFF
    if isinstance(error, NotYet):
        return Outcome.WAITS
    if isinstance(error, InHand) or is_contention(error):
        return Outcome.IN_THE_WAY
    return Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Counts:
    """Of an event that is retried."""

    failures: int
    waits: int

    def begun(self) -> "Counts":
        return Counts(self.failures + 1, self.waits)

    def after(self, outcome: Outcome) -> "Counts":
        """Once a try that was begun has ended so."""
        failure, wait = _COUNTS[outcome]
        return Counts(self.failures - 1 + failure, self.waits + wait)


_COUNTS: Final = {
    Outcome.FAILED: (1, 0),
    Outcome.WAITS: (0, 1),
    Outcome.IN_THE_WAY: (0, 1),
    Outcome.BROKEN_OFF: (0, 0),
}
"""What a try adds to the failures and to the waits."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long we go on trying before a person must look."""

    delays_seconds: tuple[float, ...] = (1, 2, 5, 15, 60)
    """After a failed try; one more failure than there are delays parks the message."""
    waiting_seconds: float = 5
    """Between tries of an event that waits for another (NotYet)."""
    patience: timedelta = timedelta(hours=24)
    """How long it may wait before it is parked. Counted in tries: while no process runs, nobody waits."""

    def reason_to_park(self, counts: Counts) -> str | None:
        """None while it is to be tried again."""
        if counts.failures > len(self.delays_seconds):
            return "handler_failed"
        if counts.waits > self.patience / timedelta(seconds=self.waiting_seconds):
            return "waited_too_long"
        return None

    def delay(self, counts: Counts, outcome: Outcome = Outcome.FAILED) -> float:
        """Until the next try, in seconds."""
        if outcome is Outcome.WAITS:
            return self.waiting_seconds
        if outcome is Outcome.IN_THE_WAY:
            return self.delays_seconds[0]
        return self.delays_seconds[min(max(counts.failures, 1), len(self.delays_seconds)) - 1]
