"""The title of a selection, and every shape of selection that gives a title.

All that matters of a selection is how many modules each subject has, and to a rule only the number of subjects and the
share of the largest. So the selections of one level fall into few patterns: the largest subject has m of n modules,
beside others that number exactly k, or at least k. Whether a learner can fill a pattern follows from the totals by
subject alone (eligibility.py), never from the subsets of the credits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from credentials.domain.regulations import Level, Regulations, TitleRule


@dataclass(frozen=True)
class Title:
    """The title of a selection, the rule that gives it, and the subjects it names."""

    text: str
    rule: TitleRule
    rank: int
    named: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Pattern:
    """Selections whose largest subject has `largest` modules, beside exactly, or with `or_more` at least, `others`
    more."""

    rule: TitleRule
    rank: int
    largest: int
    others: int
    or_more: bool


def alphabetical(subject: str) -> tuple[str, str]:
    """Return a sort key for names as people read them."""
    return (subject.casefold(), subject)


def title_of(modules: Mapping[str, int], level: Level, regulations: Regulations) -> Title:
    """Return the title of a complete selection, given as modules by subject. Exactly one rule decides."""
    total = sum(modules.values())
    rank, rule = _decide(len(modules), Fraction(max(modules.values()), total), regulations)
    return entitle(rule, rank, modules, level)


def entitle(rule: TitleRule, rank: int, modules: Mapping[str, int], level: Level) -> Title:
    """Return the title in the words of a rule, for a selection that the rule fits."""
    by_size = sorted(modules, key=lambda subject: (-modules[subject], *alphabetical(subject)))
    named = by_size[: rule.named]
    if rule.order == "alphabetical":
        named.sort(key=alphabetical)
    words = {"label": level.label, "credits": level.credits}
    return Title(rule.template.format(*named, **words), rule, rank, tuple(named), rule.reason.format(*named, **words))


@cache
def patterns(level: Level, regulations: Regulations) -> tuple[Pattern, ...]:
    """Return every pattern of a level; together they cover all selections, each exactly once."""
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
