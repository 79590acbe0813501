"""When a version of the regulations comes into force."""

from datetime import UTC, datetime

import pytest

from shared.regulations import begins


@pytest.mark.parametrize(
    ("said", "instant"),
    [
        ("2026-09-01T00:00:00Z", datetime(2026, 9, 1, tzinfo=UTC)),  # in force before days were London's
        ("2027-01-01T00:00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T00:00:00+00:00", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-09-01T00:00:00+01:00", datetime(2027, 8, 31, 23, tzinfo=UTC)),
        ("2027-03-28T00:00:00Z", datetime(2027, 3, 28, tzinfo=UTC)),  # summer time begins an hour later
        ("2027-10-31T00:00:00+01:00", datetime(2027, 10, 30, 23, tzinfo=UTC)),
    ],
)
def test_a_version_is_in_force_from_the_beginning_of_a_day_in_london(said: str, instant: datetime) -> None:
    assert begins(said) == instant


@pytest.mark.parametrize(
    "said",
    [
        "2027-09-01T00:00:00Z",
        "2027-08-31T23:00:00Z",
        "2027-09-01T02:00:00+03:00",
        "2027-01-01T00:00:00.000001Z",
        "2027-09-01T00:00:00",
        "2027-09-01",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "1793836800",
    ],
)
def test_anything_else_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        begins(said)
