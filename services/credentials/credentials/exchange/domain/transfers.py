"""Credit on its way into a degree elsewhere: requested, decided module by module, consumed or returned.

Source: docs/rules.md, "Transfers".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from credentials.domain.policies import Transfers, years_after
from shared.errors import Conflict, Invalid

Module = Mapping[str, Any]  # Any: JSON, as in ProgrammePublished


class CreditNotFree(Conflict):
    """Credit in transfer must be ratified, and neither in an award nor accepted by anybody else."""

    remedy = "Choose other credit, or wait until it is ratified and free."


class AlreadyRequested(Conflict):
    """One request to a programme at a time; withdraw it to change it."""

    remedy = "Withdraw the open request first."


class ProgrammeClosed(Conflict):
    """The programme's partner was closed, or may not read what a transfer shows it."""

    remedy = "Choose a programme that `GET /v1/programmes` offers."


class TransferAlreadyDecided(Conflict):
    """A request is decided once, and only while it waits for a decision."""

    code = "transfer_decided"
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
    """An acceptance has an end, after today and not later than the regulations allow."""

    remedy = "Choose a day within the bounds that `detail` names."


class TransferState(StrEnum):
    """Where a transfer stands.

    - `requested`: the partner has not decided yet.
    - `accepted`: at least some of the credit is committed to the programme.
    - `refused`: none of it is.
    - `completed`: the degree was conferred, and the credit is consumed.
    - `returned`: what had been accepted is the learner's again.
    - `withdrawn`: the learner took the request back before a decision.
    - `lapsed`: no decision came in time.
    """

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    COMPLETED = "completed"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


class LineState(StrEnum):
    """Where one credit of a transfer stands.

    - `requested`: the partner has not decided yet.
    - `committed`: accepted, and reserved for the degree.
    - `refused`: not accepted.
    - `consumed`: the degree was conferred on it.
    - `returned`: it had been accepted, and is the learner's again.
    - `ended`: the request ended without a decision.
    """

    REQUESTED = "requested"
    COMMITTED = "committed"
    REFUSED = "refused"
    CONSUMED = "consumed"
    RETURNED = "returned"
    ENDED = "ended"


class TransferOutcome(StrEnum):
    """What a partner decides on a credit: all of it counts, part of it, or nothing."""

    ACCEPT = "accept"
    PARTIAL = "partial"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Decision:
    """A partner's decision on one credit. Whatever is not accepted in whole needs a reason, which the learner sees."""

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
    """Check a partner's decisions; return how many credits each recognises (credit id -> credits).

    `sizes` are the credits of each credit asked for, `held_already` those the programme has, `ceiling` its limit.
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
    """Return the credits that a decision recognises. Raises CreditsOutOfBounds."""
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


def check_acceptance(until: datetime | None, now: datetime, policy: Transfers) -> datetime:
    """Return the instant at which an acceptance ends, if it is within bounds. Raises AcceptanceOutOfBounds."""
    if until is None or not now < until <= years_after(now, policy.acceptance_years):
        raise AcceptanceOutOfBounds(f"an acceptance lasts at most {policy.acceptance_years} years")
    return until


def suggestion(
    modules: Iterable[Mapping[str, Any]], course_version_id: UUID | None, at: datetime
) -> Mapping[str, Any] | None:
    """Return the module that the map has for a course version at that instant, if any. Any: JSON, as in the event."""
    for module in modules:
        ends = module.get("valid_until")
        if (
            module["course_version_id"] == str(course_version_id)
            and datetime.fromisoformat(module["valid_from"]) <= at
            and (ends is None or at < datetime.fromisoformat(ends))
        ):
            return module
    return None
