"""The life of an award: claimed, then conferred, lapsed, withdrawn or refused; perhaps superseded or rescinded."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import NAMESPACE_URL, UUID, uuid5

from credentials.domain.regulations import Regulations
from shared.errors import Conflict, Forbidden


class State(StrEnum):
    CLAIMED = "claimed"
    """The credit is reserved until the registrar confers, or the reservation runs out."""
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    """The learner took the claim back before it was conferred."""
    REFUSED = "refused"
    """The registrar did not confer the award, and gave a reason."""
    CONFERRED = "conferred"
    SUPERSEDED = "superseded"
    """A higher award took up its credit. Its badge still verifies, as superseded."""
    RESCINDED = "rescinded"


class RefusalReason(StrEnum):
    """Why a registrar does not confer a claim."""

    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    INVESTIGATION_OPEN = "investigation_open"
    FEES_OUTSTANDING = "fees_outstanding"
    CLAIMED_IN_ERROR = "claimed_in_error"
    CREDIT_REVOKED = "credit_revoked"


LIVE = (State.CLAIMED, State.CONFERRED, State.SUPERSEDED)
"""States in which an award holds its title and its credit."""


class OnHold(Conflict):
    """A payment came back or is in dispute, or a case of misconduct is open: until that is settled nothing is claimed,
    conferred or transferred."""

    remedy = "Wait until it is settled; the learner settles a payment, or writes to finance."


class ClaimLapsed(Conflict):
    """The reservation has run out; the learner can claim again."""

    remedy = "Have the learner claim the award again."


class NotClaimed(Conflict):
    """Only a claimed award can be conferred."""

    remedy = "Have the learner claim the award first."


class AlreadyConferred(Conflict):
    """A conferred award is not withdrawn; it is superseded or, after a review, rescinded."""

    remedy = "Leave it: a conferred award changes by a review alone, which opens when credit under it is revoked."


class UnderReview(Conflict):
    """Credit this claim stands on was revoked; it is held, and not conferred. Only what was conferred is reviewed."""

    remedy = "Refuse the claim, or leave it: it can be conferred once the credit is given back, and lapses by itself."


class OwnAward(Forbidden):
    """Nobody confers an award on themselves."""

    remedy = "Let somebody else with the role confer it."


def reserved_until(now: datetime, regulations: Regulations) -> datetime:
    """Return when the reservation of a claim made now runs out."""
    return now + timedelta(minutes=regulations.claim_minutes)


def check_conferral(state: str, until: datetime, *, under_review: bool, now: datetime) -> None:
    """Check that an award can be conferred now.

    Raises NotClaimed, ClaimLapsed, UnderReview.
    """
    if state == State.LAPSED or (state == State.CLAIMED and until <= now):
        raise ClaimLapsed("the reservation has run out; the learner can claim again")
    if state != State.CLAIMED:
        raise NotClaimed(f"this award is {state}")
    if under_review:
        raise UnderReview("credit this claim stands on was revoked: refuse it, or wait until the credit is given back")


def check_open(state: str, until: datetime, *, now: datetime) -> None:
    """Check that a claim can still be withdrawn or refused.

    Raises AlreadyConferred, NotClaimed, ClaimLapsed.
    """
    if state in (State.CONFERRED, State.SUPERSEDED):
        raise AlreadyConferred(f"this award is {state}")
    check_conferral(state, until, under_review=False, now=now)


def achievement_id(version: str, level: str, title: str, reason: str) -> UUID:
    """Return the id of the achievement that an award's badge recognises.

    One title can be earned on several grounds; each is an achievement of its own, since the badge states the ground.
    """
    return uuid5(NAMESPACE_URL, f"urn:award:{version}:{level}:{title}:{reason}")


def certificate_number(now: datetime, random_bits: int) -> str:
    """Return a certificate number made of the year and `random_bits` (50 of them).

    It says the year and nothing else: a running number would give away how many awards there are. Letters that are
    mistaken for digits are left out; the last character is a check digit against typing errors.
    """
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digits = [(random_bits >> shift) & 31 for shift in range(0, 50, 5)]
    check = sum((place + 1) * digit for place, digit in enumerate(digits)) % 31
    return f"MC-{now.year}-{''.join(alphabet[digit] for digit in digits)}{alphabet[check]}"
