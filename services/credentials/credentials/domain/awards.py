"""The life of an award: claimed, then conferred, lapsed, withdrawn or refused; perhaps superseded or rescinded."""

from datetime import datetime, timedelta
from enum import StrEnum

from credentials.domain.regulations import Regulations
from shared.errors import Conflict, Forbidden


class State(StrEnum):
    CLAIMED = "claimed"
    """The credit is reserved until the registrar confers, or the reservation runs out."""
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    """The learner changed their mind before it was conferred."""
    REFUSED = "refused"
    """The registrar did not confer it, and said why."""
    CONFERRED = "conferred"
    SUPERSEDED = "superseded"
    """A higher award took up its credit. It still verifies, as superseded."""
    RESCINDED = "rescinded"


class Refusal(StrEnum):
    """Why a registrar does not confer a claim."""

    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    INVESTIGATION_OPEN = "investigation_open"
    FEES_OUTSTANDING = "fees_outstanding"
    CLAIMED_IN_ERROR = "claimed_in_error"


STANDING = (State.CLAIMED, State.CONFERRED, State.SUPERSEDED)
"""States in which an award holds its title and its credit."""


class OnHold(Conflict):
    """A payment came back; nothing can be claimed until that is settled."""

    remedy = "Settle the payment, or write to finance."


class ClaimLapsed(Conflict):
    """The reservation has run out; the learner can claim again."""

    remedy = "Have the learner claim the award again."


class NotClaimed(Conflict):
    """Only a claimed award can be conferred."""

    remedy = "Have the learner claim the award first."


class AlreadyConferred(Conflict):
    """A conferred award is not withdrawn; it is superseded or, after a review, rescinded."""

    remedy = "Open a review of the award where credit under it was revoked."


class UnderReview(Conflict):
    """Credit this award stands on was revoked; it cannot be conferred."""

    remedy = "Decide the review of the award first."


class OwnAward(Forbidden):
    """Nobody confers an award on themselves."""

    remedy = "Let somebody else with the role confer it."


def reserved_until(now: datetime, regulations: Regulations) -> datetime:
    return now + timedelta(minutes=regulations.claim_minutes)


def check_conferral(state: str, until: datetime, *, under_review: bool, now: datetime) -> None:
    """Raises NotClaimed, ClaimLapsed, UnderReview."""
    if state == State.LAPSED or (state == State.CLAIMED and until <= now):
        raise ClaimLapsed("the reservation has run out; the learner can claim again")
    if state != State.CLAIMED:
        raise NotClaimed(f"this award is {state}")
    if under_review:
        raise UnderReview("credit it stands on was revoked")


def check_open(state: str, until: datetime, *, now: datetime) -> None:
    """Whether a claim can still be withdrawn or refused. Raises AlreadyConferred, NotClaimed, ClaimLapsed."""
    if state in (State.CONFERRED, State.SUPERSEDED):
        raise AlreadyConferred(f"this award is {state}")
    check_conferral(state, until, under_review=False, now=now)


def certificate_number(now: datetime, random_bits: int) -> str:
    """Says the year and nothing else: a running number would tell how many there are.

    Letters that are read alike are left out; the last one is a check against slips of the pen.
    """
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digits = [(random_bits >> shift) & 31 for shift in range(0, 50, 5)]
    check = sum((place + 1) * digit for place, digit in enumerate(digits)) % 31
    return f"MC-{now.year}-{''.join(alphabet[digit] for digit in digits)}{alphabet[check]}"
