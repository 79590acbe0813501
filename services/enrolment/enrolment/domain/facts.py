"""Facts: what others published and what was decided here about a learner. All else about their studies is derived."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID


class Kind(StrEnum):
    """Wire names for what others announced; short names for our own decisions."""

    PAYMENT_CONFIRMED = "payments.payment.confirmed.v1"
    PAYMENT_SETTLED = "payments.payment.settled.v1"
    PAYMENT_REVERSED = "payments.payment.reversed.v1"
    PAYMENT_RESTORED = "payments.payment.restored.v1"
    DISPUTE_OPENED = "payments.dispute.opened.v1"
    DISPUTE_CLOSED = "payments.dispute.closed.v1"
    REFUND_REQUESTED = "payments.refund.requested.v1"
    SUBMISSION_RECEIVED = "assessment.submission.received.v1"
    SUBMISSION_VOIDED = "assessment.submission.voided.v1"
    ASSESSMENT_PASSED = "assessment.assessment.passed.v1"
    ASSESSMENT_FAILED = "assessment.assessment.failed.v1"
    FAIL_RATIFIED = "assessment.fail.ratified.v1"
    MISCONDUCT_OPENED = "assessment.misconduct.opened.v1"
    MISCONDUCT_DECIDED = "assessment.misconduct.decided.v1"
    ATTEMPTS_EXHAUSTED = "assessment.attempts.exhausted.v1"
    CREDIT_AWARDED = "assessment.credit.awarded.v1"
    CREDIT_REVOKED = "assessment.credit.revoked.v1"
    CREDIT_REINSTATED = "assessment.credit.reinstated.v1"
    BADGE_ISSUED = "credentials.badge.issued.v1"
    BADGE_REVOKED = "credentials.badge.revoked.v1"
    ELIGIBILITY_CHANGED = "credentials.award.eligibility-changed.v1"
    AWARD_CLAIMED = "credentials.award.claimed.v1"
    AWARD_CONFERRED = "credentials.award.conferred.v1"
    AWARD_LAPSED = "credentials.award.lapsed.v1"
    AWARD_SUPERSEDED = "credentials.award.superseded.v1"
    AWARD_WITHDRAWN = "credentials.award.withdrawn.v1"
    AWARD_REFUSED = "credentials.award.refused.v1"
    AWARD_REVIEW_OPENED = "credentials.award.review-opened.v1"
    AWARD_REVIEW_CLOSED = "credentials.award.review-closed.v1"
    AWARD_RESCINDED = "credentials.award.rescinded.v1"
    AWARD_RESTORED = "credentials.award.restored.v1"
    TRANSFER_REQUESTED = "credentials.transfer.requested.v1"
    TRANSFER_DECIDED = "credentials.transfer.decided.v1"
    TRANSFER_COMPLETED = "credentials.transfer.completed.v1"
    TRANSFER_RETURNED = "credentials.transfer.returned.v1"
    TRANSFER_WITHDRAWN = "credentials.transfer.withdrawn.v1"

    WITHDRAWAL = "withdrawal"
    PAYMENT_LOST = "payment_lost"
    REINSTATEMENT = "reinstatement"


@dataclass(frozen=True, slots=True)
class Fact:
    """One event or decision about a learner. `at` is the instant it became true, not that at which it arrived.
    `fact_id` is a digest of the rest: the same fact has the same id however often it arrives."""

    fact_id: UUID
    kind: Kind
    subject: UUID
    at: datetime
    data: Mapping[str, Any]  # Any: the event as JSON

    @classmethod
    def of(cls, kind: Kind, subject: UUID, at: datetime, data: Mapping[str, Any]) -> Self:  # Any: the event as JSON
        canonical = json.dumps([kind, str(subject), data], sort_keys=True, separators=(",", ":"))
        return cls(UUID(bytes=hashlib.sha256(canonical.encode()).digest()[:16]), kind, subject, at, data)

    def id(self, name: str) -> UUID | None:
        """Return an id among the data; None where the event has none of that name."""
        value = self.data.get(name)
        return UUID(value) if value else None


def of_kind(facts: Iterable[Fact], *kinds: Kind) -> list[Fact]:
    """Return the facts of these kinds in the order they became true, whatever the order they arrived in."""
    return sorted(
        (fact for fact in facts if fact.kind in kinds), key=lambda fact: (fact.at, fact.subject, fact.fact_id)
    )


def revocations(facts: Iterable[Fact]) -> dict[UUID, Fact]:
    """Return the revocation of each credit that the board has not reinstated since."""
    words = of_kind(facts, Kind.CREDIT_REVOKED, Kind.CREDIT_REINSTATED)
    # Events of former releases, which had no revision, are older than those that have one.
    last = {fact.subject: fact for fact in sorted(words, key=lambda fact: fact.data.get("revision") or 0)}
    return {credit_id: fact for credit_id, fact in last.items() if fact.kind is Kind.CREDIT_REVOKED}
