"""Credit whose money went back: it stays on record, counts for nothing new, and a person decides about it."""

from typing import Final

from shared.errors import Conflict, Forbidden

REFUNDED: Final = "refunded"
"""Why an enrolment ended whose money was given back, and its credit is held."""
WITHDRAWN: Final = "withdrawn"
"""Why an enrolment ended that its learner gave up; where its money is taken back from us, its credit is held."""
PAYMENT_LOST: Final = "payment_lost"
"""Why an enrolment ended whose money was taken back from us; it may come again, and until then its credit is held."""


class HoldEnded(Conflict):
    """The credit is held no more."""

    remedy = "Nothing is left to do: the credit counts again."


class OwnCredit(Forbidden):
    """Nobody decides about their own credit."""

    remedy = "Let somebody else with the role decide it."


class OwnRefund(Forbidden):
    """Whoever gave the money back does not decide about the credit, nor about an award that stands on it."""

    remedy = "Leave it to a colleague."
