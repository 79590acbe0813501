"""When an event that could not be handled is tried again, and when it becomes a dead letter.

Failures and waits are counted apart, each against its own budget. A try is counted as a failure before it is made, for
it may end the process, and every outcome but a failure takes that back.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from shared.messaging.deduplication import Locked
from shared.outages import is_contention


class RetryLater(Exception):
    """The handler cannot go on until another event arrives; it is tried again later, patiently."""


class Outcome(Enum):
    """How a try that did not succeed has ended. A process that ends in a try leaves none: the try stays counted."""

    FAILED = auto()
    """The handler is at fault, or the event."""
    WAITS = auto()
    """It waits for another event."""
    IN_THE_WAY = auto()
    """Others were at work on the same event or the same rows."""
    BROKEN_OFF = auto()
    """The database went away, or the process was stopped: the event is not at fault."""


def outcome_of(error: BaseException, *, outage: bool) -> Outcome:
    """Return the outcome of a try that raised this error; `outage` says that the database was away."""
    if outage:
        return Outcome.BROKEN_OFF
    if isinstance(error, RetryLater):
        return Outcome.WAITS
    if isinstance(error, Locked) or is_contention(error):
        return Outcome.IN_THE_WAY
    return Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Counts:
    """How often an event has failed, and how often it has waited."""

    failures: int
    waits: int

    def begun(self) -> "Counts":
        """Return the counts once a try has begun: it counts as a failure until it ends."""
        return Counts(self.failures + 1, self.waits)

    def after(self, outcome: Outcome) -> "Counts":
        """Return the counts once a try that was begun has ended with this outcome."""
        failure, wait = _COUNTS[outcome]
        return Counts(self.failures - 1 + failure, self.waits + wait)


_COUNTS: Final = {
    Outcome.FAILED: (1, 0),
    Outcome.WAITS: (0, 1),
    Outcome.IN_THE_WAY: (0, 1),
    Outcome.BROKEN_OFF: (0, 0),
}
"""What a try with each outcome adds to the failures and to the waits."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long we go on trying before a person must look."""

    delays_seconds: tuple[float, ...] = (1, 2, 5, 15, 60)
    """Pauses after each failed try; with one more failure than there are pauses the event is dead-lettered."""
    waiting_seconds: float = 5
    """Pause between tries of an event that waits for another (RetryLater)."""
    patience: timedelta = timedelta(hours=24)
    """How long an event may wait before it is dead-lettered; counted in tries, since while no process runs nothing
    waits."""

    def reason_to_give_up(self, counts: Counts) -> str | None:
        """Return the reason for which the event is dead-lettered; None while it is to be tried again."""
        if counts.failures > len(self.delays_seconds):
            return "handler_failed"
        if counts.waits > self.patience / timedelta(seconds=self.waiting_seconds):
            return "waited_too_long"
        return None

    def delay(self, counts: Counts, outcome: Outcome = Outcome.FAILED) -> float:
        """Return the pause before the next try, in seconds."""
        if outcome is Outcome.WAITS:
            return self.waiting_seconds
        if outcome is Outcome.IN_THE_WAY:
            return self.delays_seconds[0]
        return self.delays_seconds[min(max(counts.failures, 1), len(self.delays_seconds)) - 1]
