"""What a learner may claim: every title some selection of their credit gives, and the best selection for it.

Complete over all selections without listing them: the patterns of a level (titles.py) are finite, and for
each the best credit is found by taking it in order of preference. Source: academic rules §3.2-3.4.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations

from credentials.domain.classification import Classification, classify
from credentials.domain.credit import Credit, countable, preference
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Pattern, Title, alphabetical, entitle, patterns, title_of
from shared.errors import Conflict, Invalid


class NotAvailable(Conflict):
    """A chosen credit is not there to be counted: revoked, not ratified, or already used at this level."""


class TitleAlreadyHeld(Conflict):
    """The same title at the same level is awarded once."""


class NotEligible(Conflict):
    """No selection of the learner's credit gives that title."""


class WrongSelection(Invalid):
    """A selection has exactly the level's credits, each once, within the ceiling on external credit."""


class DifferentTitle(Invalid):
    """The chosen credits give another title than the one asked for."""


@dataclass(frozen=True)
class Award:
    """An award claimed, conferred or superseded: its credit makes no other at its level or below."""

    id: str
    level: str
    title: str
    credit_ids: frozenset[str]


@dataclass(frozen=True)
class Option:
    """A title open to the learner, with the selection we would make: best marks, then earliest passes."""

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
    """Awards whose credit this one takes up."""


def options(
    held: Iterable[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> dict[str, tuple[Option, ...]]:
    """By level code, under any of the versions (the first one that gives a title is the one named)."""
    facts = list(held)
    merged: dict[str, dict[str, Option]] = {}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        for level in regulations.levels:
            at_level = merged.setdefault(level.code, {})
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
    held: Iterable[Credit],
    awards: Sequence[Award],
    regulations: Regulations,
) -> Option:
    """The option a learner's own selection gives.

    Raises WrongSelection, NotAvailable, TitleAlreadyHeld.
    """
    available = {
        credit.id: credit for credit in _available(level, countable(held, regulations).credits, awards, regulations)
    }
    if len(set(credit_ids)) != len(credit_ids):
        raise WrongSelection("a credit counts once")
    if missing := [credit_id for credit_id in credit_ids if credit_id not in available]:
        raise NotAvailable("some of these credits cannot be counted for this award", credit_ids=missing)
    selection = sorted((available[credit_id] for credit_id in credit_ids), key=preference)
    total = sum(credit.credits for credit in selection)
    if total != level.credits:
        raise WrongSelection(f"{level.label} takes exactly {level.credits} credits, not {total}")
    if not _within_external_ceiling(selection, level, regulations):
        raise WrongSelection("too much of this is credit from elsewhere")
    modules = _by_subject(selection)
    title = title_of(modules, level, regulations)
    if title.text in _titles_held(level, awards):
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
    available = _available(level, counted, awards, regulations)
    if sum(credit.credits for credit in available) < level.credits:
        return
    best: dict[str, tuple[Title, Mapping[str, int], list[Credit], Decimal]] = {}
    for pattern in patterns(level, regulations):
        for selection in _fill(pattern, available, level, regulations):
            modules = _by_subject(selection)
            title = entitle(pattern.rule, pattern.rank, modules, level)
            weight = sum((credit.weight for credit in selection), Decimal(0))
            known = best.get(title.text)
            if known is None or _order(title, selection, weight) < _order(known[0], known[2], known[3]):
                best[title.text] = (title, modules, selection, weight)
    known_titles = _titles_held(level, awards)
    for text, (title, modules, selection, _) in best.items():
        if text not in known_titles:
            yield _option(
                title,
                modules=modules,
                selection=selection,
                level=level,
                available=available,
                awards=awards,
                regulations=regulations,
            )


def _order(title: Title, selection: Sequence[Credit], weight: Decimal) -> tuple[Decimal, int, list[tuple[object, ...]]]:
    """Of two selections for one title: best marks, then the plainer rule, then the earliest passes."""
    return (-weight, title.rank, sorted((credit.passed_at, credit.id) for credit in selection))


def _fill(
    pattern: Pattern, available: Sequence[Credit], level: Level, regulations: Regulations
) -> Iterator[list[Credit]]:
    """For each choice of subjects a pattern leaves open, the best credit that fills it, if any does.

    Taking credit in order of preference is best: the tops of the best `others` subjects are in some best
    filling (any other top could be exchanged for one of them), and what remains is bounded subject by subject
    alone. External credit has no mark and comes last: the best filling is also the one with the least of it.
    """
    modules = level.credits // regulations.module_credits
    by_subject: dict[str, list[Credit]] = {}
    for credit in available:
        by_subject.setdefault(str(credit.subject), []).append(credit)
    for largest, of_largest in by_subject.items():
        if len(of_largest) < pattern.largest:
            continue
        others = [subject for subject in by_subject if subject != largest]
        choices = [tuple(others)] if pattern.or_more else combinations(others, pattern.others)
        for choice in choices:
            rest = _take(modules - pattern.largest, pattern.others, pattern.largest, choice, available)
            if rest is not None:
                selection = of_largest[: pattern.largest] + rest
                if _within_external_ceiling(selection, level, regulations):
                    yield selection


def _take(
    modules: int, at_least: int, at_most_each: int, subjects: Sequence[str], available: Sequence[Credit]
) -> list[Credit] | None:
    """The best modules from at least so many of the subjects, none giving more than its bound."""
    taken: dict[str, Credit] = {}
    used = dict.fromkeys(subjects, 0)
    distinct = 0
    for credit in available:
        subject = str(credit.subject)
        if distinct < at_least and used.get(subject) == 0:
            taken[credit.id] = credit
            used[subject] = 1
            distinct += 1
    for credit in available:
        if len(taken) >= modules:
            break
        subject = str(credit.subject)
        if credit.id not in taken and used.get(subject, at_most_each) < at_most_each:
            taken[credit.id] = credit
            used[subject] += 1
    return list(taken.values()) if len(taken) == modules and distinct >= at_least else None


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
        selection=tuple(sorted(selection, key=preference)),
        left=tuple(credit for credit in available if credit.id not in chosen),
        classification=classify(selection, regulations),
        supersedes=tuple(
            sorted(
                award.id
                for award in awards
                if regulations.level(award.level).rank < level.rank and award.credit_ids & chosen
            )
        ),
    )


def _available(
    level: Level, counted: Sequence[Credit], awards: Sequence[Award], regulations: Regulations
) -> list[Credit]:
    """Credit counts once a level, and what made a higher award makes no lower one."""
    used: set[str] = set()
    for award in awards:
        if regulations.level(award.level).rank >= level.rank:
            used |= award.credit_ids
    return [credit for credit in counted if credit.id not in used]


def _titles_held(level: Level, awards: Sequence[Award]) -> set[str]:
    return {award.title for award in awards if award.level == level.code}


def _within_external_ceiling(selection: Sequence[Credit], level: Level, regulations: Regulations) -> bool:
    external = sum(credit.credits for credit in selection if credit.external)
    return external <= regulations.external_max_share * level.credits


def _by_subject(selection: Sequence[Credit]) -> dict[str, int]:
    modules: dict[str, int] = {}
    for credit in selection:
        modules[str(credit.subject)] = modules.get(str(credit.subject), 0) + 1
    return modules
