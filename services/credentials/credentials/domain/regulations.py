"""The regulations as data: one JSON document a version, immutable once in effect."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from string import Formatter
from typing import Any, Final

from shared.errors import Invalid
from shared.regulations import Versions


class UnknownLevel(Invalid):
    """The regulations offer no award at that level."""

    remedy = "Take a level that the regulations offer."


class InvalidRegulations(Invalid):
    """This document is no version of the regulations; the detail says what is wrong with it."""

    remedy = "Mend the document as `detail` says."


MOST_LEVELS: Final = 8
MOST_RULES: Final = 20
MOST_MODULES: Final = 60
"""Of one level: what is asked of a version is decided in time that grows with their square."""
_HIGHEST_MARK: Final = 100


@dataclass(frozen=True)
class Level:
    """An award one can stack up to; `rank` orders the levels, lowest first."""

    code: str
    label: str
    credits: int
    rank: int
    achievement_type: str


@dataclass(frozen=True)
class TitleRule:
    """Which selections it fits, told by the number of subjects and the share of the largest one.

    `named` subjects appear in the title: none, the largest alone, or all of them. The last rule takes
    whatever the others leave, so that every selection has exactly one title.
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
        if self.otherwise:
            return True
        few_enough = self.subjects_at_most is None or subjects <= self.subjects_at_most
        large_enough = self.share_over < largest and self.share_at_least <= largest
        return few_enough and self.subjects_at_least <= subjects and large_enough and largest <= self.share_at_most


@dataclass(frozen=True)
class Band:
    label: str
    at_least: int


@dataclass(frozen=True)
class Regulations:
    """One version. Credits are counted in modules of `module_credits`; marks are points of 100."""

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
        """What follows from a version is remembered by it; its name tells versions apart fast enough for that."""
        return hash(self.version)

    def level(self, code: str) -> Level:
        """Raises UnknownLevel."""
        for level in self.levels:
            if level.code == code:
                return level
        raise UnknownLevel(f"there is no award level {code!r} in {self.version}")


def parse(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    """Read one version; raises ValueError where its rules could not decide every selection alike."""
    levels = tuple(
        Level(entry["code"], entry["label"], entry["credits"], rank, entry["achievement_type"])
        for rank, entry in enumerate(sorted(document["levels"], key=lambda entry: entry["credits"]))
    )
    classification = document["classification"]
    regulations = Regulations(
        version=document["version"],
        effective_from=datetime.fromisoformat(document["effective_from"]),
        approved_by=document["approved_by"],
        module_credits=document["module_credits"],
        framework_level=document["framework_level"],
        levels=levels,
        title_rules=tuple(_title_rule(entry) for entry in document["title_rules"]),
        pass_mark=Decimal(document["marks"]["pass"]),
        external_max_share=Fraction(document["external_max_share"]),
        claim_minutes=document["claim_minutes"],
        bands=tuple(Band(band["label"], band["at_least"]) for band in classification["bands"]),
        marked_share_at_least=Fraction(classification["marked_share_at_least"]),
        unclassified=classification["otherwise"],
    )
    _check(regulations)
    return regulations


def _title_rule(entry: Mapping[str, Any]) -> TitleRule:  # Any: JSON
    subjects, share = entry.get("subjects", {}), entry.get("largest_share", {})
    return TitleRule(
        rule=entry["rule"],
        subjects_at_least=subjects.get("at_least", 1),
        subjects_at_most=subjects.get("at_most"),
        share_at_least=Fraction(share.get("at_least", 0)),
        share_over=Fraction(share.get("over", 0)),
        share_at_most=Fraction(share.get("at_most", 1)),
        named=entry["named"],
        order=entry.get("order", "larger_first"),
        template=entry["template"],
        reason=entry["reason"],
        otherwise=entry.get("otherwise", False),
    )


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
    if regulations.effective_from.tzinfo is None:
        raise ValueError(f"{regulations.version}: effective_from has no time zone")
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
    """Only the words we give it: a template is data, and must not reach into what it is filled with."""
    known = {"label", "credits", *map(str, range(named))}
    for _, name, spec, conversion in Formatter().parse(template):
        if name is not None and (name not in known or spec or conversion):
            raise ValueError(f"{version}: {template!r} has a place for something we do not know")


def read_candidate(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    """A version somebody proposes. Raises InvalidRegulations."""
    try:
        return parse(document)
    except (ArithmeticError, AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        raise InvalidRegulations(f"not a version of the regulations: {type(error).__name__}: {error}") from error


versions = Versions("credentials", parse)
find, in_force = versions.find, versions.in_force


def longest_claim() -> timedelta:
    """No reservation runs longer, under whatever version."""
    return timedelta(minutes=max(one.claim_minutes for one in versions.all.values()))


def claimable(pinned: frozenset[str], now: datetime) -> tuple[Regulations, ...]:
    """The versions a learner may claim under: the one in force, then those pinned at enrolment, newest first.

    The better of two: a change of the rules takes nothing from whoever enrolled before it.
    """
    return claimable_from(in_force(now), pinned)


def claimable_from(candidate: Regulations, pinned: frozenset[str]) -> tuple[Regulations, ...]:
    """The versions the same learner may claim under once the candidate is in force."""
    older = [find(version) for version in pinned if version != candidate.version]
    return candidate, *sorted(older, key=lambda regulations: regulations.effective_from, reverse=True)
