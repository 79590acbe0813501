"""The forecast of each level: what the learner has, what is missing, and the nearest titles, in numbers and words.

Source: docs/rules.md, "Choosing credit" (near miss) and "Credit from elsewhere" (ceiling).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from credentials.domain import eligibility
from credentials.domain.credit import Credit, countable
from credentials.domain.fillings import most_external
from credentials.domain.options import Award, available_at, titles_held
from credentials.domain.planner import Course, Plan, fewest, plans
from credentials.domain.regulations import Level, Regulations, levels_under
from credentials.domain.titles import Title

WORDS: Final = MappingProxyType(
    {
        "provisional": "It waits for the board: no credit yet.",
        "revoked": "The board took it back.",
        "held": "What was paid for it went back: staff decide whether it counts.",
        "committed": "A partner accepted it for a degree, so it cannot be claimed here meanwhile.",
        "consumed": "A degree elsewhere was conferred on it.",
        "level": "It is at another level of the qualifications framework.",
        "no_subject": "It belongs to no subject that can stand in a title.",
        "size": "Its credits are not those of one module, so the regulations do not count it.",
        "failed": "Its mark is below the pass mark: it gives no credit.",
        "repeated": "The same module counts once, with its best mark.",
        "on_hold": "A payment or a case is open: nothing can be claimed until that is settled.",
        "used": "An award at this level or above already stands on it.",
    }
)
"""Reason code -> why credit or a course does not count, in words."""


@dataclass(frozen=True)
class Excluded:
    """Credit that does not count, and the reason code."""

    credit_id: str
    reason: str

    @property
    def words(self) -> str:
        return WORDS[self.reason]


@dataclass(frozen=True)
class Near:
    """A title that is out of reach now, with a plan of the fewest, then cheapest, courses that give it."""

    plan: Plan
    missing: Mapping[str, int]
    """Credits by subject that are neither earned nor being studied."""
    words: str


@dataclass(frozen=True)
class Forecast:
    """The forecast of one level, under the first of the learner's versions that has it. All figures are credits;
    `external` ones are credit from elsewhere."""

    level: str
    label: str
    credits: int
    counting: int
    missing: int
    external: int
    external_at_most: int
    words: str
    held_titles: tuple[str, ...]
    open_titles: tuple[str, ...]
    used: tuple[Excluded, ...]
    """Credit that counts at other levels, but no more at this one: an award stands on it."""
    nearest: tuple[Near, ...]


def left_out(earned: Iterable[Credit], regulations: Regulations, *, on_hold: bool) -> tuple[Excluded, ...]:
    """Return the credit that counts towards nothing, with its reason; while claims are on hold, all of it."""
    facts = list(earned)
    reasons = countable(facts, regulations).left_out
    otherwise = {credit.id: "on_hold" for credit in facts} if on_hold else {}
    return tuple(Excluded(id_, reason) for id_, reason in sorted((otherwise | reasons).items()))


def forecast(
    level: Level,
    earned: Iterable[Credit],
    awards: Sequence[Award],
    courses: Collection[Course],
    versions: Sequence[Regulations],
    *,
    title: str | None = None,
    most: int,
) -> Forecast:
    """Return what one level lacks. `courses` are those on sale and those being studied.

    With `title`, the nearest titles are that one alone; `most` is how many are given at most.
    """
    facts, (_, regulations) = list(earned), levels_under(versions)[level.code]
    counted = countable(facts, regulations).credits
    available = available_at(level, counted, awards)
    open_titles = _open(level, facts, awards, versions)
    counting, external, at_most = _counting(level, available, regulations)
    missing = max(level.credits - counting, 0)
    known = [*courses, *not_on_sale(subjects_of(courses, facts), level, regulations)]

    def wanted(one: Title) -> bool:
        return one.text not in open_titles if title is None else one.text == title

    found = plans(facts, awards, known, [level.code], versions, fewest, wanted)
    return Forecast(
        level=level.code,
        label=level.label,
        credits=level.credits,
        counting=min(counting, level.credits),
        missing=missing,
        external=external,
        external_at_most=at_most,
        words=_level_in_words(level, counting, missing, external, at_most),
        held_titles=tuple(sorted(titles_held(level, awards))),
        open_titles=open_titles,
        used=tuple(Excluded(credit.id, "used") for credit in counted if credit not in available),
        nearest=tuple(_near(plan) for plan in found[:most] if plan.title not in open_titles or title),
    )


def _open(
    level: Level, facts: Sequence[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for regulations in versions:
        counted = available_at(level, countable(facts, regulations).credits, awards)
        for own_level in (one for one in regulations.levels if one.code == level.code):  # older ones may lack it
            found |= dict.fromkeys(eligibility.titles(eligibility.totals(counted), own_level, regulations))
    held = titles_held(level, awards)
    return tuple(title for title in found if title not in held)


def subjects_of(courses: Iterable[Course], earned: Iterable[Credit]) -> set[str]:
    """Return the subjects of these courses and of this credit."""
    return {course.subject for course in courses} | {credit.subject for credit in earned if credit.subject}


def not_on_sale(subjects: Iterable[str], level: Level, regulations: Regulations) -> list[Course]:
    """Return stand-ins, without a price, for courses that nobody sells, so that a forecast can name what is missing."""
    return [
        Course(
            id=f"{subject}/{n}",
            family=f"{subject}/{n}",
            subject=subject,
            credits=regulations.module_credits,
            level=regulations.framework_level,
            price_minor=0,
            weeks=0,
            on_sale=False,
        )
        for subject in sorted(subjects)
        for n in range(level.credits // regulations.module_credits)
    ]


def _near(plan: Plan) -> Near:
    missing: dict[str, int] = {}
    for course in plan.to_buy:
        missing[course.subject] = missing.get(course.subject, 0) + course.credits
    return Near(plan, missing, _plan_in_words(plan, missing))


def _plan_in_words(plan: Plan, missing: Mapping[str, int]) -> str:
    parts = [f"{amount} more credits in {subject}" for subject, amount in missing.items()]
    if plan.enrolled:
        parts.insert(0, "passing what you study now")
    if not parts:
        return f"Your credit gives {plan.title}."
    sentence = f"{listed(parts)} would give {plan.title}."
    return sentence[0].upper() + sentence[1:]


def _counting(level: Level, available: Iterable[Credit], regulations: Regulations) -> tuple[int, int, int]:
    """Return the credits that count at the level, how many of all available are from elsewhere, and how many of these
    may count."""
    own, external = 0, 0
    for credit in available:
        own, external = (own, external + credit.credits) if credit.external else (own + credit.credits, external)
    at_most = most_external(level, regulations) * regulations.module_credits
    return own + min(external, at_most), external, at_most


def lacking(
    level: Level, earned: Iterable[Credit], awards: Sequence[Award], regulations: Regulations
) -> tuple[int, str]:
    """Return how many credits a level lacks, and in words why the learner can claim nothing at it (where that is
    so)."""
    available = available_at(level, countable(list(earned), regulations).credits, awards)
    counting, external, at_most = _counting(level, available, regulations)
    missing = max(level.credits - counting, 0)
    if not missing:
        return 0, f"No {level.label} that you do not hold has a title for these subjects."
    sentence = f"That makes {counting} of the {level.credits} credits of a {level.label}: {missing} are missing."
    return missing, sentence + _from_elsewhere(external, at_most)


def _from_elsewhere(external: int, at_most: int) -> str:
    return f" Of your {external} credits from elsewhere at most {at_most} can count." if external > at_most else ""


def _level_in_words(level: Level, counting: int, missing: int, external: int, at_most: int) -> str:
    if not missing:
        sentence = f"You have the {level.credits} credits of a {level.label}."
    else:
        sentence = f"You have {counting} of the {level.credits} credits of a {level.label}: {missing} are missing."
    return sentence + _from_elsewhere(external, at_most)


def listed(parts: Sequence[str]) -> str:
    """Return words as a list for people: a, b and c."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
