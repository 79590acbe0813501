"""Credit from elsewhere: applied for with evidence, decided by the registrar in units of a module.

Source: docs/rules.md, "Credit from elsewhere".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from credentials.domain.policies import PriorLearningLimits
from shared.errors import Conflict, Forbidden, Invalid


class EvidenceMissing(Conflict):
    """Recognition needs evidence, unlike admission, which one certifies oneself."""

    remedy = "Add the evidence, then hand the application in."


class TooMuchEvidence(Conflict):
    """An application has a limited number of files."""

    remedy = "Take a file out first, or join several in one."


class NotDraft(Conflict):
    """What was handed in does not change."""

    remedy = "Withdraw what was handed in and begin anew."


class NotSubmitted(Conflict):
    """Only an application that waits for its decision can be decided or withdrawn."""

    remedy = "Read the application anew: it was decided, withdrawn, or not handed in yet."


class NotRecognised(Conflict):
    """Only recognised credit can be taken back."""

    remedy = "Check which application is meant: no credit was recognised on this one."


class LearnedTooLongAgo(Invalid):
    """The regulations limit how old what was learned elsewhere may be."""

    remedy = "Apply with something that was completed later."


class NotYetCompleted(Invalid):
    """What is recognised has been completed."""

    remedy = "Apply once it has been completed."


class UnitsOutOfBounds(Invalid):
    """Credit is recognised in whole modules, at most as much as was claimed, and none when refused."""

    remedy = "Recognise whole modules, at most what was claimed, and none when refused."


class ExternalCeilingExceeded(Conflict):
    """More credit from elsewhere could count towards no award."""

    remedy = "Apply for less credit."


class SubjectNotInCatalogue(Invalid):
    """No subject of the catalogue has this id."""

    remedy = "Take the id of a subject that `GET /v1/subjects` shows."


class OwnApplication(Forbidden):
    """Nobody decides on their own application."""

    remedy = "Let somebody else with the role decide it."


class PriorLearningState(StrEnum):
    """Where an application to have prior learning recognised stands.

    - `draft`: evidence may be added.
    - `submitted`: a registrar decides.
    - `recognised`: it led to credit.
    - `refused`: it led to none.
    - `withdrawn`: the learner took it back.
    - `revoked`: it was recognised, and the credit was taken back.
    """

    DRAFT = "draft"
    SUBMITTED = "submitted"
    RECOGNISED = "recognised"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Unit:
    """One module's worth of recognised credit, under the subject in which it counts."""

    title: str
    subject_id: UUID


def check_age(completed_on: date, today: date, policy: PriorLearningLimits) -> None:
    """Check that learning was completed, and not too long ago. Raises NotYetCompleted, LearnedTooLongAgo."""
    if completed_on > today:
        raise NotYetCompleted("this day is still to come")
    if policy.oldest_years is None:
        return
    # A 29 February counts as a 1 March where the year has none.
    anniversary = (completed_on.year + policy.oldest_years, *completed_on.timetuple()[1:3])
    if anniversary < (today.year, today.month, today.day):
        raise LearnedTooLongAgo(f"it may be {policy.oldest_years} years old at most")


def check_units(units: Sequence[Unit], claimed: int, held_already: int, policy: PriorLearningLimits) -> None:
    """Check that the units are no more than was claimed, nor than may come from elsewhere. Counts are in credits.

    Raises UnitsOutOfBounds, ExternalCeilingExceeded.
    """
    total = len(units) * policy.module_credits
    if not units or total > claimed:
        raise UnitsOutOfBounds(f"recognise whole modules of {policy.module_credits} credits, {claimed} credits at most")
    if held_already + total > policy.ceiling_credits:
        raise ExternalCeilingExceeded(
            f"{policy.ceiling_credits} credits may come from elsewhere, and this would make {held_already + total}",
            ceiling_credits=policy.ceiling_credits,
            held_already=held_already,
        )
