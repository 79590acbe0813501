"""Why not: for each level what there is, what is missing, and the titles nearest to it, in numbers and words.

Source: academic rules §3.4 (near miss), §3.6 (ceiling on credit from elsewhere).
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
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Title

WORDS: Final = MappingProxyType(
    {
        "provisional": "It waits for the board: no credit yet.",
        "revoked": "The board took it back.",
        "committed": "A partner accepted it for a degree, so it cannot be claimed here meanwhile.",
        "consumed": "A degree elsewhere was conferred on it.",
        "level": "It is at another level of the qualifications framework.",
        "no_subject": "It belongs to no subject that can stand in a title.",
        "size": "Its credits are not those of one module, so the regulations do not count it.",
        "failed": "Its mark is below the pass mark: it gives no credit.",
        "repeated": "The same module counts once, with its best mark.",
        "on_hold": "A payment came back or is in dispute: nothing can be claimed until that is settled.",
        "used": "An award at this level or above already stands on it.",
    }
)
"""Why credit does not count."""


@dataclass(frozen=True)
class Excluded:
    credit_id: str
    reason: str

    @property
    def words(self) -> str:
        return WORDS[self.reason]


@dataclass(frozen=True)
class Near:
    """A title that is out of reach now, with the fewest and then cheapest modules that give it."""

    plan: Plan
    missing: Mapping[str, int]
    """Credits by subject that are neither held nor being studied."""
    words: str


@dataclass(frozen=True)
class Outlook:
    """One level, under the version in force. All figures are credits; `external_*` is credit from elsewhere."""

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
    """Credit that counts at other levels, but no more at this one."""
    nearest: tuple[Near, ...]


def left_out(held: Iterable[Credit], regulations: Regulations, *, on_hold: bool) -> tuple[Excluded, ...]:
    """Credit that counts towards nothing, with its reason; while claims are on hold, all of it."""
    facts = list(held)
    reasons = countable(facts, regulations).left_out
    otherwise = {credit.id: "on_hold" for credit in facts} if on_hold else {}
    return tuple(Excluded(id_, reason) for id_, reason in sorted((otherwise | reasons).items()))


def outlook(
    level: Level,
    held: Iterable[Credit],
    awards: Sequence[Award],
    courses: Collection[Course],
    versions: Sequence[Regulations],
    *,
    title: str | None = None,
    most: int,
) -> Outlook:
    """What one level lacks. `courses` are those on sale and those being studied; with `title`, that title alone."""
    facts, regulations = list(held), versions[0]
    counted = countable(facts, regulations).credits
    available = available_at(level, counted, awards, regulations)
    open_titles = _open(level, facts, awards, versions)
    external = sum(credit.credits for credit in available if credit.external)
    at_most = most_external(level, regulations) * regulations.module_credits
    counting = sum(credit.credits for credit in available if not credit.external) + min(external, at_most)
    missing = max(level.credits - counting, 0)
    known = [*courses, *not_on_sale(subjects_of(courses, facts), level, regulations)]

    def wanted(one: Title) -> bool:
        return one.text not in open_titles if title is None else one.text == title

    found = plans(facts, awards, known, [level.code], versions, fewest, wanted)
    return Outlook(
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
        counted = available_at(level, countable(facts, regulations).credits, awards, regulations)
        own_level = regulations.level(level.code)
        found |= dict.fromkeys(eligibility.titles(eligibility.totals(counted), own_level, regulations))
    held = titles_held(level, awards)
    return tuple(title for title in found if title not in held)


def subjects_of(courses: Iterable[Course], held: Iterable[Credit]) -> set[str]:
    return {course.subject for course in courses} | {credit.subject for credit in held if credit.subject}


def not_on_sale(subjects: Iterable[str], level: Level, regulations: Regulations) -> list[Course]:
    """What could be missing in a subject of which nothing more is sold: named all the same, without a price."""
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
    told = f"{listed(parts)} would give {plan.title}."
    return told[0].upper() + told[1:]


def _level_in_words(level: Level, counting: int, missing: int, external: int, at_most: int) -> str:
    if not missing:
        told = f"You have the {level.credits} credits of a {level.label}."
    else:
        told = f"You have {counting} of the {level.credits} credits of a {level.label}: {missing} are missing."
    if external > at_most:
        told += f" Of your {external} credits from elsewhere at most {at_most} can count."
    return told


def listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
