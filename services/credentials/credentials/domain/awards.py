"""The life of an award: claimed, conferred or lapsed, perhaps superseded."""

from datetime import datetime, timedelta
from enum import StrEnum

from credentials.domain.regulations import Regulations
from shared.errors import Conflict, Forbidden


class State(StrEnum):
    CLAIMED = "claimed"
    """The credit is reserved until the registrar confers, or the reservation runs out."""
    LAPSED = "lapsed"
    CONFERRED = "conferred"
    SUPERSEDED = "superseded"
    """A higher award took up its credit. It still verifies, as superseded."""
    RESCINDED = "rescinded"


STANDING = (State.CLAIMED, State.CONFERRED, State.SUPERSEDED)
"""States in which an award holds its title and its credit."""


class OnHold(Conflict):
    """A payment came back; nothing can be claimed until that is settled."""


class ClaimLapsed(Conflict):
    """The reservation has run out; the learner can claim again."""


class NotClaimed(Conflict):
    """Only a claimed award can be conferred."""


class UnderReview(Conflict):
    """Credit this award stands on was revoked; it cannot be conferred."""


class OwnAward(Forbidden):
    """Nobody confers an award on themselves."""


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


def certificate_number(now: datetime, random_bits: int) -> str:
    """Says the year and nothing else: a running number would tell how many there are.

    Letters that are read alike are left out; the last one is a check against slips of the pen.
    """
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digits = [(random_bits >> shift) & 31 for shift in range(0, 50, 5)]
    check = sum((place + 1) * digit for place, digit in enumerate(digits)) % 31
    return f"MC-{now.year}-{''.join(alphabet[digit] for digit in digits)}{alphabet[check]}"
