"""What may become of an award when credit it stands on was revoked, or is held because its money went back.

A person decides; these functions propose. Source: docs/rules.md, "When credit is lost", cases A11 and A12.

An award keeps its number when other credit takes the place of what was lost: same level, same title. Spare credit is
what no award holds but those that this one superseded or that superseded it, with which it shares credit anyway: no
substitution takes credit from an award that stands by itself, nor from a claim.

A higher award that is rescinded gives back the awards it had superseded, since their own credit is as it was, unless
another award still holds it. Two awards that stand by themselves share no credit; where they do all the same, as former
releases let them, the lower one is reviewed as well.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from credentials.domain.classification import Classification, classify
from credentials.domain.credit import Credit, CreditStatus, countable, preference
from credentials.domain.fillings import Cost, by_name, fillings
from credentials.domain.options import Award, options
from credentials.domain.regulations import Regulations
from credentials.domain.titles import title_of
from shared.errors import Conflict, Forbidden, Invalid

_HUNDREDTHS: Final = 100


class Decision(StrEnum):
    SUBSTITUTE = "substitute"
    """Spare credit takes the place of what was lost; the award stands, at the same level with the same title."""
    RESCIND = "rescind"
    RESCIND_AND_OFFER = "rescind_and_offer"
    """The award is rescinded; the learner is e-mailed which titles the remaining credit gives, and claims one if they
    wish."""
    SUPERSEDE = "supersede"
    """A higher award stands on its credit and takes its place, as at any conferral."""
    CREDIT_REINSTATED = "credit_reinstated"
    """The review was closed without a decision, since the credit counted again."""


class Reason(StrEnum):
    """Those for which a board takes credit away, and finer ones."""

    MISCONDUCT = "misconduct"
    ERROR = "error"
    ASSESSMENT_ERROR = "assessment_error"
    APPEAL = "appeal"
    ADMINISTRATIVE_ERROR = "administrative_error"
    REFUNDED = "refunded"
    """The money for the course went back."""


class ReviewDecided(Conflict):
    """A review is decided once; a second opinion is an appeal."""

    remedy = "Read the decision; who objects may appeal."


class NoSubstitute(Conflict):
    """The learner's spare credit does not give this title."""

    remedy = "Choose another outcome of the review."


class NotTakenUp(Conflict):
    """Only an award whose credit a higher one that stands holds, and that lost none, is superseded by it."""

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
    """A selection the award could stand on instead: `added` takes the place of `removed`."""

    selection: tuple[Credit, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    classification: Classification


@dataclass(frozen=True)
class Proposal:
    """What we propose for an award under review."""

    decision: Decision
    lost: tuple[str, ...]
    substitute: Substitute | None
    offer: tuple[str, ...]
    """Titles the learner could claim if it were rescinded: at the award's level, then at those below."""
    words: str


def spare(award: Award, earned: Iterable[Credit], others: Iterable[Award]) -> list[Credit]:
    """Return what the award may stand on: its own credit, and what none of `others` holds, each module once."""
    facts = list(earned)
    taken = frozenset[str]().union(*(other.credit_ids for other in others))
    standing = {credit.family for credit in _own(award, facts) if credit.status is CreditStatus.RATIFIED}
    return [
        credit
        for credit in facts
        if credit.id in award.credit_ids or (credit.id not in taken and credit.family not in standing)
    ]


def _own(award: Award, earned: Iterable[Credit]) -> list[Credit]:
    return [credit for credit in earned if credit.id in award.credit_ids]


def present_title(award: Award, earned: Iterable[Credit], regulations: Regulations) -> str:
    """Return the title of the award's own selection under its subjects' present names; a substitute must give the
    same."""
    return title_of(by_name(_own(award, earned)), regulations.level(award.level), regulations).text


def propose(
    award: Award,
    lost: Collection[str],
    earned: Iterable[Credit],
    others: Sequence[Award],
    chain: Collection[str],
    regulations: Regulations,
    versions: Sequence[Regulations],
) -> Proposal:
    """Return what to do about an award that stands on lost credit or, where none is lost, on credit that a higher award
    holds.

    `others` are the learner's other standing awards. `chain` names those among them that superseded it, or that it
    superseded: they bar no substitution, but whatever they hold is not free for a new title. `regulations` are those it
    was awarded under, `versions` those the learner may claim under now.
    """
    facts = list(earned)
    substitute = substitution(award, facts, [other for other in others if other.id not in chain], regulations)
    offer = _offer(award, facts, others, regulations, versions)
    if substitute is not None:
        decision = Decision.SUBSTITUTE
        words = "Spare credit can take the place of what was lost; the title stays."
        if not lost:
            words = "Spare credit can take the place of what a higher award holds; the title stays."
    elif not lost:
        decision = Decision.SUPERSEDE
        words = "A higher award holds its credit, and no spare credit gives this title: it is superseded."
    elif offer:
        decision = Decision.RESCIND_AND_OFFER
        words = f"No spare credit gives {award.title}. What remains gives {', '.join(offer)}."
    else:
        decision = Decision.RESCIND
        words = f"No spare credit gives {award.title}, and what remains gives no other title at this level or below."
    return Proposal(decision, tuple(sorted(lost)), substitute, offer, words)


def _offer(
    award: Award,
    earned: Iterable[Credit],
    others: Sequence[Award],
    regulations: Regulations,
    versions: Sequence[Regulations],
) -> tuple[str, ...]:
    at_most = regulations.level(award.level).rank
    levels = [level.code for level in reversed(regulations.levels) if level.rank <= at_most]
    found = options(earned, others, versions)
    return tuple(option.title for level in levels for option in found.get(level, ()))


def substitution(
    award: Award, earned: Iterable[Credit], others: Sequence[Award], regulations: Regulations
) -> Substitute | None:
    """Return the best substitute for the same title, or None.

    It keeps as much of the award's own credit as still counts, and takes the best spare credit for the rest.
    """
    facts = list(earned)
    level, wanted = regulations.level(award.level), present_title(award, facts, regulations)

    def cost(credit: Credit) -> Cost:
        return (0 if credit.id in award.credit_ids else 1, -int(credit.weight * _HUNDREDTHS))

    available = countable(spare(award, facts, others), regulations).credits
    in_order = sorted(available, key=lambda credit: (cost(credit), preference(credit)))
    found = fillings(in_order, level, regulations, wanted=lambda title: title.text == wanted, cost=cost)
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
    """Return this selection as a substitute for the award's own."""
    chosen = tuple(sorted(selection, key=preference))
    ids = {credit.id for credit in chosen}
    return Substitute(
        selection=chosen,
        added=tuple(sorted(ids - award.credit_ids)),
        removed=tuple(sorted(award.credit_ids - ids)),
        classification=classify(chosen, regulations),
    )
