"""A day is London's wherever people read one."""

from datetime import UTC, date, datetime

import pytest

from credentials.adapters import pages
from credentials.domain import view_models
from credentials.domain.days import day_of

NIGHTS = [
    ("2027-06-30T22:59:59Z", "30 June 2027"),
    ("2027-06-30T23:00:00Z", "1 July 2027"),
    ("2027-06-30T23:30:00+00:00", "1 July 2027"),
    ("2027-07-01T00:30:00+01:00", "1 July 2027"),
    ("2026-12-31T23:59:59Z", "31 December 2026"),
    ("2026-10-25T00:30:00Z", "25 October 2026"),
    ("2024-06-30", "30 June 2024"),
    ("0001-01-01T00:00:00Z", "1 January 1"),
    ("9999-12-31T23:59:59Z", "31 December 9999"),
]


@pytest.mark.parametrize(("at", "said"), NIGHTS)
def test_papers_and_pages_say_the_day_it_was_in_london(at: str, said: str) -> None:
    assert view_models.day(at) == pages._day(at) == pages._day(datetime.fromisoformat(at)) == said


def test_a_day_begins_at_midnight_in_london() -> None:
    assert day_of(datetime(2027, 3, 27, 23, 59, 59, tzinfo=UTC)) == date(2027, 3, 27)
    assert day_of(datetime(2027, 3, 28, 22, 59, 59, tzinfo=UTC)) == date(2027, 3, 28)
    assert day_of(datetime(2027, 3, 28, 23, tzinfo=UTC)) == date(2027, 3, 29)
