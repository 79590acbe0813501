"""Forecasts: why a title is out of reach, what further courses would open, and the plans for a title."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from credentials.api.awards import option_view
from credentials.api.forecast_shapes import (
    SUBJECT_TO_BOARD,
    ExcludedView,
    ForecastView,
    LeftOutCredit,
    LevelForecast,
    Market,
    NearTitle,
    PlansOfTitle,
    PlansView,
    SupposedLevel,
    SupposedOptions,
    Supposition,
    UnreachableLevel,
)
from credentials.domain import forecasts, plan_requests, planner, shortfalls
from credentials.domain.credit import Credit, countable
from credentials.domain.options import Award, Option, options
from credentials.domain.plan_requests import SubjectWithoutCourses, UnknownCourse, UnknownTitle
from credentials.domain.regulations import Regulations, UnknownLevel, claimable, levels_under
from credentials.queries import courses
from credentials.queries.records import is_on_hold, record_of
from shared.database import now as now_of
from shared.web import CallerOf, ReadSession, Router, Session, conditional, error_responses
from shared.web.content import Text

router = Router()

Level = Annotated[str | None, Query(max_length=40, description="One level only", examples=["pgcert"])]
Title = Annotated[
    Text | None,
    Query(max_length=1000, description="One title only, exactly", examples=["PGCert in Data Science with Management"]),
]
Subjects = Annotated[
    list[Text],
    Query(alias="subject", max_length=4, description="Titles that name exactly these subjects", examples=[["Law"]]),
]
Currency = Annotated[
    str | None, Query(pattern="^[A-Z]{3}$", description="ISO 4217; by default the one most courses are sold in")
]
Most = Annotated[int, Query(ge=1, le=100, description="How many titles at most, the nearest first")]


@router.get(
    "/v1/award-options/outlook",
    operation_id="read_award_forecast",
    responses=error_responses(UnknownLevel, UnknownTitle),
)
async def read_award_forecast(
    session: ReadSession, caller: CallerOf, level: Level = None, title: Title = None, most: Most = 5
) -> ForecastView:
    """Why there is no title yet: for each level what counts, what is missing, and the nearest titles with the cheapest
    next step."""
    now = now_of(session)
    record = await record_of(session, caller.own_id, now)
    versions, on_hold = record.versions(now), await is_on_hold(session, caller.own_id)
    market = await _market(session, now, None, caller.own_id)
    found = [
        forecasts.forecast(one, record.facts(), record.live_awards(), market.courses, versions, title=title, most=most)
        for one in plan_requests.levels_of(versions, level)
    ]
    plan_requests.check_title(title, exists=any(one.nearest or title in one.held_titles for one in found))
    return ForecastView(
        as_at=now,
        on_hold=on_hold,
        excluded=_excluded(forecasts.left_out(record.facts(), versions[0], on_hold=on_hold)),
        left_out=market.left_out(shortfalls.left_out_courses(market.courses, (), versions[0])),
        levels=[_level(one, market) for one in found],
    )


@router.post(
    "/v1/award-options/what-if",
    operation_id="suppose_award_options",
    responses=error_responses(UnknownCourse, SubjectWithoutCourses),
)
async def suppose_award_options(supposition: Supposition, session: Session, caller: CallerOf) -> SupposedOptions:
    """What one could claim if these courses were passed as well. Nothing is stored."""
    now = now_of(session)
    record = await record_of(session, caller.own_id, now)
    versions, earned = record.versions(now), record.facts()
    supposed = await _supposed(session, supposition, earned, versions[0], now)
    return _supposed_options(earned, supposed, record.live_awards(), versions, now)


@router.get(
    "/v1/award-options/plans",
    operation_id="list_award_plans",
    responses=error_responses(UnknownLevel, SubjectWithoutCourses, UnknownTitle),
)
async def list_award_plans(
    session: ReadSession,
    caller: CallerOf,
    level: Level = None,
    title: Title = None,
    subjects: Subjects = [],  # noqa: B006 - FastAPI copies it
    currency: Currency = None,
    most: Most = 20,
) -> PlansView:
    """The cheapest and the quickest way to a title from what one holds and studies now; where there is none, why."""
    now = now_of(session)
    record = await record_of(session, caller.own_id, now)
    market = await _market(session, now, currency, caller.own_id)
    plan_request = plan_requests.PlanRequest(level, title, tuple(subjects))
    known = await _subjects(session, record.facts(), subjects, now)
    return _plans_view(
        record.facts(), record.live_awards(), market, known, record.versions(now), plan_request, most, now
    )


@router.post(
    "/v1/award-forecasts",
    operation_id="forecast_awards",
    responses=error_responses(UnknownCourse, SubjectWithoutCourses),
)
async def forecast_awards(supposition: Supposition, session: Session) -> SupposedOptions:
    """For everybody: which awards these courses would open to somebody who holds nothing yet."""
    now = now_of(session)
    versions = claimable(frozenset(), now)
    supposed = await _supposed(session, supposition, [], versions[0], now)
    return _supposed_options([], supposed, [], versions, now)


@router.get(
    "/v1/award-forecasts/plans",
    operation_id="forecast_award_plans",
    response_model=PlansView,
    responses=error_responses(UnknownLevel, SubjectWithoutCourses, UnknownTitle),
)
async def forecast_award_plans(
    request: Request,
    session: ReadSession,
    level: Level = None,
    title: Title = None,
    subjects: Subjects = [],  # noqa: B006 - FastAPI copies it
    currency: Currency = None,
    most: Most = 20,
) -> Response:
    """For everybody: the cheapest and the quickest way to a title for somebody who holds nothing yet; else why not."""
    now = now_of(session)
    market = await _market(session, now, currency, None)
    plan_request = plan_requests.PlanRequest(level, title, tuple(subjects))
    # As at the minute, so that the same answer keeps its ETag for as long.
    minute = now.replace(second=0, microsecond=0)
    known = await _subjects(session, [], subjects, now)
    return conditional(
        request, _plans_view([], [], market, known, claimable(frozenset(), now), plan_request, most, minute)
    )


async def _market(session: Session, now: datetime, currency: str | None, learner_id: UUID | None) -> Market:
    on_sale = await courses.on_sale(session, now)
    counted = Counter(one.currency for one in on_sale)
    sold_in = currency or max(counted, key=lambda one: (counted[one], str(one)), default=None)
    studied = [] if learner_id is None else await courses.studied_by(session, learner_id, now)
    elsewhere = {one.course.id: (one.course, str(one.currency)) for one in on_sale if one.currency != sold_in}
    return Market([*(one for one in on_sale if one.currency == sold_in), *studied], sold_in, elsewhere)


async def _subjects(session: Session, earned: Iterable[Credit], asked: Iterable[str], now: datetime) -> set[str]:
    """Return all subjects there are. Raises SubjectWithoutCourses where one that is asked for is none of them."""
    known = await courses.subjects_there_are(session, now) | forecasts.subjects_of((), earned)
    plan_requests.check_subjects(set(asked) - known)
    return known


def _plans_view(
    earned: Sequence[Credit],
    awards: Sequence[Award],
    market: Market,
    subjects: set[str],
    versions: Sequence[Regulations],
    plan_request: plan_requests.PlanRequest,
    most: int,
    at: datetime,
) -> PlansView:
    levels = plan_requests.levels_of(versions, plan_request.level)
    codes = [one.code for one in levels]
    cheapest, quickest = (
        {
            (plan.level, plan.title): plan
            for plan in planner.plans(earned, awards, market.courses, codes, versions, objective, plan_request.admits)
        }
        for objective in (planner.cheapest, planner.quickest)
    )
    reached = {level for level, _ in cheapest}
    lacking = [
        shortfalls.unreachable(one, plan_request, earned, awards, market.courses, market.elsewhere, subjects, versions)
        for one in levels
        if one.code not in reached
    ]
    if plan_request.title is not None:  # it is a title of one level: that the others have none is no news
        plan_requests.check_title(
            plan_request.title, exists=bool(reached) or any(one.reason != "no_such_title" for one in lacking)
        )
        lacking = [one for one in lacking if one.reason != "no_such_title"]
    asked = {*plan_request.subjects, *(subject for one in lacking for subject in one.missing)}
    return PlansView(
        as_at=at,
        note=SUBJECT_TO_BOARD,
        items=[
            PlansOfTitle(
                title=plan.title, level=plan.level, cheapest=market.plan(plan), quickest=market.plan(quickest[place])
            )
            for place, plan in list(cheapest.items())[:most]
        ],
        unreachable=[
            UnreachableLevel(level=one.level, reason=one.reason, missing=dict(one.missing), words=one.words)
            for one in lacking
        ],
        left_out=market.left_out(shortfalls.left_out_courses(market.courses, asked, versions[0])),
    )


async def _supposed(
    session: Session, supposition: Supposition, earned: Iterable[Credit], regulations: Regulations, now: datetime
) -> list[Credit]:
    """Return the credit that a request supposes. Raises UnknownCourse, SubjectWithoutCourses."""
    wanted = [one.course_id for one in supposition.courses if one.course_id is not None]
    known = await courses.courses_by_id(session, wanted, now)
    plan_requests.check_courses(set(wanted) - set(known))
    subjects = {one.subject for one in supposition.courses if one.subject is not None}
    if subjects:
        await _subjects(session, earned, subjects, now)
    return [
        plan_requests.supposed(
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
    earned: Sequence[Credit],
    supposed: Sequence[Credit],
    awards: Sequence[Award],
    versions: Sequence[Regulations],
    now: datetime,
) -> SupposedOptions:
    failed = shortfalls.failing(supposed, versions[0])
    credit = [*earned, *(one for one in supposed if one.id not in failed)]
    left_out = failed | countable(credit, versions[0]).left_out
    return SupposedOptions(
        as_at=now,
        note=SUBJECT_TO_BOARD,
        left_out=[_left_out(credit_id, reason) for credit_id, reason in left_out.items()],
        levels=[
            _supposed_level(level, found, credit, awards, versions)
            for level, found in options(credit, awards, versions).items()
        ],
    )


def _supposed_level(
    code: str,
    found: Sequence[Option],
    credit: Sequence[Credit],
    awards: Sequence[Award],
    versions: Sequence[Regulations],
) -> SupposedLevel:
    level, regulations = levels_under(versions)[code]
    missing, words = forecasts.lacking(level, credit, awards, regulations)
    opened = [option_view(option) for option in found]
    return SupposedLevel(level=code, options=opened, missing=missing, words=None if opened else words)


def _left_out(credit_id: str, reason: str) -> LeftOutCredit:
    place = plan_requests.index_of(credit_id)
    return LeftOutCredit(
        credit_id=UUID(credit_id) if place is None else None,
        supposed=place,
        reason=reason,
        words=forecasts.WORDS[reason],
    )


def _level(one: forecasts.Forecast, market: Market) -> LevelForecast:
    return LevelForecast(
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


def _excluded(found: Iterable[forecasts.Excluded]) -> list[ExcludedView]:
    return [ExcludedView(credit_id=UUID(one.credit_id), reason=one.reason, words=one.words) for one in found]
