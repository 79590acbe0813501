"""Our states of a payment, from what the provider reports. Its facts come late, twice, in any order, and contradict
each other."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Final

from payments.domain.policy import Policy
from shared.clock import later
from shared.errors import Unauthenticated


class BadSignature(Unauthenticated):
    """The notification is not signed with a secret of ours."""

    remedy = "Sign the notification with the secret that this installation shares with the provider."


class ProviderStatus(StrEnum):
    """How far a payment has come at its provider, in our words: each adapter translates its provider's into them."""

    INITIATED = "initiated"
    """The payer has finished the form; no money yet."""
    AUTHORIZED = "authorized"
    ADJUSTED = "adjusted"
    PROCESSED = "processed"
    """The provider has the money, and still looks at it."""
    GUARANTEED = "guaranteed"
    """The provider will pay it out."""
    DELIVERED = "delivered"
    """It is paid out to us."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    REVERSED = "reversed"
    """It was taken back from us."""
    UNKNOWN = "unknown"
    """A status that the adapter does not understand, or none: not known yet."""


RANK: Final = {status: rank for rank, status in enumerate(ProviderStatus)}

_P = ProviderStatus
_WAITING: Final = frozenset(
    {_P.AUTHORIZED, _P.ADJUSTED, _P.PROCESSED, _P.GUARANTEED, _P.DELIVERED, _P.CANCELLED, _P.FAILED}
)
FOLLOWS: Final = {
    _P.INITIATED: _WAITING,
    _P.AUTHORIZED: _WAITING,
    _P.ADJUSTED: _WAITING,
    _P.PROCESSED: frozenset({_P.GUARANTEED, _P.DELIVERED, _P.CANCELLED, _P.FAILED, _P.REVERSED}),
    _P.GUARANTEED: frozenset({_P.DELIVERED, _P.REVERSED}),
    _P.DELIVERED: frozenset({_P.REVERSED}),
    # Documented: late money revives a cancelled payment.
    _P.CANCELLED: frozenset({_P.INITIATED, _P.PROCESSED}),
    _P.FAILED: frozenset[ProviderStatus](),
    _P.REVERSED: frozenset[ProviderStatus](),
    _P.UNKNOWN: frozenset(_P),
}
"""The statuses that may follow each. Any other contradicts what we know, and the provider is asked."""


def _ahead(status: ProviderStatus) -> frozenset[ProviderStatus]:
    """Return all statuses that may still follow, in any number of steps."""
    found = set(FOLLOWS[status])
    while more := {after for one in found for after in FOLLOWS[one]} - found:
        found |= more
    return frozenset(found)


AHEAD: Final = {status: _ahead(status) for status in ProviderStatus}


class State(StrEnum):
    AWAITING_FUNDS = "awaiting_funds"
    CAPTURING = "capturing"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    FAILED_ATTEMPT = "failed_attempt"
    LOST = "lost"


FUNDED: Final = frozenset({State.CONFIRMED, State.SETTLED})
UNDER_WAY: Final = frozenset({State.AWAITING_FUNDS, State.CAPTURING})
"""Money may still come of it: a bank transfer, a card that is being looked at."""


class Use(StrEnum):
    """What became of money that arrived."""

    ORDER = "order"
    DUPLICATE = "duplicate"
    UNDERPAID = "underpaid"
    LATE = "late"


UNKNOWN_METHOD: Final = "unknown"
"""The provider does not say how it was paid."""


@dataclass(frozen=True, slots=True)
class PaymentFact:
    """What the provider reports of one payment. The amount is what reaches the recipient, in minor units;
    `our_reference` is that of the checkout attempt, empty where the provider names none."""

    reference: str
    status: ProviderStatus
    at: datetime
    amount_minor: int
    currency: str
    our_reference: str
    method: str
    reason_code: str
    word: str = field(default="", compare=False)
    """The status as the provider wrote it."""


@dataclass(frozen=True, slots=True)
class AppliedFact:
    """The last fact applied to a payment."""

    status: ProviderStatus
    at: datetime
    amount_minor: int
    currency: str
    method: str


class Verdict(Enum):
    APPLY = auto()
    KNOWN = auto()
    """It repeats what we know."""
    IGNORE = auto()
    """The payment is paid out; only a reversal changes that."""
    ASK = auto()
    """It is older than what we know, as old, or contradicts it: the provider is asked, nothing is guessed."""
    DOUBT = auto()
    """It is an answer that may be older than what we know: the provider is asked again after a while."""
    UNCLEAR = auto()
    """Its status is one we do not understand: the provider is asked again after a while."""


def judge(  # noqa: PLR0911 - a table of cases, read from above
    last: AppliedFact | None, fact: PaymentFact, *, fetched: bool, patience: timedelta
) -> Verdict:
    """Decide what to do with a fact.

    A fetched one may come out of order. But where it cannot follow the last fact, and the last may have followed it, it
    is believed only when it is later by `patience`: no copy of the provider's data lags behind for so long.
    """
    if last is None:
        return Verdict.APPLY
    if fact.status is ProviderStatus.UNKNOWN:
        return Verdict.UNCLEAR
    if fact.status == last.status:
        if (fact.amount_minor, fact.currency) == (last.amount_minor, last.currency):
            names_it = last.method == UNKNOWN_METHOD != fact.method  # left out before
            return Verdict.APPLY if names_it else Verdict.KNOWN
        return Verdict.APPLY if fetched or fact.at > last.at else Verdict.ASK
    if last.status is ProviderStatus.UNKNOWN:
        return Verdict.APPLY if fetched or fact.at > last.at else Verdict.ASK
    if last.status is ProviderStatus.DELIVERED and fact.status is not ProviderStatus.REVERSED:
        return Verdict.IGNORE
    if fetched:
        older = fact.status not in FOLLOWS[last.status] and last.status in AHEAD[fact.status]
        believed = not older or fact.at > later(last.at, patience)
        return Verdict.APPLY if believed else Verdict.DOUBT
    newer = (fact.at, RANK[fact.status]) > (last.at, RANK[last.status])
    return Verdict.APPLY if newer and fact.status in FOLLOWS[last.status] else Verdict.ASK


def state_of(status: ProviderStatus, method: str, before: State | None, policy: Policy) -> State:
    """Return our state of a payment. One that ends without money is lost if it was confirmed before, else a failed
    attempt; a lost one stays so until the money is there again, whatever is on its way."""
    gone = before in FUNDED or before is State.LOST
    match status:
        case ProviderStatus.PROCESSED:
            sure = policy.confirming_status(method) == ProviderStatus.PROCESSED
            waiting = State.LOST if gone else State.CAPTURING
            return State.CONFIRMED if sure or before in FUNDED else waiting
        case ProviderStatus.GUARANTEED:
            return State.CONFIRMED
        case ProviderStatus.DELIVERED:
            return State.SETTLED
        case ProviderStatus.REVERSED:
            return State.LOST
        case ProviderStatus.CANCELLED | ProviderStatus.FAILED:
            return State.LOST if gone else State.FAILED_ATTEMPT
        case ProviderStatus.INITIATED | ProviderStatus.AUTHORIZED | ProviderStatus.ADJUSTED | ProviderStatus.UNKNOWN:
            return State.LOST if gone else State.AWAITING_FUNDS


CERTAIN: Final = frozenset({_P.GUARANTEED, _P.DELIVERED})
"""The money is there, however it was paid, unless a bank has it."""
DEAD: Final = frozenset({_P.CANCELLED, _P.FAILED, _P.REVERSED})
"""No money is expected of it any more, although it may still come back."""


def use_of(
    *, received_minor: int, due_minor: int, same_currency: bool, confirmed: bool, open_: bool, sellable: bool
) -> Use:
    """Decide what money that arrived is used for.

    `confirmed`: another payment paid the order. `open_`: the order had neither expired nor been cancelled.
    `sellable`: it could be placed today.
    """
    if confirmed:
        return Use.DUPLICATE
    if not open_ and not sellable:
        return Use.LATE
    if not same_currency or received_minor < due_minor:
        return Use.UNDERPAID
    return Use.ORDER
