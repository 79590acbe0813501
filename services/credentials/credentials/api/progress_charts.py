"""Progress charts, for people who prefer a picture."""

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response

from credentials.adapters import progress_charts
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.progress_charts import Step, SubjectProgress
from credentials.api.bodies import TEXT
from credentials.domain import forecasts, plan_requests, regulations
from credentials.domain.credit import countable
from credentials.domain.forecasts import Forecast
from credentials.queries import courses
from credentials.queries.records import record_of
from credentials.tables.awards import Award
from shared.database import fetch
from shared.database import now as now_of
from shared.web import CallerOf, ReadSession, Router, resource

router = Router()

SVG = "image/svg+xml"
_AS_SVG: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    200: {"content": {SVG: TEXT}, "description": "The picture, with a title and a description for reading aloud"}
}
_ALONE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get(
    "/v1/award-options/picture",
    operation_id="read_stack_picture",
    response_class=Response,
    responses=_AS_SVG,
)
async def read_stack_picture(session: ReadSession, caller: CallerOf) -> Response:
    """One's progress chart: modules by subject, how far each level is, what is open and what comes next."""
    now = now_of(session)
    record = await record_of(session, caller.own_id, now)
    versions = record.versions(now)
    studied = [one.course for one in await courses.studied_by(session, caller.own_id, now)]
    on_sale = [one.course for one in await courses.on_sale(session, now)]
    levels = [
        forecasts.forecast(level, record.facts(), record.live_awards(), [*on_sale, *studied], versions, most=1)
        for level in plan_requests.levels_of(versions, None)
    ]
    ahead = sorted((one for one in levels if one.missing and one.nearest), key=lambda one: bool(one.held_titles))
    near = ahead[0].nearest[0] if ahead else None  # the lowest level not held yet
    counted = Counter(str(credit.subject) for credit in countable(record.facts(), versions[0]).credits)
    studying = Counter(course.subject for course in studied)
    coming = Counter(course.subject for course in near.plan.to_buy) if near else Counter[str]()
    svg = progress_charts.draw_progress_chart(
        [
            SubjectProgress(subject, counted[subject], studying[subject], coming[subject])
            for subject in sorted({*counted, *studying, *coming}, key=lambda name: (-counted[name], name.casefold()))
        ],
        [Step(one.label, one.credits, _towards(one), one.held_titles) for one in levels],
        module_credits=versions[0].module_credits,
        next_words=[*(f"You can claim: {title}." for one in levels for title in one.open_titles[:2])][:4]
        + ([near.words] if near else []),
    )
    return Response(svg, media_type=SVG, headers=_ALONE)


@router.get(
    "/v1/awards/{award_id}/picture",
    operation_id="read_award_picture",
    response_class=Response,
    responses=_AS_SVG,
)
async def read_award_picture(
    award_id: UUID,
    session: ReadSession,
    caller: CallerOf,
    credential_issuer: Annotated[CredentialIssuer, resource(CredentialIssuer)],
) -> Response:
    """What an award is made of. Says no name, no mark and no number, so that it can be shown around."""
    award = await fetch(session, Award, award_id)
    caller.must_own(award.learner_id)
    record = await record_of(session, award.learner_id, now_of(session))
    version = regulations.find(award.regulations_version)
    stands_on = record.allocations[award_id]
    svg = progress_charts.draw_award(
        award.title,
        level=version.level(award.level).label,
        modules=Counter(line.subject for line in record.lines if line.credit.credit_id in stands_on),
        module_credits=version.module_credits,
        state=award.state,
        awarding_body=credential_issuer.issuer.name,
    )
    return Response(svg, media_type=SVG, headers=_ALONE)


def _towards(one: Forecast) -> int:
    """Return the credits towards a level; all of them where a title is held at it, though its credit counts for no
    other."""
    return one.credits if one.held_titles else one.counting
