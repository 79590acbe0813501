"""Plans: what leads to a title, from the credit a learner holds, the courses they study, and courses on sale.

For use before a purchase as well as after it, and for somebody who holds nothing. In closed form: earned credit costs
nothing, what is being studied costs weeks, a course on sale costs its price and weeks, and the cheapest selection for a
title is found as the best one is (fillings.py). Source: docs/rules.md, "Choosing credit".
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from credentials.domain.credit import Credit, countable, preference
from credentials.domain.fillings import Cost, fillings
from credentials.domain.options import Award, available_at, titles_held
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Title, alphabetical

_LATER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Course:
    """A course that gives credit when passed: on sale, or already being studied (`enrolled`, `price_minor` 0).

    Amounts are minor units of one currency; `weeks` is how long its study takes. One that is neither on sale nor
    studied stands for credit nobody sells at present.
    """

    id: str
    family: str
    subject: str
    credits: int
    level: int
    price_minor: int
    weeks: int
    enrolled: bool = False
    on_sale: bool = True


@dataclass(frozen=True)
class Plan:
    """A plan for one title: credit that counts, courses being studied, courses to buy."""

    level: str
    title: str
    rule: str
    rank: int
    reason: str
    regulations: str
    earned: tuple[Credit, ...]
    enrolled: tuple[Course, ...]
    to_buy: tuple[Course, ...]

    @property
    def price_minor(self) -> int:
        return sum(course.price_minor for course in self.to_buy)

    @property
    def weeks_in_turn(self) -> int:
        """Weeks of study, one course after another."""
        return sum(course.weeks for course in (*self.enrolled, *self.to_buy))

    @property
    def weeks_at_once(self) -> int:
        """Weeks of study, all courses at the same time."""
        return max((course.weeks for course in (*self.enrolled, *self.to_buy)), default=0)


Objective = Callable[[Course], Cost]


def cheapest(course: Course) -> Cost:
    """Prefer the lowest price, then the fewest weeks."""
    return (course.price_minor, course.weeks)


def quickest(course: Course) -> Cost:
    """Prefer the fewest weeks, then the lowest price."""
    return (course.weeks, course.price_minor)


def fewest(course: Course) -> Cost:
    """Prefer the fewest further courses, of these as many as can be bought now, then the lowest price."""
    return (not course.enrolled, not (course.enrolled or course.on_sale), course.price_minor, course.weeks)


def plans(
    earned: Iterable[Credit],
    awards: Sequence[Award],
    courses: Collection[Course],
    levels: Collection[str],
    versions: Sequence[Regulations],
    objective: Objective,
    wanted: Callable[[Title], bool] = lambda _: True,
) -> tuple[Plan, ...]:
    """Return the best plan for each wanted title of these levels that can be reached, under the version that makes it
    best.

    The best plan has the lowest sum of `objective` over its courses; plans come in that order.
    """
    facts = list(earned)
    best: dict[tuple[str, str], tuple[Cost, Plan]] = {}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        for level in regulations.levels:
            if level.code in levels:
                for cost, plan in _plans_at(level, counted, awards, courses, regulations, objective, wanted):
                    known = best.get((plan.level, plan.title))
                    if known is None or cost < known[0]:
                        best[plan.level, plan.title] = (cost, plan)
    return tuple(plan for _, plan in sorted(best.values(), key=lambda found: (found[0], *_place(found[1]))))


def naming(subjects: Collection[str]) -> Callable[[Title], bool]:
    """Return a predicate for titles that name exactly these subjects."""
    names = set(subjects)
    return lambda title: set(title.named) == names


def misfit(course: Course, regulations: Regulations) -> str | None:
    """Return why a course's credit counts towards nothing, as a reason code of countable(); None where it may count."""
    return countable([_as_credit(course)], regulations).left_out.get(course.id)


def _plans_at(
    level: Level,
    counted: Sequence[Credit],
    awards: Sequence[Award],
    courses: Collection[Course],
    regulations: Regulations,
    objective: Objective,
    wanted: Callable[[Title], bool],
) -> Iterable[tuple[Cost, Plan]]:
    nothing = tuple(0 for _ in objective(Course("", "", "", 0, 0, 0, 0)))
    by_id = {course.id: course for course in _offered(courses, counted, regulations, objective, level)}
    credits_ = available_at(level, counted, awards) + [_as_credit(course) for course in by_id.values()]

    def cost(credit: Credit) -> Cost:
        return objective(by_id[credit.id]) if credit.id in by_id else nothing

    candidates = sorted(credits_, key=lambda credit: (cost(credit), credit.external, preference(credit)))
    taken = titles_held(level, awards)
    best: dict[str, tuple[Cost, Plan]] = {}
    found = fillings(
        candidates, level, regulations, wanted=lambda title: title.text not in taken and wanted(title), cost=cost
    )
    for filling in found:
        total = tuple(map(sum, zip(*map(cost, filling.selection), strict=True)))
        known = best.get(filling.title.text)
        if known is None or (total, filling.title.rank) < (known[0], known[1].rank):
            best[filling.title.text] = (total, _plan(filling.title, filling.selection, by_id, level, regulations))
    return best.values()


def _offered(
    courses: Collection[Course],
    counted: Sequence[Credit],
    regulations: Regulations,
    objective: Objective,
    level: Level,
) -> list[Course]:
    """Return the courses that would add credit: one a family, of no family earned, and no more of a subject than can
    count."""
    families = {credit.family for credit in counted}
    adding: list[Course] = []
    for course in sorted(courses, key=lambda course: (not course.enrolled, objective(course), course.id)):
        if misfit(course, regulations) is None and course.family not in families:
            families.add(course.family)
            adding.append(course)
    most = level.credits // regulations.module_credits
    per_subject: dict[str, list[Course]] = {}
    for course in sorted(adding, key=lambda course: (objective(course), course.id)):
        per_subject.setdefault(course.subject, []).append(course)
    return [course for of_subject in per_subject.values() for course in of_subject[:most]]


def _as_credit(course: Course) -> Credit:
    return Credit(
        id=course.id,
        family=course.family,
        subject=course.subject,
        credits=course.credits,
        level=course.level,
        mark=None,
        passed_at=_LATER,
    )


def _plan(
    title: Title,
    selection: Iterable[Credit],
    courses: Mapping[str, Course],
    level: Level,
    regulations: Regulations,
) -> Plan:
    chosen = sorted(selection, key=preference)
    studied = [courses[credit.id] for credit in chosen if credit.id in courses]
    return Plan(
        level=level.code,
        title=title.text,
        rule=title.rule.rule,
        rank=title.rank,
        reason=title.reason,
        regulations=regulations.version,
        earned=tuple(credit for credit in chosen if credit.id not in courses),
        enrolled=tuple(course for course in studied if course.enrolled),
        to_buy=tuple(course for course in studied if not course.enrolled),
    )


def _place(plan: Plan) -> tuple[int, tuple[str, str]]:
    return plan.rank, alphabetical(plan.title)
