"""What may become of an award when credit it stands on was revoked. A person decides; this proposes.

Source: academic rules §4 (misconduct after award) and cases A11, A12. An award keeps its number when other
credit takes the place of what was lost: same level, same title. A higher award that is rescinded gives back the
awards it had superseded, for their own credit is as it was.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from credentials.domain.classification import Classification, classify
from credentials.domain.credit import Credit, countable, preference
from credentials.domain.fillings import Cost, fillings
from credentials.domain.options import Award, available_at, options
from credentials.domain.regulations import Regulations
from shared.errors import Conflict, Forbidden, Invalid

_HUNDREDTHS: Final = 100


class Decision(StrEnum):
    SUBSTITUTE = "substitute"
    """Spare credit takes the place of what was lost; the award stands, at the same level with the same title."""
    RESCIND = "rescind"
    RESCIND_AND_OFFER = "rescind_and_offer"
    """Rescinded; the learner is told which titles the remaining credit gives, and claims one if they wish."""
    CREDIT_REINSTATED = "credit_reinstated"
    """Nobody decided: the credit was given back before."""


class Reason(StrEnum):
    MISCONDUCT = "misconduct"
    ASSESSMENT_ERROR = "assessment_error"
    APPEAL = "appeal"
    ADMINISTRATIVE_ERROR = "administrative_error"


class ReviewDecided(Conflict):
    """A review is decided once; a second opinion is an appeal."""

    remedy = "Read the decision; who objects may appeal."


class NoSubstitute(Conflict):
    """The learner's spare credit does not give this title."""

    remedy = "Choose another outcome of the review."


class OwnReview(Forbidden):
    """Nobody decides on their own award."""

    remedy = "Let somebody else with the role decide it."


class OwnRevocation(Forbidden):
    """Whoever took the credit away does not decide on the award that stands on it."""

    remedy = "Leave it to a colleague."


class WrongSubstitute(Invalid):
    """Only a substitution names credit, and it must give the award's own title."""

    remedy = "Name credit with a substitution alone, and such as gives the award's own title."


@dataclass(frozen=True)
class Substitute:
    """Credit the award could stand on instead: `added` takes the place of `removed`."""

    selection: tuple[Credit, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    classification: Classification


@dataclass(frozen=True)
class Proposal:
    decision: Decision
    lost: tuple[str, ...]
    substitute: Substitute | None
    offer: tuple[str, ...]
    """Titles that could be claimed if it were rescinded: at the award's level, then at those below."""
    words: str


def propose(
    award: Award,
    lost: Collection[str],
    held: Iterable[Credit],
    others: Sequence[Award],
    above: Sequence[Award],
    regulations: Regulations,
    versions: Sequence[Regulations],
) -> Proposal:
    """What to do about an award that stands on lost credit. `others` are the learner's other standing awards.

    `above` are those that superseded it and share its credit: they bar no substitution, but whatever they hold is
    not free for a title anew. `regulations` are those it was awarded under, `versions` those the learner may claim
    under now.
    """
    facts = list(held)
    substitute = substitution(award, facts, others, regulations)
    offer = _offer(award, facts, [*others, *above], regulations, versions)
    if substitute is not None:
        decision = Decision.SUBSTITUTE
        words = "Spare credit can take the place of what was lost; the title stays."
    elif offer:
        decision = Decision.RESCIND_AND_OFFER
        words = f"No spare credit gives {award.title}. What remains gives {', '.join(offer)}."
    else:
        decision = Decision.RESCIND
        words = f"No spare credit gives {award.title}, and what remains gives no other title at this level or below."
    return Proposal(decision, tuple(sorted(lost)), substitute, offer, words)


def _offer(
    award: Award,
    held: Iterable[Credit],
    others: Sequence[Award],
    regulations: Regulations,
    versions: Sequence[Regulations],
) -> tuple[str, ...]:
    at_most = regulations.level(award.level).rank
    levels = [level.code for level in reversed(regulations.levels) if level.rank <= at_most]
    found = options(held, others, versions)
    return tuple(option.title for level in levels for option in found.get(level, ()))


def substitution(
    award: Award, held: Iterable[Credit], others: Sequence[Award], regulations: Regulations
) -> Substitute | None:
    """As much of the award's own credit as still counts, and of the rest the best: for the same title."""
    level = regulations.level(award.level)

    def cost(credit: Credit) -> Cost:
        return (0 if credit.id in award.credit_ids else 1, -int(credit.weight * _HUNDREDTHS))

    available = available_at(level, countable(held, regulations).credits, others, regulations)
    in_order = sorted(available, key=lambda credit: (cost(credit), preference(credit)))
    found = fillings(in_order, level, regulations, wanted=lambda title: title.text == award.title, cost=cost)
    best = min(
        (filling.selection for filling in found),
        key=lambda selection: (
            tuple(map(sum, zip(*map(cost, selection), strict=True))),
            sorted(c.id for c in selection),
        ),
        default=None,
    )
    return None if best is None else replacing(award, best, regulations)


def replacing(award: Award, selection: Iterable[Credit], regulations: Regulations) -> Substitute:
    """The award on this selection instead of its own."""
    chosen = tuple(sorted(selection, key=preference))
    ids = {credit.id for credit in chosen}
    return Substitute(
        selection=chosen,
        added=tuple(sorted(ids - award.credit_ids)),
        removed=tuple(sorted(award.credit_ids - ids)),
        classification=classify(chosen, regulations),
    )
