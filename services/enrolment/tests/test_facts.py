"""Facts are what the events say: of each event the fields this service needs, under the event's own names."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from enrolment.adapters.stored_facts import digest, kind_of, read
from enrolment.domain import facts
from enrolment.handlers import DECIDING, RECORDED
from shared.events.payments import PaymentConfirmed
from shared.ids import new_id

GOLDEN = Path(__file__).parents[3] / "libs/shared/tests/golden"

EVENTS = [PaymentConfirmed, *DECIDING, *RECORDED]
AT = datetime(2026, 11, 24, tzinfo=UTC)
LEFT_OUT = {
    "PaymentConfirmed": "amount_minor confirmed_at currency lines method",
    "PaymentSettled": "settled_at",
    "PaymentReversed": "lines reversed_at",
    "PaymentRestored": "restored_at",
    "DisputeOpened": "dispute_id opened_at reason_code",
    "DisputeClosed": "closed_at dispute_id",
    "RefundRequested": "amount_minor course_id currency order_id reason_code refund_id requested_at",
    "AttemptsExhausted": "attempts_used course_id exhausted_at",
    "CreditAwarded": "attempt_no board_id course_version_id ratified_at regulations_version subject_id",
    "CreditRevoked": "board_id credit_id decided_by enrolment_id revoked_at",
    "CreditReinstated": "board_id credit_id enrolment_id reason_code reinstated_at",
    "SubmissionReceived": "received_at submission_id",
    "SubmissionVoided": "reason_code submission_id voided_at",
    "AssessmentPassed": "course_id course_version_id module_family released_at submission_id",
    "AssessmentFailed": "course_id course_version_id module_family released_at submission_id",
    "FailRatified": "attempt_no board_id course_id mark ratified_at",
    "MisconductOpened": "attempt_no case_id opened_at reason_code",
    "MisconductDecided": "attempt_no case_id decided_at outcome submission_id",
    "BadgeIssued": "badge_id course_id issued_at",
    "BadgeRevoked": "badge_id credit_id reason_code revoked_at",
    "AwardEligibilityChanged": "changed_at",
    "AwardClaimed": "award_id claimed_at regulations_version rule",
    "AwardConferred": "award_id conferred_at",
    "AwardLapsed": "award_id lapsed_at",
    "AwardWithdrawn": "award_id withdrawn_at",
    "AwardRefused": "award_id reason_code refused_at",
    "AwardReviewOpened": "award_id credit_ids opened_at",
    "AwardReviewClosed": "award_id closed_at decision reason_code",
    "AwardRescinded": "award_id certificate_number level reason_code rescinded_at title",
    "AwardRestored": "award_id restored_at",
    "AwardSuperseded": "award_id superseded_at",
    "TransferRequested": "client_id decide_by requested_at share_id transfer_id",
    "TransferDecided": "accepted_until client_id decided_at programme_id transfer_id",
    "TransferCompleted": "client_id completed_at credit_ids programme_id transfer_id",
    "TransferReturned": "client_id credit_ids programme_id returned_at transfer_id",
    "TransferWithdrawn": "client_id programme_id transfer_id withdrawn_at",
}
"""What enrolment does not need of each event, beside the learner's id. A new field goes here or into domain/facts.py."""


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_fact_says_what_its_event_says(kind):
    event = kind.model_validate_json((GOLDEN / f"{kind.type}.json").read_text())
    fact_id, subject = new_id(), UUID(event.aggregate_id)
    fact = read(kind.type, fact_id, subject, AT, event.model_dump(mode="json"))
    assert fact is not None
    assert type(fact) is getattr(facts, kind.__name__)
    assert (fact.fact_id, fact.subject, fact.at) == (fact_id, subject, AT)
    for name in {field.name for field in dataclasses.fields(fact)} - {"fact_id", "subject", "at"}:
        said = getattr(event, name)
        if isinstance(said, tuple) and isinstance(said[0], BaseModel):
            for one, part in zip(said, getattr(fact, name), strict=True):
                assert one.model_dump().items() >= dataclasses.asdict(part).items()
        else:
            assert getattr(fact, name) == said


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_no_field_of_an_event_is_dropped_in_silence(kind):
    kept = {field.name for field in dataclasses.fields(getattr(facts, kind.__name__))}
    assert kind.model_fields.keys() - kept - {"learner_id"} == set(LEFT_OUT[kind.__name__].split())


def test_every_fact_is_stored_under_a_name_of_its_own():
    concrete = {
        kind
        for kind in vars(facts).values()
        if isinstance(kind, type) and issubclass(kind, facts.Fact) and not kind.__subclasses__()
    }
    names = {kind_of(kind) for kind in concrete}
    assert names == {kind.type for kind in EVENTS} | set(facts.DECISIONS)
    assert len(names) == len(concrete)


def test_what_a_later_release_stores_is_not_read():
    assert read("later.release.said.v1", new_id(), new_id(), AT, {}) is None


def test_a_fact_has_the_same_id_whatever_the_order_of_what_it_says():
    subject = new_id()
    assert digest("a", subject, {"x": 1, "y": 2}) == digest("a", subject, {"y": 2, "x": 1})
    assert len({digest("a", subject, {}), digest("b", subject, {}), digest("a", new_id(), {})}) == 3
