"""Credit on its way into a degree elsewhere: requested, decided module by module, consumed or returned. Rules §3.6."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from credentials.domain.policies import Transfers
from shared.errors import Conflict, Invalid

Module = Mapping[str, Any]  # Any: JSON, as in ProgrammePublished


class CreditNotFree(Conflict):
    """Credit in transfer must be ratified, and neither in an award nor accepted by anybody else."""

    remedy = "Choose other credit, or wait until it is ratified and free."


class AlreadyRequested(Conflict):
    """One request to a programme at a time; withdraw it to change it."""

    remedy = "Withdraw the open request first."


class TransferDecided(Conflict):
    """A request is decided once, and only while it waits for a decision."""

    remedy = "Read the decision; the learner may ask again."


class NotAccepted(Conflict):
    """Nothing of this request is held for the programme."""

    remedy = "Check which request is meant: nothing of this one was accepted."


class DecisionIncomplete(Invalid):
    """A decision names every credit of the request, each once."""

    remedy = "Decide on every credit of the request, each once."


class CreditsOutOfBounds(Invalid):
    """Accept takes all of a credit, partial takes some of it, refuse takes none."""

    remedy = "Give each credit as many credits as its decision allows."


class CeilingExceeded(Conflict):
    """The programme takes in no more credit than its ceiling."""

    remedy = "Accept fewer credits."


class AcceptanceOutOfBounds(Invalid):
    """An acceptance ends after today, and not later than the regulations allow."""

    remedy = "Choose a day within the bounds that `detail` names."


class TransferState(StrEnum):
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    """At least some of the credit is committed to the programme."""
    REFUSED = "refused"
    COMPLETED = "completed"
    """The degree was conferred: the credit is consumed."""
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    """The partner did not decide in time."""


class LineState(StrEnum):
    REQUESTED = "requested"
    COMMITTED = "committed"
    REFUSED = "refused"
    CONSUMED = "consumed"
    RETURNED = "returned"
    ENDED = "ended"
    """The request ended without a decision."""


class TransferOutcome(StrEnum):
    ACCEPT = "accept"
    PARTIAL = "partial"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Decision:
    """On one credit. Whatever is not taken in whole needs a reason, which the learner sees."""

    credit_id: UUID
    outcome: TransferOutcome
    credits_recognised: int | None
    module_code: str | None
    reason_code: str
    reason: str

    @property
    def taken(self) -> bool:
        return self.outcome is not TransferOutcome.REFUSE


def check_decisions(
    decisions: Sequence[Decision], sizes: Mapping[UUID, int], *, ceiling: int, held_already: int
) -> dict[UUID, int]:
    """Credit -> how much of it is recognised. All in credits.

    Raises DecisionIncomplete, CreditsOutOfBounds, CeilingExceeded.
    """
    named = [decision.credit_id for decision in decisions]
    if len(named) != len(set(named)) or set(named) != set(sizes):
        raise DecisionIncomplete("decide on every credit of the request, each once", credit_ids=sorted(map(str, sizes)))
    recognised = {decision.credit_id: _recognised(decision, sizes[decision.credit_id]) for decision in decisions}
    total = held_already + sum(recognised.values())
    if total > ceiling:
        raise CeilingExceeded(
            f"the programme takes in {ceiling} credits at most, and this would make {total}",
            ceiling_credits=ceiling,
            held_already=held_already,
        )
    return recognised


def _recognised(decision: Decision, size: int) -> int:
    """Raises CreditsOutOfBounds."""
    given = decision.credits_recognised
    match decision.outcome:
        case TransferOutcome.ACCEPT if given in (None, size):
            return size
        case TransferOutcome.PARTIAL if given is not None and 0 < given < size:
            return given
        case TransferOutcome.REFUSE if not given:
            return 0
        case _:
            raise CreditsOutOfBounds(f"{decision.outcome} does not go with {given} of {size} credits")


def check_acceptance(until: datetime, now: datetime, policy: Transfers) -> None:
    """Raises AcceptanceOutOfBounds."""
    if not now < until <= now + policy.longest_acceptance:
        raise AcceptanceOutOfBounds(f"an acceptance lasts at most {policy.longest_acceptance.days} days")


def suggestion(
    modules: Iterable[Mapping[str, Any]], course_version_id: UUID | None, at: datetime
) -> Mapping[str, Any] | None:
    """The module the map has for a course version on that day, if any. Any: JSON, as in the event."""
    for module in modules:
        ends = module.get("valid_until")
        if (
            module["course_version_id"] == str(course_version_id)
            and datetime.fromisoformat(module["valid_from"]) <= at
            and (ends is None or at < datetime.fromisoformat(ends))
        ):
            return module
    return None
