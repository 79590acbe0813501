"""Calendar days, in London, where the awarding body and its rules are."""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

_ZONE: Final = ZoneInfo("Europe/London")


def day_of(at: datetime) -> date:
    """Return the day it is in London at an instant; one without a time zone, as strangers write it, names the day
    itself."""
    return at.date() if at.tzinfo is None else at.astimezone(_ZONE).date()


def in_words(day: date) -> str:
    """Return a day as people write it, such as 3 March 2026."""
    return f"{day.day} {day:%B %Y}"
