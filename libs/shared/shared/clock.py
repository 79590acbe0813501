"""Time is an argument: whoever needs the instant takes a Clock, and tests pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]

FIRST_INSTANT: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
LAST_INSTANT: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
"""The ends of Python's calendar, with room for the local time of every zone."""
FIRST_DAY: Final = FIRST_INSTANT.date()
LAST_DAY: Final = LAST_INSTANT.date()


def later(at: datetime, by: timedelta) -> datetime:
    """Return the instant that is later by so much; beyond the calendar, its end: a stored instant may stand there."""
    try:
        return max(FIRST_INSTANT, min(at + by, LAST_INSTANT))
    except OverflowError:
        return LAST_INSTANT if by > timedelta() else FIRST_INSTANT


def instant_after(before: datetime | None, at: datetime) -> datetime:
    """Return `at`, or the instant after `before` where that is later: replicas tell the time differently, and who
    consumes events of both holds to the later."""
    return at if before is None else max(at, later(before, timedelta(microseconds=1)))


def system_clock() -> datetime:
    """Return the present instant by this machine's clock, in UTC."""
    return datetime.now(UTC)


class DatabaseClock:
    """A clock that shows the database's time, read from this machine's clock.

    So replicas write and compare the time of one clock, however far their own stand ahead or behind.
    """

    def __init__(self, own: Clock = system_clock) -> None:
        self.own = own
        self.ahead = timedelta()
        """How far this machine's clock stands ahead of the database's; zero where the network may be the reason."""

    def __call__(self) -> datetime:
        return self.own() - self.ahead

    def compare(self, before: datetime, theirs: datetime, after: datetime) -> None:
        """Set how far this machine's clock stands ahead, from one reading of the database's.

        `theirs` is the database's time, read between `before` and `after` by this machine's clock.
        """
        ahead = before + (after - before) / 2 - theirs
        self.ahead = ahead if abs(ahead) > _NEXT_TO_NOTHING + (after - before) else timedelta()


_NEXT_TO_NOTHING: Final = timedelta(seconds=1)

CLOCKS_APART = timedelta(minutes=10)
"""How far the clocks of our machines may be apart without any of them being wrong."""
