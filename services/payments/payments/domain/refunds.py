"""Money that goes back: when a learner may ask for it, and what the provider makes of it."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from payments.domain.policy import Policy
from shared.errors import Conflict


class CoolingOffEnded(Conflict):
    """Fees go back within the cooling-off period only."""


class RefundAlreadyRequested(Conflict):
    """A line is refunded once."""


class RefundNotFailed(Conflict):
    """Only a refund the provider refused is sent again."""


class RefundStatus(StrEnum):
    REQUESTED = "requested"
    SUBMITTING = "submitting"
    """The provider is being asked; a crash here is resolved by looking for the refund there."""
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The money it would have returned was reversed."""


ACTIVE = frozenset({RefundStatus.SUBMITTING, RefundStatus.SUBMITTED})
"""The provider takes one at a time for a payment."""


class Reason(StrEnum):
    COOLING_OFF = "cooling_off"
    ACTIVATION_IMPOSSIBLE = "activation_impossible"
    DUPLICATE = "duplicate"
    OVERPAID = "overpaid"
    UNDERPAID = "underpaid"
    LATE_PAYMENT = "late_payment"


class ProviderRefundStatus(StrEnum):
    """Flywire's refund statuses (developers.flywire.com, use-case_refunds)."""

    INITIATED = "initiated"
    RECEIVED = "received"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class RefundFact:
    """What the provider says of one refund; `external_reference` is our refund's id."""

    provider_refund_id: str
    payment_reference: str
    status: ProviderRefundStatus
    at: datetime
    amount_minor: int
    external_reference: str


def cooling_off_ends(contract_at: datetime, access_at: datetime | None, policy: Policy) -> datetime:
    """The first instant at which a purchase can no longer be cancelled.

    The end of day 14 after the later of contract and access (london.ac.uk, your legal rights); days are
    those of the policy's time zone.
    """
    began = max(contract_at, access_at or contract_at).astimezone(policy.time_zone)
    last_day = began.date() + timedelta(days=policy.cooling_off_days)
    return datetime.combine(last_day + timedelta(days=1), time(), policy.time_zone)


def status_of(status: ProviderRefundStatus, before: RefundStatus) -> RefundStatus:
    """Our status. What the bank refused after it was finished is failed, and a person sees to it."""
    match status:
        case ProviderRefundStatus.FINISHED:
            return RefundStatus.COMPLETED
        case ProviderRefundStatus.CANCELLED | ProviderRefundStatus.RETURNED:
            return RefundStatus.FAILED
        case ProviderRefundStatus.INITIATED | ProviderRefundStatus.RECEIVED:
            return RefundStatus.FAILED if before is RefundStatus.COMPLETED else RefundStatus.SUBMITTED
