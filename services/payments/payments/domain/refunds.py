"""Refunds: when a learner may ask for one, and our status of it from what the provider reports."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import Enum, StrEnum, auto
from typing import Final, Protocol

from payments.domain.policy import Policy
from shared.clock import later
from shared.errors import Conflict


class CoolingOffEnded(Conflict):
    """Fees go back within the cooling-off period only."""

    remedy = "Withdraw without a refund, or write to finance: staff decide on it."


class ResultRatified(Conflict):
    """A course whose result a board ratified is not given back within the cooling-off period either."""

    remedy = "Write to finance: staff decide on it, as credit and awards may stand on the result."


class RefundAlreadyRequested(Conflict):
    """A line is refunded once."""

    remedy = "Read the refund there is."


class RefundNotFailed(Conflict):
    """Only a refund that the provider will not pay any more is sent again, or what is left of one it paid in part."""

    remedy = "Wait: the refund is under way or paid."


class RefundStatus(StrEnum):
    """How far a refund has come; `MEANINGS` has each in words."""

    REQUESTED = "requested"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    RETURNED = "returned"
    FAILED = "failed"
    CANCELLED = "cancelled"


MEANINGS: Final[Mapping[RefundStatus, str]] = {
    RefundStatus.REQUESTED: (
        "it is owed and not sent yet: its payment must have been paid out to us and not be disputed, and the provider "
        "takes one refund of a payment at a time. What else holds it back does so since `delayed_since`"
    ),
    RefundStatus.SUBMITTING: (
        "it is being sent, or, since `delayed_since`, was sent without an answer, or cannot be. The provider is asked "
        "what came of it, and it is not sent again meanwhile"
    ),
    RefundStatus.SUBMITTED: "the provider has it, and has not paid it out yet",
    RefundStatus.COMPLETED: "the money is paid out",
    RefundStatus.RETURNED: (
        "open again: the bank sent the money back, or the provider resumed a refund that had ended, and may still pay "
        "it; or less was paid than is owed, and finance has the rest sent"
    ),
    RefundStatus.FAILED: "the provider will not pay it, or nothing was seen of it; finance sends it again",
    RefundStatus.CANCELLED: "its payment was taken back from us, so nothing of it is owed",
}

NOT_WITH_PROVIDER: Final = frozenset({RefundStatus.REQUESTED, RefundStatus.SUBMITTING})
"""Of these nothing is known at the provider: each may be delayed."""
ACTIVE = frozenset({RefundStatus.SUBMITTING, RefundStatus.SUBMITTED})
"""The provider takes one of these at a time for a payment."""
IN_FLIGHT = ACTIVE | {RefundStatus.RETURNED}
"""The provider may still pay these, whatever becomes of the payment."""
OWED = IN_FLIGHT | {RefundStatus.REQUESTED, RefundStatus.FAILED}


def is_owed(status: str, *, funded: bool) -> bool:
    """Return whether a refund in this state is owed, or, of a payment that brings no money, may still be paid.

    So is one in a state that this release does not know, as a newer one may have left it: its money is not free.
    """
    return status not in frozenset(RefundStatus) or status in (OWED if funded else IN_FLIGHT)


class Reason(StrEnum):
    COOLING_OFF = "cooling_off"
    ACTIVATION_IMPOSSIBLE = "activation_impossible"
    DUPLICATE = "duplicate"
    OVERPAID = "overpaid"
    UNDERPAID = "underpaid"
    LATE_PAYMENT = "late_payment"
    ALREADY_BOUGHT = "already_bought"
    GOODWILL = "goodwill"
    COMPLAINT = "complaint"
    NOT_PAID_FOR = "not_paid_for"
    """Nothing goes back: notes of a line that this payment, which pays the order again, does not pay for it."""


GRANTED: Final = frozenset({Reason.GOODWILL, Reason.COMPLAINT})
"""The reasons that finance decides on; what becomes of credit that was earned is decided by others."""


class Made(Protocol):
    """What the provider reports of a refund that it made for one of ours."""

    @property
    def status(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def currency(self) -> str | None: ...


def paid_of(made: Iterable[Made], currency: str) -> int | None:
    """Return how much was paid of what is owed in that currency, in minor units; None where some was paid in another
    currency, so that nobody can say."""
    finished = [one for one in made if one.status == ProviderRefundStatus.FINISHED]
    if any(one.currency and one.currency != currency for one in finished):
        return None
    return sum(one.amount_minor for one in finished)


def owed_of(amount_minor: int, made: Iterable[Made]) -> int:
    """Return how much of a refund of that amount is neither paid nor being paid, in minor units.

    What the bank sent back may be paid by another of the provider's refunds.
    """
    covers = {ProviderRefundStatus.FINISHED, *UNDER_WAY}
    return max(0, amount_minor - sum(one.amount_minor for one in made if one.status in covers))


def divide(amount_minor: int, shares: Sequence[int | None]) -> list[int]:
    """Divide the amount of a refund at the provider among the refunds of ours that it pays: to each its share, while
    there is any, and to the last what is left, which may be more than is owed of it. A share of None is all there is.
    """
    parts: list[int] = []
    for share in shares[:-1]:
        left = amount_minor - sum(parts)
        parts.append(left if share is None else min(share, left))
    return [*parts, amount_minor - sum(parts)]


class ProviderRefundStatus(StrEnum):
    """How far a refund has come at the provider, in our words: each adapter translates its provider's into them."""

    INITIATED = "initiated"
    RECEIVED = "received"
    """The provider has set the money aside for it."""
    FINISHED = "finished"
    """It is paid."""
    CANCELLED = "cancelled"
    RETURNED = "returned"
    """The bank sent the money back."""
    UNKNOWN = "unknown"
    """A status that the adapter does not understand, or none: not known yet."""


_R = ProviderRefundStatus
UNDER_WAY: Final = frozenset({_R.INITIATED, _R.RECEIVED, _R.UNKNOWN})
ENDED: Final = frozenset({_R.FINISHED, _R.CANCELLED})
_ANY: Final = frozenset(_R) - {_R.UNKNOWN}
FOLLOWS: Final = {
    _R.INITIATED: _ANY,
    _R.RECEIVED: _ANY - {_R.INITIATED},
    _R.FINISHED: frozenset({_R.RETURNED}),
    # Documented: the bank sent it back, and the provider tries again; it is not paid before that.
    _R.RETURNED: _ANY - {_R.FINISHED},
    _R.CANCELLED: frozenset[ProviderRefundStatus](),
    _R.UNKNOWN: _ANY,
}
"""The statuses that may follow each. An answer with any other may come from a copy that lags behind."""


@dataclass(frozen=True, slots=True)
class RefundFact:
    """What the provider reports of one refund; `our_reference` is our refund's id."""

    provider_refund_id: str
    payment_reference: str
    status: ProviderRefundStatus
    at: datetime
    amount_minor: int
    our_reference: str
    currency: str = ""
    """Empty where the provider names none: that of the payment."""
    word: str = field(default="", compare=False)
    """The status as the provider wrote it."""


@dataclass(frozen=True, slots=True)
class LastReported:
    """What the provider reported last of one of its refunds."""

    status: ProviderRefundStatus
    at: datetime
    amount_minor: int
    currency: str


class Verdict(Enum):
    APPLY = auto()
    KNOWN = auto()
    ASK = auto()
    """It is older than what we know, or as old: the provider is asked at once."""
    DOUBT = auto()
    """It cannot follow what we know: the provider is asked again after a while."""
    UNCLEAR = auto()
    """Its status is one we do not understand, which takes back nothing of what we know: the provider is asked again
    after a while."""


def judge(last: LastReported | None, fact: RefundFact, *, fetched: bool, patience: timedelta) -> Verdict:
    """Decide what to do with a fact. A fetched one that contradicts the last is believed when it is later by
    `patience`: no copy of the provider's data lags behind for so long."""
    if last is None:
        return Verdict.APPLY
    if fact.status is ProviderRefundStatus.UNKNOWN and last.status is not ProviderRefundStatus.UNKNOWN:
        return Verdict.UNCLEAR
    if fact.status == last.status:
        other_currency = fact.currency and last.currency and fact.currency != last.currency
        if fact.amount_minor == last.amount_minor and not other_currency:
            return Verdict.APPLY if fact.currency and not last.currency else Verdict.KNOWN
        return Verdict.APPLY if fetched or fact.at > last.at else Verdict.ASK
    if fetched:
        believed = fact.status in FOLLOWS[last.status] or fact.at > later(last.at, patience)
        return Verdict.APPLY if believed else Verdict.DOUBT
    return Verdict.APPLY if fact.at > last.at and FOLLOWS[last.status] else Verdict.ASK


def cooling_off_ends(contract_at: datetime, access_at: datetime | None, policy: Policy) -> datetime:
    """Return the first instant at which a purchase can no longer be cancelled.

    The end of day 14 after the later of contract and access (london.ac.uk, your legal rights); days are
    those of the policy's time zone.
    """
    began = max(contract_at, access_at or contract_at).astimezone(policy.time_zone)
    ends = later(began, timedelta(days=policy.cooling_off_days + 1))
    return datetime.combine(ends.date(), time(), policy.time_zone)


def status_of(
    statuses: Collection[ProviderRefundStatus], before: RefundStatus, *, taken_up_again: bool, in_full: bool = True
) -> RefundStatus:
    """Return our status of a refund, from the statuses of every refund the provider made for it.

    `taken_up_again`: one of them had ended, or was sent back, and was resumed. `in_full`: what finished is
    all that is owed, in the currency that is owed; else the rest stays open.
    """
    if _R.FINISHED in statuses and in_full:
        return RefundStatus.COMPLETED
    if any(status is not _R.CANCELLED for status in statuses):
        under_way = not taken_up_again and not UNDER_WAY.isdisjoint(statuses)
        return RefundStatus.SUBMITTED if under_way and _R.RETURNED not in statuses else RefundStatus.RETURNED
    return RefundStatus.FAILED if before in IN_FLIGHT | {RefundStatus.COMPLETED} else before
