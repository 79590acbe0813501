"""What could be: why a title is out of reach, what further courses would open, and the ways to a title."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import Field, model_validator

from credentials import queries
from credentials.api.awards import LevelView, option_view
from credentials.domain import outlook, planner, prospects
from credentials.domain.credit import Credit
from credentials.domain.options import Award, options
from credentials.domain.planner import Course, Plan
from credentials.domain.prospects import UnknownCourse, UnknownTitle
from credentials.domain.regulations import Regulations, UnknownLevel, claimable
from credentials.queries import CourseOnFile
from shared.database import now as now_of
from shared.web import CallerOf, Content, Instant, Money, Router, Session, View, conditional, refusals
from shared.web.content import Text

router = Router()

Level = Annotated[str | None, Query(max_length=40, description="One level only", examples=["pgcert"])]
Title = Annotated[
    Text | None,
    Query(max_length=400, description="One title only, exactly", examples=["PGCert in Data Science with Management"]),
]
Subjects = Annotated[
    list[Text],
    Query(alias="subject", max_length=4, description="Titles that name exactly these subjects", examples=[["Law"]]),
]
Currency = Annotated[
    str | None, Query(pattern="^[A-Z]{3}$", description="ISO 4217; by default the one most courses are sold in")
]
Most = Annotated[int, Query(ge=1, le=100, description="How many titles at most, the nearest first")]

SUBJECT_TO_BOARD = "A forecast: credit counts once it is passed and ratified by the board of examiners."


class ExcludedView(View):
    credit_id: UUID
    reason: str = Field(
        description="provisional, revoked, committed, consumed, level, no_subject, size, repeated, used or on_hold",
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
    words: str = Field(examples=["15 more credits in Management would give PGCert in Data Science with Management."])
    missing: dict[str, int] = Field(description="Credits by subject", examples=[{"Management": 15}])
    plan: PlanView = Field(description="The fewest further courses, and of these the cheapest")


class LevelOutlook(View):
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


class OutlookView(View):
    as_at: Instant
    on_hold: bool = Field(
        description="A payment came back or is in dispute: nothing can be claimed until it is settled"
    )
    excluded: list[ExcludedView] = Field(description="Credit that counts at no level, each with its reason")
    levels: list[LevelOutlook]


class SupposedCourse(Content):
    """A course supposed to be passed: one of the catalogue's, or so much credit in a subject."""

    course_id: UUID | None = None
    subject: Text | None = Field(default=None, max_length=200, examples=["Data Science"])
    credits: int | None = Field(default=None, ge=1, le=180, description="One module's, unless told", examples=[15])
    mark: Decimal | None = Field(default=None, ge=0, le=100, max_digits=5, examples=["68"])

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "SupposedCourse":
        if (self.course_id is None) == (self.subject is None):
            raise ValueError("name either a course or a subject")
        if self.course_id is not None and self.credits is not None:
            raise ValueError("a course says its credits itself")
        return self


class Supposition(Content):
    courses: tuple[SupposedCourse, ...] = Field(
        min_length=1, max_length=60, examples=[[{"subject": "Data Science", "mark": "68"}]]
    )


class SupposedOptions(View):
    """What could be claimed if these courses were passed. Nothing is stored."""

    as_at: Instant
    note: str = Field(examples=[SUBJECT_TO_BOARD])
    levels: list[LevelView] = Field(
        description="In `counted` and `left`, a supposed course has no `credit_id` but its place in the request"
    )


class Way(View):
    title: str = Field(examples=["PGCert in Data Science"])
    level: str = Field(examples=["pgcert"])
    cheapest: PlanView
    quickest: PlanView


class Ways(View):
    """The cheapest and the quickest way to each title; the cheapest titles first."""

    as_at: Instant
    note: str = Field(examples=[SUBJECT_TO_BOARD])
    items: list[Way]


@router.get(
    "/v1/award-options/outlook", operation_id="read_award_outlook", responses=refusals(UnknownLevel, UnknownTitle)
)
async def read_award_outlook(
    session: Session, caller: CallerOf, level: Level = None, title: Title = None, most: Most = 5
) -> OutlookView:
    """Why not: for each level what counts, what is missing, and the nearest titles with the cheapest next step."""
    now = now_of(session)
    record = await queries.record_of(session, caller.own_id, now)
    versions, on_hold = record.versions(now), await queries.is_on_hold(session, caller.own_id)
    market = await _market(session, now, None, caller.own_id)
    found = [
        outlook.outlook(one, record.facts(), record.standing_awards(), market.courses, versions, title=title, most=most)
        for one in prospects.levels_of(versions[0], level)
    ]
    prospects.check_title(title, found)
    return OutlookView(
        as_at=now,
        on_hold=on_hold,
        excluded=_excluded(outlook.left_out(record.facts(), versions[0], on_hold=on_hold)),
        levels=[_level(one, market) for one in found],
    )


@router.post("/v1/award-options/what-if", operation_id="suppose_award_options", responses=refusals(UnknownCourse))
async def suppose_award_options(supposition: Supposition, session: Session, caller: CallerOf) -> SupposedOptions:
    """What one could claim if these courses were passed as well. Nothing is stored."""
    now = now_of(session)
    record = await queries.record_of(session, caller.own_id, now)
    supposed = await _supposed(session, supposition, record.versions(now)[0], now)
    return _supposed_options([*record.facts(), *supposed], record.standing_awards(), record.versions(now), now)


@router.get("/v1/award-options/plans", operation_id="list_award_plans", responses=refusals(UnknownLevel))
async def list_award_plans(
    session: Session,
    caller: CallerOf,
    level: Level = None,
    title: Title = None,
    subjects: Subjects = [],  # noqa: B006 - FastAPI copies it
    currency: Currency = None,
    most: Most = 20,
) -> Ways:
    """The cheapest and the quickest way to a title from what one holds and studies now."""
    now = now_of(session)
    record = await queries.record_of(session, caller.own_id, now)
    market = await _market(session, now, currency, caller.own_id)
    wish = prospects.Wish(level, title, tuple(subjects))
    return _ways(record.facts(), record.standing_awards(), market, record.versions(now), wish, most, now)


@router.post("/v1/award-forecasts", operation_id="forecast_awards", responses=refusals(UnknownCourse))
async def forecast_awards(supposition: Supposition, session: Session) -> SupposedOptions:
    """For everybody: which awards these courses would open to somebody who holds nothing yet."""
    now = now_of(session)
    versions = claimable(frozenset(), now)
    return _supposed_options(await _supposed(session, supposition, versions[0], now), [], versions, now)


@router.get(
    "/v1/award-forecasts/plans",
    operation_id="forecast_award_plans",
    response_model=Ways,
    responses=refusals(UnknownLevel),
)
async def forecast_award_plans(
    request: Request,
    session: Session,
    level: Level = None,
    title: Title = None,
    subjects: Subjects = [],  # noqa: B006 - FastAPI copies it
    currency: Currency = None,
    most: Most = 20,
) -> Response:
    """For everybody: the cheapest and the quickest way to a title for somebody who holds nothing yet."""
    now = now_of(session)
    market = await _market(session, now, currency, None)
    wish = prospects.Wish(level, title, tuple(subjects))
    # As at the minute, so that the same answer keeps its ETag for as long.
    minute = now.replace(second=0, microsecond=0)
    return conditional(request, _ways([], [], market, claimable(frozenset(), now), wish, most, minute))


class _Market:
    """What can be studied, in one currency."""

    def __init__(self, on_file: Sequence[CourseOnFile], currency: str | None) -> None:
        self.on_file = {one.course.id: one for one in on_file}
        self.currency = currency

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
            credit_ids=[UUID(credit.id) for credit in plan.held],
            studying=[self.course(course) for course in plan.enrolled],
            to_buy=[self.course(course) for course in plan.to_buy],
            price=self.money(plan.price_minor) if all_on_sale else None,
            weeks_in_turn=plan.weeks_in_turn if all_on_sale else None,
            weeks_at_once=plan.weeks_at_once if all_on_sale else None,
        )


async def _market(session: Session, now: datetime, currency: str | None, learner_id: UUID | None) -> _Market:
    on_sale = await queries.on_sale(session, now)
    counted = Counter(one.currency for one in on_sale)
    sold_in = currency or max(counted, key=lambda one: (counted[one], str(one)), default=None)
    studied = [] if learner_id is None else await queries.studied_by(session, learner_id, now)
    return _Market([*(one for one in on_sale if one.currency == sold_in), *studied], sold_in)


def _ways(
    held: Sequence[Credit],
    awards: Sequence[Award],
    market: _Market,
    versions: Sequence[Regulations],
    wish: prospects.Wish,
    most: int,
    at: datetime,
) -> Ways:
    levels = [one.code for one in prospects.levels_of(versions[0], wish.level)]
    cheapest, quickest = (
        {
            (plan.level, plan.title): plan
            for plan in planner.plans(held, awards, market.courses, levels, versions, objective, wish.admits)
        }
        for objective in (planner.cheapest, planner.quickest)
    )
    return Ways(
        as_at=at,
        note=SUBJECT_TO_BOARD,
        items=[
            Way(title=plan.title, level=plan.level, cheapest=market.plan(plan), quickest=market.plan(quickest[place]))
            for place, plan in list(cheapest.items())[:most]
        ],
    )


async def _supposed(
    session: Session, supposition: Supposition, regulations: Regulations, now: datetime
) -> list[Credit]:
    wanted = [one.course_id for one in supposition.courses if one.course_id is not None]
    known = await queries.courses_by_id(session, wanted, now)
    prospects.check_courses(set(wanted) - set(known))
    return [
        prospects.supposed(
            place,
            known[one.course_id].course if one.course_id is not None else None,
            one.subject,
            one.credits,
            one.mark,
            regulations,
            now,
        )
        for place, one in enumerate(supposition.courses)
    ]


def _supposed_options(
    held: Sequence[Credit], awards: Sequence[Award], versions: Sequence[Regulations], now: datetime
) -> SupposedOptions:
    return SupposedOptions(
        as_at=now,
        note=SUBJECT_TO_BOARD,
        levels=[
            LevelView(level=level, options=[option_view(option) for option in found])
            for level, found in options(held, awards, versions).items()
        ],
    )


def _level(one: outlook.Outlook, market: _Market) -> LevelOutlook:
    return LevelOutlook(
        level=one.level,
        label=one.label,
        credits=one.credits,
        counting=one.counting,
        missing=one.missing,
        external=one.external,
        external_at_most=one.external_at_most,
        words=one.words,
        held_titles=list(one.held_titles),
        open_titles=list(one.open_titles),
        used=_excluded(one.used),
        nearest=[
            NearTitle(words=near.words, missing=dict(near.missing), plan=market.plan(near.plan)) for near in one.nearest
        ],
    )


def _excluded(found: Iterable[outlook.Excluded]) -> list[ExcludedView]:
    return [ExcludedView(credit_id=UUID(one.credit_id), reason=one.reason, words=one.words) for one in found]
