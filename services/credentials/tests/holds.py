"""Cases that hold up an award."""

from datetime import timedelta

from shared.events.assessment import MisconductDecided, MisconductOpened
from shared.ids import new_id

from .announcements import BEFORE


def case_of(learner):
    ids = {
        "case_id": new_id(),
        "submission_id": new_id(),
        "enrolment_id": new_id(),
        "learner_id": learner,
        "attempt_no": 1,
    }
    return (
        MisconductOpened(**ids, reason_code="plagiarism", opened_at=BEFORE),
        MisconductDecided(**ids, outcome="no_case", decided_at=BEFORE + timedelta(days=3)),
    )
