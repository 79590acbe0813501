"""What a learner may claim: every title some selection of their credit gives, and the best selection for it.

External credit has no mark and comes last in the order of preference, so the best selection for a title
(fillings.py) is also the one with the least of it. Source: docs/rules.md, "Titles" and "Choosing credit".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from credentials.domain.classification import Classification, classify
from credentials.domain.credit import Credit, countable, preference
from credentials.domain.fillings import Filling, by_name, fillings, most_external
from credentials.domain.regulations import Level, Regulations, levels_under
from credentials.domain.titles import Title, alphabetical, title_of
from shared.errors import Conflict, Invalid


class NotAvailable(Conflict):
    """A chosen credit is not there to be counted: revoked, not ratified, or already used at this level."""

    remedy = "Choose other credit, such as `GET /v1/award-options` offers."


class TitleAlreadyHeld(Conflict):
    """The same title at the same level is awarded once."""

    remedy = "Claim another title or another level."


class NotEligible(Conflict):
    """No selection of the learner's credit gives that title."""

    remedy = "Take a title that `GET /v1/award-options` offers, or see there what is missing."


class WrongSelection(Invalid):
    """A selection has exactly the level's credits, each once, within the ceiling on external credit."""

    remedy = "Choose credit that adds up to the level, such as `GET /v1/award-options` shows."


class DifferentTitle(Invalid):
    """The chosen credits give another title than the one asked for."""

    remedy = "Ask for the title that `detail` names, or choose other credit."


@dataclass(frozen=True)
class Award:
    """An award claimed, conferred or superseded: its credit makes no other award at its level or below.

    `credits` says how high it is, since the regulations in force may no longer know its level.
    """

    id: str
    level: str
    credits: int
    title: str
    credit_ids: frozenset[str]

    def takes_up(self, level: Level) -> bool:
        """Return whether this award's credit makes no award at that level."""
        return self.level == level.code or self.credits >= level.credits


@dataclass(frozen=True)
class Option:
    """A title open to the learner, with the best selection for it: best marks, then earliest passes."""

    level: str
    title: str
    rule: str
    rank: int
    reason: str
    regulations: str
    also_under: tuple[str, ...]
    modules: Mapping[str, int]
    selection: tuple[Credit, ...]
    left: tuple[Credit, ...]
    classification: Classification
    supersedes: tuple[str, ...]
    """Lower awards whose credit this one would take up."""


def options(
    earned: Iterable[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> dict[str, tuple[Option, ...]]:
    """Return what a learner may claim under any of the versions, by level code.

    An option names the first version that gives its title; the others are in `also_under`.
    """
    facts = list(earned)
    merged: dict[str, dict[str, Option]] = {code: {} for code in levels_under(versions)}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        for level in regulations.levels:
            at_level = merged[level.code]
            for option in _options_at(level, counted, awards, regulations):
                known = at_level.get(option.title)
                if known is None:
                    at_level[option.title] = option
                else:
                    also = (*known.also_under, regulations.version)
                    at_level[option.title] = replace(known, also_under=also)
    return {
        code: tuple(sorted(found.values(), key=lambda option: (option.rank, *alphabetical(option.title))))
        for code, found in merged.items()
    }


def select(
    credit_ids: Sequence[str],
    level: Level,
    earned: Iterable[Credit],
    awards: Sequence[Award],
    regulations: Regulations,
) -> Option:
    """Return the option that a learner's own selection gives.

    Raises WrongSelection, NotAvailable, TitleAlreadyHeld.
    """
    available = {credit.id: credit for credit in available_at(level, countable(earned, regulations).credits, awards)}
    if len(set(credit_ids)) != len(credit_ids):
        raise WrongSelection("a credit counts once")
    if missing := [credit_id for credit_id in credit_ids if credit_id not in available]:
        raise NotAvailable("some of these credits cannot be counted for this award", credit_ids=missing)
    selection = sorted((available[credit_id] for credit_id in credit_ids), key=preference)
    total = sum(credit.credits for credit in selection)
    if total != level.credits:
        raise WrongSelection(f"{level.label} takes exactly {level.credits} credits, not {total}")
    if sum(credit.external for credit in selection) > most_external(level, regulations):
        raise WrongSelection("too much of this is credit from elsewhere")
    modules = by_name(selection)
    title = title_of(modules, level, regulations)
    if title.text in titles_held(level, awards):
        raise TitleAlreadyHeld(f"{title.text} is already held")
    return _option(
        title,
        modules=modules,
        selection=selection,
        level=level,
        available=list(available.values()),
        awards=awards,
        regulations=regulations,
    )


def _options_at(
    level: Level, counted: Sequence[Credit], awards: Sequence[Award], regulations: Regulations
) -> Iterator[Option]:
    available = available_at(level, counted, awards)
    if sum(credit.credits for credit in available) < level.credits:
        return
    known_titles = titles_held(level, awards)
    weights = {credit.id: credit.weight for credit in available}
    best: dict[str, tuple[Filling, Decimal]] = {}
    for filling in fillings(available, level, regulations, wanted=lambda title: title.text not in known_titles):
        weight = sum((weights[credit.id] for credit in filling.selection), Decimal(0))
        known = best.get(filling.title.text)
        if known is None or weight > known[1] or (weight == known[1] and _plainer(filling, known[0])):
            best[filling.title.text] = (filling, weight)
    for filling, _ in best.values():
        yield _option(
            filling.title,
            modules=by_name(filling.selection),
            selection=filling.selection,
            level=level,
            available=available,
            awards=awards,
            regulations=regulations,
        )


def _plainer(one: Filling, other: Filling) -> bool:
    """Compare two selections for one title with equal marks: the plainer rule wins, then the earliest passes."""

    def order(filling: Filling) -> tuple[int, list[tuple[datetime, str]]]:
        return filling.title.rank, sorted((credit.passed_at, credit.id) for credit in filling.selection)

    return order(one) < order(other)


def _option(
    title: Title,
    *,
    modules: Mapping[str, int],
    selection: Sequence[Credit],
    level: Level,
    available: Sequence[Credit],
    awards: Sequence[Award],
    regulations: Regulations,
) -> Option:
    """Return the option of a selection. `available` comes best first."""
    chosen = {credit.id for credit in selection}
    return Option(
        level=level.code,
        title=title.text,
        rule=title.rule.rule,
        rank=title.rank,
        reason=title.reason,
        regulations=regulations.version,
        also_under=(),
        modules=modules,
        selection=tuple(credit for credit in available if credit.id in chosen),
        left=tuple(credit for credit in available if credit.id not in chosen),
        classification=classify(selection, regulations),
        supersedes=tuple(
            sorted(award.id for award in awards if not award.takes_up(level) and award.credit_ids & chosen)
        ),
    )


def available_at(level: Level, counted: Sequence[Credit], awards: Sequence[Award]) -> list[Credit]:
    """Return the credit that no award at this level or above stands on, in the order given."""
    used: set[str] = set()
    for award in awards:
        if award.takes_up(level):
            used |= award.credit_ids
    return [credit for credit in counted if credit.id not in used]


def titles_held(level: Level, awards: Sequence[Award]) -> set[str]:
    """Return the titles of the awards at this level."""
    return {award.title for award in awards if award.level == level.code}
