"""Calendar days, in London, where the awarding body and its rules are."""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

_ZONE: Final = ZoneInfo("Europe/London")


def day_of(at: datetime) -> date:
    """Return the day it is in London at an instant; one without a time zone, as strangers write it, names the day
    itself. At the calendar's ends, where London has no time, it is the day in the instant's own zone."""
    try:
        return at.date() if at.tzinfo is None else at.astimezone(_ZONE).date()
    except OverflowError:
        return at.date()


def in_words(day: date) -> str:
    """Return a day as people write it, such as 3 March 2026."""
    return f"{day.day} {day:%B %Y}"
