"""What holds credit: suspended enrolments and cases hold all of it, money that went back its own."""

from datetime import timedelta

from shared.events.assessment import MisconductDecided, MisconductOpened
from shared.events.enrolment import EnrolmentReinstated, EnrolmentSuspended
from shared.ids import new_id

from .announcements import BEFORE, named


def case_of(learner, outcome="no_case"):
    ids = {
        "case_id": new_id(),
        "submission_id": new_id(),
        "enrolment_id": new_id(),
        "learner_id": learner,
        "attempt_no": 1,
    }
    return (
        MisconductOpened(**ids, reason_code="plagiarism", opened_at=BEFORE),
        MisconductDecided(**ids, outcome=outcome, decided_at=BEFORE + timedelta(days=3)),
    )


def suspended(learner, code="ANY", sequence=2):
    return EnrolmentSuspended(
        enrolment_id=named("enrolment", learner, code),
        learner_id=learner,
        reason_code="chargeback",
        sequence=sequence,
        suspended_at=BEFORE + timedelta(days=2),
    )


def suspension_of(learner, code="ANY", sequence=2):
    return (
        suspended(learner, code, sequence),
        EnrolmentReinstated(
            enrolment_id=named("enrolment", learner, code),
            learner_id=learner,
            sequence=sequence + 1,
            reinstated_at=BEFORE + timedelta(days=3),
        ),
    )
