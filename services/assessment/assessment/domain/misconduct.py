"""Misconduct: while a case is open its result is frozen; the panel's outcome decides what becomes of it."""

from enum import StrEnum

from assessment.domain.attempts import UNRATIFIED, AttemptState
from shared.errors import Conflict


class CaseOpen(Conflict):
    """The result is frozen until the case about it is decided."""

    remedy = "Wait for the decision on the case."


class CaseDecided(Conflict):
    """A case is decided once; what speaks against the decision is an appeal."""

    remedy = "Appeal to whoever runs this installation, who may open another case."


class OutcomeNotPossible(Conflict):
    """What has become of the work meanwhile leaves other outcomes only."""

    remedy = "Choose one of the outcomes that are left."


class MisconductOutcome(StrEnum):
    """What a panel decided about suspected work.

    - `no_case`: nothing was found, and the result stands.
    - `resubmit`: the attempt does not count and may be made again.
    - `mark_zero`: the mark is 0 and the attempt is used up.
    - `credit_revoked`: the credit given for the work is taken back.
    """

    NO_CASE = "no_case"
    RESUBMIT = "resubmit"
    MARK_ZERO = "mark_zero"
    CREDIT_REVOKED = "credit_revoked"


def possible(state: AttemptState, *, latest: bool, has_credit: bool) -> frozenset[MisconductOutcome]:
    """Return the outcomes that a panel may decide on for an attempt in that state.

    `latest`: no further attempt was begun after it. `has_credit`: it brought credit. What a board has ratified stays as
    recorded, and only its credit can be revoked.
    """
    if state in UNRATIFIED:
        proven = {MisconductOutcome.MARK_ZERO, MisconductOutcome.RESUBMIT} if latest else {MisconductOutcome.MARK_ZERO}
    else:
        proven = {MisconductOutcome.CREDIT_REVOKED} if has_credit else set[MisconductOutcome]()
    return frozenset({MisconductOutcome.NO_CASE} | proven)


def check_outcome(outcome: MisconductOutcome, allowed: frozenset[MisconductOutcome]) -> None:
    """Check that an outcome is among the allowed ones. Raises OutcomeNotPossible."""
    if outcome not in allowed:
        raise OutcomeNotPossible(f"possible here: {', '.join(sorted(allowed))}", outcomes=sorted(allowed))
