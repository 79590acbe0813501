"""The life of an award."""

from datetime import UTC, datetime, timedelta

import pytest

from credentials.domain import awards
from credentials.domain.awards import State

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "until", "under_review", "refusal"),
    [
        (State.LAPSED, NOW + timedelta(1), False, awards.ClaimLapsed),
        (State.CLAIMED, NOW, False, awards.ClaimLapsed),
        (State.CONFERRED, NOW + timedelta(1), False, awards.NotClaimed),
        (State.SUPERSEDED, NOW - timedelta(1), False, awards.NotClaimed),
        (State.CLAIMED, NOW + timedelta(1), True, awards.UnderReview),
    ],
)
def test_only_a_live_claim_on_sound_credit_is_conferred(
    state: State, until: datetime, under_review: bool, refusal: type
) -> None:
    with pytest.raises(refusal):
        awards.check_conferral(state, until, under_review=under_review, now=NOW)


def test_a_live_claim_is_conferred() -> None:
    awards.check_conferral(State.CLAIMED, NOW + timedelta(seconds=1), under_review=False, now=NOW)


def test_a_certificate_number_shows_a_slip_of_the_pen() -> None:
    number = awards.certificate_number(NOW, 0x2_3456_789A_BCDE)
    assert number.startswith("MC-2026-")
    assert len(number) == len("MC-2026-") + 11
    assert not set("ILOU") & set(number.removeprefix("MC-"))
    assert awards.certificate_number(NOW, 1)[-1] != awards.certificate_number(NOW, 2)[-1]
