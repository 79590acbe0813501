"""The life of an award, and the transcript's hash."""

from datetime import UTC, datetime, timedelta

import pytest

from credentials.domain import awards, transcripts
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


def test_a_transcript_hashes_alike_whatever_the_order() -> None:
    credits_ = [
        {"credit_id": str(n), "credits": 15, "ratified_at": f"2026-10-0{n}T09:00:00Z", "title": "é"} for n in (1, 2)
    ]
    said = transcripts.content("learner", credits_, [])
    again = transcripts.content("learner", credits_[::-1], [])
    assert said["total_credits"] == 30
    assert transcripts.hash_of(said) == transcripts.hash_of(again)
    assert transcripts.hash_of(transcripts.issue(said, 1, NOW)) != transcripts.hash_of(transcripts.issue(said, 2, NOW))
