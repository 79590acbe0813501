"""Why a request finds no plan, and why a course counts towards nothing: nothing is left out without a reason."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from credentials.domain.credit import Credit
from credentials.domain.forecasts import WORDS, listed, not_on_sale
from credentials.domain.options import Award
from credentials.domain.plan_requests import PlanRequest
from credentials.domain.planner import Course, Plan, fewest, misfit, plans
from credentials.domain.regulations import Level, Regulations, levels_under


@dataclass(frozen=True)
class Unreachable:
    """A level at which no plan gives what was asked for; `missing` is credits by subject.

    `reason` is other_currency, not_on_sale, held (the learner holds that title) or no_such_title.
    """

    level: str
    reason: str
    missing: Mapping[str, int]
    words: str


@dataclass(frozen=True)
class LeftOutCourse:
    """A course, studied or on sale, that would add no credit that counts; the reason codes are countable()'s."""

    course: Course
    reason: str

    @property
    def words(self) -> str:
        return WORDS[self.reason]


def failing(supposed: Iterable[Credit], regulations: Regulations) -> dict[str, str]:
    """Return supposed credit whose mark is no pass (credit id -> reason code). Without a mark a pass is supposed."""
    return {one.id: "failed" for one in supposed if one.mark is not None and one.mark < regulations.pass_mark}


def unreachable(
    level: Level,
    plan_request: PlanRequest,
    earned: Iterable[Credit],
    awards: Sequence[Award],
    courses: Collection[Course],
    elsewhere: Mapping[str, tuple[Course, str]],
    subjects: Collection[str],
    versions: Sequence[Regulations],
) -> Unreachable:
    """Return why plans() finds nothing at this level that the request admits.

    `elsewhere` are the courses sold in other currencies (id -> course, currency), `subjects` all those there are.
    """
    facts = list(earned)
    all_sold = [*courses, *(course for course, _ in elsewhere.values())]
    known = [*all_sold, *not_on_sale(subjects, level, levels_under(versions)[level.code][1])]

    def nearest(standing: Sequence[Award], offered: Collection[Course] = known) -> Plan | None:
        found = plans(facts, standing, offered, [level.code], versions, fewest, plan_request.admits)
        return found[0] if found else None

    if elsewhere and (plan := nearest(awards, all_sold)) is not None:
        currencies = sorted({elsewhere[course.id][1] for course in plan.to_buy if course.id in elsewhere})
        sentence = f"{plan.title} takes courses that are sold in {listed(currencies)}."
        return Unreachable(level.code, "other_currency", {}, sentence)
    plan = nearest(awards)
    if plan is not None:
        missing: dict[str, int] = {}
        for course in plan.to_buy:
            if not course.on_sale:
                missing[course.subject] = missing.get(course.subject, 0) + course.credits
        amounts = listed([f"{amount} credits in {subject}" for subject, amount in missing.items()])
        return Unreachable(level.code, "not_on_sale", missing, f"{plan.title} takes {amounts} that nobody sells now.")
    if nearest([]) is not None:
        return Unreachable(level.code, "held", {}, f"You hold what you ask for at the level of a {level.label}.")
    return Unreachable(level.code, "no_such_title", {}, f"No {level.label} has a title like that.")


def left_out_courses(
    courses: Iterable[Course], asked: Collection[str], regulations: Regulations
) -> tuple[LeftOutCourse, ...]:
    """Return the courses being studied, or on sale in a subject asked for, whose credit the regulations do not
    count."""
    found = [
        LeftOutCourse(course, reason)
        for course in courses
        if (course.enrolled or course.subject in asked) and (reason := misfit(course, regulations)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (not one.course.enrolled, one.course.id)))
