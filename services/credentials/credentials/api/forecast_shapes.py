"""The request and response bodies of forecasts, suppositions and plans."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from pydantic import Field, model_validator

from credentials.api.awards import LevelView
from credentials.domain.planner import Course, Plan
from credentials.domain.shortfalls import LeftOutCourse
from credentials.queries.courses import CourseOnFile
from shared.web import Instant, Money, RequestModel, View
from shared.web.content import Text

SUBJECT_TO_BOARD = "A forecast: credit counts once it is passed and ratified by the board of examiners."


class ExcludedView(View):
    """A credit that does not count towards an award, and why, as a stable reason and as words for people."""

    credit_id: UUID
    reason: str = Field(
        description="provisional, revoked, held, committed, consumed, level, no_subject, size, repeated, used or "
        "on_hold",
        examples=["repeated"],
    )
    words: str = Field(examples=["The same module counts once, with its best mark."])


class PlannedCourse(View):
    """A course of a plan; all but `subject` and `credits` are null for credit that nobody sells at present."""

    course_id: UUID | None
    code: str | None = Field(examples=["7DS501"])
    title: str | None = Field(examples=["Applied Machine Learning"])
    institution: str | None = Field(examples=["Northbridge University"])
    subject: str = Field(examples=["Data Science"])
    credits: int = Field(examples=[15])
    weeks: int | None = Field(description="Of study", examples=[10])
    price: Money | None


class LeftOutCourseView(View):
    """A course, studied or on sale in a subject asked for, whose credit the regulations do not count."""

    course: PlannedCourse
    reason: str = Field(description="level, size or no_subject", examples=["size"])
    words: str = Field(examples=["Its credits are not those of one module, so the regulations do not count it."])


class PlanView(View):
    """One way to a title. What is held or being studied costs no money."""

    title: str = Field(examples=["PGCert in Data Science with Management"])
    level: str = Field(examples=["pgcert"])
    rule: str = Field(examples=["major_minor"])
    reason: str
    regulations: str = Field(examples=["mc-regs-2026.2"])
    credit_ids: list[UUID] = Field(description="Credit held that counts")
    studying: list[PlannedCourse] = Field(description="Courses being studied that count")
    to_buy: list[PlannedCourse]
    price: Money | None = Field(description="Of what is to be bought; null where some of it is not on sale")
    weeks_in_turn: int | None = Field(
        description="Weeks of study, one course after another; null like `price`", examples=[20]
    )
    weeks_at_once: int | None = Field(
        description="Weeks of study, all courses at the same time; null like `price`", examples=[10]
    )


class NearTitle(View):
    """A title that is not open yet, the credits it lacks by subject, and the shortest way to it."""

    words: str = Field(examples=["15 more credits in Management would give PGCert in Data Science with Management."])
    missing: dict[str, int] = Field(description="Credits by subject", examples=[{"Management": 15}])
    plan: PlanView = Field(description="The fewest further courses, and of these the cheapest")


class LevelForecast(View):
    """How far a learner is at one level of award: what counts now, what is missing, and the nearest titles. All
    numbers are UK credits."""

    level: str = Field(examples=["pgcert"])
    label: str = Field(examples=["PGCert"])
    credits: int = Field(description="What it takes", examples=[60])
    counting: int = Field(description="What counts towards it now", examples=[45])
    missing: int = Field(examples=[15])
    external: int = Field(description="Credit from elsewhere that is held", examples=[0])
    external_at_most: int = Field(description="How much credit from elsewhere can count", examples=[30])
    words: str = Field(examples=["You have 45 of the 60 credits of a PGCert: 15 are missing."])
    held_titles: list[str] = Field(description="Awards held at this level, not given twice")
    open_titles: list[str] = Field(description="What can be claimed now")
    used: list[ExcludedView] = Field(description="Credit an award at this level or above already stands on")
    nearest: list[NearTitle]


class ForecastView(View):
    """How far a learner is on the way to each level of award, at the instant `as_at`."""

    as_at: Instant
    on_hold: bool = Field(description="A payment or a case is open: nothing can be claimed until it is settled")
    excluded: list[ExcludedView] = Field(description="Credit that counts at no level, each with its reason")
    left_out: list[LeftOutCourseView] = Field(description="Courses being studied that will add nothing, and why")
    levels: list[LevelForecast]


class SupposedCourse(RequestModel):
    """A course supposed to be passed: one of the catalogue's, or so much credit in a subject."""

    course_id: UUID | None = None
    subject: Text | None = Field(default=None, max_length=200, examples=["Data Science"])
    credits: int | None = Field(default=None, ge=1, le=180, description="One module's, unless given", examples=[15])
    mark: Decimal | None = Field(default=None, ge=0, le=100, max_digits=5, examples=["68"])

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "SupposedCourse":
        if (self.course_id is None) == (self.subject is None):
            raise ValueError("name either a course or a subject")
        if self.course_id is not None and self.credits is not None:
            raise ValueError("a course says its credits itself")
        return self


class Supposition(RequestModel):
    """Courses supposed to be passed, to see what could be claimed then."""

    courses: tuple[SupposedCourse, ...] = Field(
        min_length=1, max_length=60, examples=[[{"subject": "Data Science", "mark": "68"}]]
    )


class LeftOutCredit(View):
    """Credit that counts at no level, held or supposed."""

    credit_id: UUID | None = Field(description="Null for credit that is only supposed")
    supposed: int | None = Field(description="The place of a supposed course in the request, from 0", examples=[0])
    reason: str = Field(
        description="failed (a mark that is no pass), provisional, revoked, committed, consumed, level, no_subject, "
        "size or repeated",
        examples=["failed"],
    )
    words: str = Field(examples=["Its mark is below the pass mark: it gives no credit."])


class SupposedLevel(LevelView):
    """What could be claimed at one level if the supposed courses were passed."""

    missing: int = Field(description="Credits that the level lacks, be there options or not", examples=[45])
    words: str | None = Field(
        description="Why there are no options; null where there are",
        examples=["That makes 15 of the 60 credits of a PGCert: 45 are missing."],
    )


class SupposedOptions(View):
    """What could be claimed if these courses were passed. Nothing is stored."""

    as_at: Instant
    note: str = Field(examples=[SUBJECT_TO_BOARD])
    left_out: list[LeftOutCredit] = Field(description="What adds nothing, each with its reason")
    levels: list[SupposedLevel] = Field(
        description="In `counted` and `left`, a supposed course has no `credit_id` but its place in the request"
    )


class PlansOfTitle(View):
    """The cheapest and the quickest way to one title; they may be the same."""

    title: str = Field(examples=["PGCert in Data Science"])
    level: str = Field(examples=["pgcert"])
    cheapest: PlanView
    quickest: PlanView


class UnreachableLevel(View):
    """Why no plan of a level gives what was asked for."""

    level: str = Field(examples=["pgdip"])
    reason: str = Field(
        description="other_currency (plan in that one), not_on_sale (too few courses are sold), held (you hold it) or "
        "no_such_title",
        examples=["not_on_sale"],
    )
    missing: dict[str, int] = Field(
        description="Credits by subject that nobody sells now", examples=[{"Data Science": 45}]
    )
    words: str = Field(examples=["PGDip in Data Science takes 45 credits in Data Science that nobody sells now."])


class PlansView(View):
    """The cheapest and the quickest way to each title; the cheapest titles first."""

    as_at: Instant
    note: str = Field(examples=[SUBJECT_TO_BOARD])
    items: list[PlansOfTitle]
    unreachable: list[UnreachableLevel] = Field(description="Levels without a way to what was asked for, and why")
    left_out: list[LeftOutCourseView] = Field(description="Courses that add nothing to any plan, and why")


class Market:
    """What can be studied, in one currency."""

    def __init__(
        self, on_file: Sequence[CourseOnFile], currency: str | None, elsewhere: Mapping[str, tuple[Course, str]]
    ) -> None:
        self.on_file = {one.course.id: one for one in on_file}
        self.currency = currency
        self.elsewhere = elsewhere
        """What is sold in other currencies: course id -> course and currency."""

    @property
    def courses(self) -> list[Course]:
        return [one.course for one in self.on_file.values()]

    def money(self, amount_minor: int) -> Money | None:
        return None if self.currency is None else Money(amount_minor=amount_minor, currency=self.currency)

    def course(self, course: Course) -> PlannedCourse:
        known = self.on_file.get(course.id)
        return PlannedCourse(
            course_id=known.course_id if known else None,
            code=known.code if known else None,
            title=known.title if known else None,
            institution=known.institution_name if known else None,
            subject=course.subject,
            credits=course.credits,
            weeks=course.weeks if known else None,
            price=self.money(course.price_minor) if known and course.on_sale else None,
        )

    def plan(self, plan: Plan) -> PlanView:
        all_on_sale = all(course.on_sale for course in plan.to_buy)
        return PlanView(
            title=plan.title,
            level=plan.level,
            rule=plan.rule,
            reason=plan.reason,
            regulations=plan.regulations,
            credit_ids=[UUID(credit.id) for credit in plan.earned],
            studying=[self.course(course) for course in plan.enrolled],
            to_buy=[self.course(course) for course in plan.to_buy],
            price=self.money(plan.price_minor) if all_on_sale else None,
            weeks_in_turn=plan.weeks_in_turn if all_on_sale else None,
            weeks_at_once=plan.weeks_at_once if all_on_sale else None,
        )

    def left_out(self, found: Sequence[LeftOutCourse]) -> list[LeftOutCourseView]:
        return [LeftOutCourseView(course=self.course(one.course), reason=one.reason, words=one.words) for one in found]
