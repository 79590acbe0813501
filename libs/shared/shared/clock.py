"""Time is an argument: whoever needs the instant takes a Clock, and tests pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant, timezone-aware, in UTC."""
    return datetime.now(UTC)


class DatabaseClock:
    """The database's time, told by this machine's clock: replicas write and compare the time of one clock, however
    far their own stand ahead or behind."""

    def __init__(self, own: Clock = system_clock) -> None:
        self.own = own
        self.ahead = timedelta()
        """How far this machine's clock stands ahead of the database's; nothing where the network may be what we see."""

    def __call__(self) -> datetime:
        return self.own() - self.ahead

    def compare(self, before: datetime, theirs: datetime, after: datetime) -> None:
        """`theirs`: the database's time, read between those two instants of this machine's clock."""
        ahead = before + (after - before) / 2 - theirs
        self.ahead = ahead if abs(ahead) > _NEXT_TO_NOTHING + (after - before) else timedelta()


_NEXT_TO_NOTHING: Final = timedelta(seconds=1)

CLOCKS_APART = timedelta(minutes=10)
"""How far the clocks of our machines may be apart without any of them being wrong."""
