"""What became of an award after it was claimed or conferred, in the study record."""

import pytest

from enrolment.domain import facts as kinds

from .facts import uid
from .study_facts import CLAIMED, CONFERRED, SUPERSEDED, award, record

RESTORED = award(kinds.AwardRestored, 60, 33, rescinded_award_id=str(uid(61)))
OPENED = award(kinds.AwardReviewOpened, 60, 34, review_id=str(uid(70)), credit_ids=[str(uid(30))])
RESCINDED = award(kinds.AwardRescinded, 60, 35, reason_code="misconduct")


def closed(decision: str, credit_ids: list[str], classification: str | None = None):
    data = {"review_id": str(uid(70)), "decision": decision, "credit_ids": credit_ids, "classification": classification}
    return award(kinds.AwardReviewClosed, 60, 36, **data)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ([award(kinds.AwardWithdrawn, 60, 31), CLAIMED], "withdrawn"),
        ([award(kinds.AwardRefused, 60, 31), CLAIMED], "refused"),
        ([RESTORED, SUPERSEDED, CONFERRED], "conferred"),
        ([SUPERSEDED, RESTORED, CONFERRED, award(kinds.AwardSuperseded, 60, 40, superseded_by=uid(62))], "superseded"),
        ([RESCINDED, CONFERRED], "rescinded"),
    ],
)
def test_an_award_has_the_state_of_its_latest_fact(facts: list, status: str) -> None:
    [only] = record(facts).awards
    assert only.status == status
    assert (only.superseded_by is None) == (status != "superseded")


@pytest.mark.parametrize("seconds", [-3, 0, 3])
def test_what_became_of_an_award_does_not_hang_on_the_clocks_of_replicas(seconds: int) -> None:
    """Whoever gave it back, or closed its review, may have a clock behind that of whoever took or opened it."""
    later = 34 + seconds / 3600
    restored = award(kinds.AwardRestored, 60, later - 2, rescinded_award_id=str(uid(61)))
    ended = award(
        kinds.AwardReviewClosed, 60, later, review_id=str(uid(70)), decision="credit_reinstated", credit_ids=[]
    )
    [only] = record([SUPERSEDED, restored, OPENED, ended, CONFERRED]).awards
    assert (only.status, only.superseded_by, only.under_review) == ("conferred", None, False)
    again = award(kinds.AwardSuperseded, 60, later - 2, superseded_by=uid(62))
    [only] = record([SUPERSEDED, award(kinds.AwardRescinded, 61, 33), again, CONFERRED]).awards
    assert (only.status, only.superseded_by) == ("superseded", uid(62))


def test_an_award_stands_while_it_is_under_review() -> None:
    [only] = record([OPENED, CONFERRED]).awards
    assert (only.status, only.under_review) == ("conferred", True)
    [only] = record([closed("rescind", []), RESCINDED, OPENED, CONFERRED]).awards
    assert (only.status, only.under_review, only.classification) == ("rescinded", False, "Merit")


def test_substituted_credit_takes_the_place_of_what_was_lost() -> None:
    [only] = record([closed("substitute", [str(uid(31))], "Pass"), OPENED, CONFERRED]).awards
    assert (only.status, only.under_review) == ("conferred", False)
    assert (only.credit_ids, only.classification) == ((uid(31),), "Pass")
