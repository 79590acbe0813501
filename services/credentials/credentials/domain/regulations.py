"""The regulations as data: one JSON document for each version, immutable once in effect."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from string import Formatter
from typing import Any, Final

from shared.errors import Invalid
from shared.regulations import Versions, begins


class UnknownLevel(Invalid):
    """The regulations offer no award at that level."""

    remedy = "Take one of the levels that `levels` lists."


class InvalidRegulations(Invalid):
    """This document is no version of the regulations; the detail says what is wrong with it."""

    remedy = "Mend the document as `detail` says."


MOST_LEVELS: Final = 8
MOST_RULES: Final = 20
MOST_MODULES: Final = 60
"""The most modules a level may take: the time to decide anything under a version grows with their square."""
_HIGHEST_MARK: Final = 100
_LARGEST: Final = 10_000
_LONGEST_TEXT: Final = 500


@dataclass(frozen=True)
class Level:
    """A level at which awards are made; `rank` orders the levels, lowest first."""

    code: str
    label: str
    credits: int
    rank: int
    achievement_type: str


@dataclass(frozen=True)
class TitleRule:
    """A rule that gives a title to the selections it fits, by their number of subjects and the share of the largest
    one.

    `named` subjects appear in the title: none, the largest alone, or all of them. The last rule takes whatever the
    others leave, so that every selection has exactly one title.
    """

    rule: str
    subjects_at_least: int
    subjects_at_most: int | None
    share_at_least: Fraction
    share_over: Fraction
    share_at_most: Fraction
    named: int
    order: str
    template: str
    reason: str
    otherwise: bool

    def fits(self, subjects: int, largest: Fraction) -> bool:
        """Return whether the rule fits a selection with so many subjects and this share of the largest one."""
        if self.otherwise:
            return True
        few_enough = self.subjects_at_most is None or subjects <= self.subjects_at_most
        large_enough = self.share_over < largest and self.share_at_least <= largest
        return few_enough and self.subjects_at_least <= subjects and large_enough and largest <= self.share_at_most


@dataclass(frozen=True)
class Band:
    """A class of award, and the lowest mark for it."""

    label: str
    at_least: int


@dataclass(frozen=True)
class Regulations:
    """One version of the regulations. Credits are counted in modules of `module_credits`; marks are points of 100."""

    version: str
    effective_from: datetime
    approved_by: str
    module_credits: int
    framework_level: int
    levels: tuple[Level, ...]
    title_rules: tuple[TitleRule, ...]
    pass_mark: Decimal
    external_max_share: Fraction
    claim_minutes: int
    bands: tuple[Band, ...]
    marked_share_at_least: Fraction
    unclassified: str

    def __hash__(self) -> int:
        """Hash by the version's name alone: versions are keys of caches, and hashing all their rules would be slow."""
        return hash(self.version)

    def level(self, code: str) -> Level:
        """Return the level with this code. Raises UnknownLevel."""
        for level in self.levels:
            if level.code == code:
                return level
        known = [level.code for level in self.levels]
        raise UnknownLevel(f"there is no award level {code!r} in {self.version}, but: {', '.join(known)}", levels=known)


def levels_under(versions: Iterable[Regulations]) -> dict[str, tuple[Level, Regulations]]:
    """Return each level there is under any of these versions, lowest first, with the first version that has it."""
    found: dict[str, tuple[Level, Regulations]] = {}
    for version in versions:
        for level in version.levels:
            found.setdefault(level.code, (level, version))
    return dict(sorted(found.items(), key=lambda entry: entry[1][0].credits))


def parse(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    """Read one version.

    Raises ValueError, KeyError and the like for what is none, and ValueError where its rules would not decide every
    selection alike.
    """
    levels = tuple(
        Level(_text(entry["code"]), _text(entry["label"]), entry["credits"], rank, _text(entry["achievement_type"]))
        for rank, entry in enumerate(sorted(document["levels"], key=lambda entry: _whole(entry["credits"])))
    )
    classification = document["classification"]
    regulations = Regulations(
        version=_text(document["version"]),
        effective_from=begins(_text(document["effective_from"])),
        approved_by=_text(document["approved_by"]),
        module_credits=_whole(document["module_credits"]),
        framework_level=_whole(document["framework_level"]),
        levels=levels,
        title_rules=tuple(_title_rule(entry) for entry in document["title_rules"]),
        pass_mark=Decimal(_matching(_MARK, document["marks"]["pass"])),
        external_max_share=_share(document["external_max_share"]),
        claim_minutes=_whole(document["claim_minutes"]),
        bands=tuple(Band(_text(band["label"]), _whole(band["at_least"])) for band in classification["bands"]),
        marked_share_at_least=_share(classification["marked_share_at_least"]),
        unclassified=_text(classification["otherwise"]),
    )
    _check(regulations)
    return regulations


def _title_rule(entry: Mapping[str, Any]) -> TitleRule:  # Any: JSON
    subjects, share = entry.get("subjects", {}), entry.get("largest_share", {})
    return TitleRule(
        rule=_text(entry["rule"]),
        subjects_at_least=_whole(subjects.get("at_least", 1)),
        subjects_at_most=_whole(subjects["at_most"]) if "at_most" in subjects else None,
        share_at_least=_share(share.get("at_least", "0")),
        share_over=_share(share.get("over", "0")),
        share_at_most=_share(share.get("at_most", "1")),
        named=_whole(entry["named"]),
        order=_text(entry.get("order", "larger_first")),
        template=_text(entry["template"]),
        reason=_text(entry["reason"]),
        otherwise=entry.get("otherwise", False) is True,
    )


# Each kind of value has one notation: a number in another one, such as 1e999999, may take hours to read.

_SHARE: Final = re.compile("[0-9]{1,4}(/[0-9]{1,4})?")
_MARK: Final = re.compile("[0-9]{1,3}")


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:  # neither true nor 15.0
        raise ValueError(f"a number is none of 0 to {_LARGEST}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"a text is none of 1 to {_LONGEST_TEXT} printable characters")
    return value


def _share(value: object) -> Fraction:
    return Fraction(_matching(_SHARE, value))


def _matching(form: re.Pattern[str], value: object) -> str:
    if not form.fullmatch(_text(value)):
        raise ValueError(f"a share or mark is not of the form {form.pattern}")
    return _text(value)


def _check(regulations: Regulations) -> None:
    *named, last = regulations.title_rules
    if not last.otherwise or any(rule.otherwise for rule in named):
        raise ValueError(f"{regulations.version}: exactly the last title rule must take what is left")
    for rule in regulations.title_rules:
        names_all = rule.named == rule.subjects_at_least == rule.subjects_at_most
        names_largest = rule.named == 1 and max(rule.share_over, rule.share_at_least) >= Fraction(1, 2)
        if rule.named not in (0, 1, 2) or (rule.named and not (names_all or names_largest)):
            raise ValueError(f"{regulations.version}: {rule.rule} does not say which subject it names")
        if rule.order not in ("alphabetical", "larger_first"):
            raise ValueError(f"{regulations.version}: {rule.rule} has no known order")
        _check_template(rule.template, rule.named, regulations.version)
        _check_template(rule.reason, rule.named, regulations.version)
    _check_bounds(regulations)


def _check_bounds(regulations: Regulations) -> None:
    if not 0 <= regulations.pass_mark <= _HIGHEST_MARK:
        raise ValueError(f"{regulations.version}: the pass mark is no mark")
    if not 0 <= regulations.external_max_share <= 1:
        raise ValueError(f"{regulations.version}: external_max_share is no share")
    if not 0 < len(regulations.levels) <= MOST_LEVELS or len(regulations.title_rules) > MOST_RULES:
        raise ValueError(f"{regulations.version}: too many levels or rules, or none")
    if len({level.code for level in regulations.levels}) < len(regulations.levels):
        raise ValueError(f"{regulations.version}: two levels have one code")
    for level in regulations.levels:
        modules, rest = divmod(level.credits, regulations.module_credits)
        if rest or not 0 < modules <= MOST_MODULES:
            raise ValueError(f"{regulations.version}: {level.code} is not a whole number of modules")


def _check_template(template: str, named: int, version: str) -> None:
    """Raise ValueError if a template has any field but the words it is given.

    A template is data, and must not reach into the objects it is filled with.
    """
    known = {"label", "credits", *map(str, range(named))}
    for _, name, spec, conversion in Formatter().parse(template):
        if name is not None and (name not in known or spec or conversion):
            raise ValueError(f"{version}: {template!r} has a place for something we do not know")


def read_candidate(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    """Read a version that somebody proposes. Raises InvalidRegulations."""
    try:
        return parse(document)
    except (ArithmeticError, AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        raise InvalidRegulations(f"not a version of the regulations: {type(error).__name__}: {error}") from error


versions = Versions("credentials", parse)
find, in_force = versions.find, versions.in_force


def longest_claim() -> timedelta:
    """Return the longest time for which any version reserves credit."""
    return timedelta(minutes=max(one.claim_minutes for one in versions.all.values()))


def claimable(pinned: frozenset[str], now: datetime) -> tuple[Regulations, ...]:
    """Return the versions a learner may claim under: the one in force, then those pinned at enrolment, newest first.

    They may claim under the better one: a change of the rules takes nothing from whoever enrolled before it.
    """
    return claimable_from(in_force(now), pinned)


def claimable_from(candidate: Regulations, pinned: frozenset[str]) -> tuple[Regulations, ...]:
    """Return the versions the same learner may claim under once the candidate is in force."""
    older = [find(version) for version in pinned if version != candidate.version]
    return candidate, *sorted(older, key=lambda regulations: regulations.effective_from, reverse=True)
