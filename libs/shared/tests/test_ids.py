"""What an id says of the time it was made, whoever made it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.clock import LAST_INSTANT
from shared.ids import made_at, new_id


def test_an_id_says_when_it_was_made():
    assert abs(made_at(new_id()) - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_id_of_no_year_says_the_last_instant_with_room_to_count_on():
    for digits in ("ffffffff-ffff-7fff-bfff-ffffffffffff", "f0000000-0000-7000-8000-000000000000"):
        assert made_at(UUID(digits)) == LAST_INSTANT
    last = int(LAST_INSTANT.timestamp() * 1000)
    for milliseconds in range(last - 2, last + 3):
        assert made_at(UUID(int=milliseconds << 80)) <= LAST_INSTANT
    assert made_at(UUID(int=0)) == datetime(1970, 1, 1, tzinfo=UTC)
