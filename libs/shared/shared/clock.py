"""Time is an argument: whoever needs the instant takes a Clock, and tests pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant, timezone-aware, in UTC."""
    return datetime.now(UTC)


CLOCKS_APART = timedelta(minutes=10)
"""How far the clocks of our machines may be apart without any of them being wrong."""
