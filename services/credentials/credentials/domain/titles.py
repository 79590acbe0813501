"""The title of a selection, and every shape of selection that gives a title.

A selection is told apart only by how many modules each subject has, and a rule only by the number of
subjects and the share of the largest. So the selections of one level fall into few patterns: the largest
subject has m of n modules, beside others that number exactly k, or at least k. Asking whether a learner can
fill a pattern needs the totals by subject alone (options.py), never the subsets of the credits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from credentials.domain.regulations import Level, Regulations, TitleRule


@dataclass(frozen=True)
class Title:
    text: str
    rule: TitleRule
    rank: int
    named: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Pattern:
    """The largest subject has `largest` modules; exactly, or at least, `others` more stand beside it."""

    rule: TitleRule
    rank: int
    largest: int
    others: int
    or_more: bool


def alphabetical(subject: str) -> tuple[str, str]:
    return (subject.casefold(), subject)


def title_of(modules: Mapping[str, int], level: Level, regulations: Regulations) -> Title:
    """The title of a complete selection, given as modules by subject. Total: exactly one rule decides."""
    total = sum(modules.values())
    rank, rule = _decide(len(modules), Fraction(max(modules.values()), total), regulations)
    return entitle(rule, rank, modules, level)


def entitle(rule: TitleRule, rank: int, modules: Mapping[str, int], level: Level) -> Title:
    """The words of a rule for a selection it fits."""
    by_size = sorted(modules, key=lambda subject: (-modules[subject], *alphabetical(subject)))
    named = by_size[: rule.named]
    if rule.order == "alphabetical":
        named.sort(key=alphabetical)
    words = {"label": level.label, "credits": level.credits}
    return Title(rule.template.format(*named, **words), rule, rank, tuple(named), rule.reason.format(*named, **words))


@cache
def patterns(level: Level, regulations: Regulations) -> tuple[Pattern, ...]:
    """Every pattern of a level, from its rules; together they cover all selections, each exactly once."""
    modules = level.credits // regulations.module_credits
    found: list[Pattern] = []
    for largest in range(1, modules + 1):
        rest = modules - largest
        fewest, most = (
            -(-rest // largest),
            rest,
        )  # each other has at least one module and no more than the largest
        by_rule: dict[int, list[int]] = {}
        for others in range(fewest, most + 1):
            rank, _ = _decide(others + 1, Fraction(largest, modules), regulations)
            by_rule.setdefault(rank, []).append(others)
        for rank, counts in by_rule.items():
            rule = regulations.title_rules[rank]
            unbroken = counts == list(range(counts[0], most + 1))
            if unbroken and rest and rule.named <= 1:  # a title that names the others depends on which they are
                found.append(Pattern(rule, rank, largest, counts[0], or_more=True))
            else:
                found.extend(Pattern(rule, rank, largest, others, or_more=False) for others in counts)
    return tuple(found)


def _decide(subjects: int, largest: Fraction, regulations: Regulations) -> tuple[int, TitleRule]:
    return next((rank, rule) for rank, rule in enumerate(regulations.title_rules) if rule.fits(subjects, largest))
