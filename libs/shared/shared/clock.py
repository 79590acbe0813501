"""Time is an argument: whoever needs the instant takes a Clock, and tests pass their own."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant, timezone-aware, in UTC."""
    return datetime.now(UTC)
