"""Pictures of badges, and a holder's own picture with the credential baked in."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from credentials.adapters.fonts import NotPrintable
from credentials.adapters.pictures import Motif, Pictures, svg
from credentials.api.bodies import BYTES, TEXT
from credentials.api.records import Issuing
from credentials.tables.courses import OfferedCourse
from credentials.tables.facts import Achievement
from credentials.tables.issued import Badge
from openbadges.baking import into_png, into_svg
from shared.database import Unknown, fetch
from shared.web import ReadSession, Router, Session, conditional, error_responses, resource

router = Router()

Drawing = Annotated[Pictures, resource(Pictures)]

_PNG, _SVG = "image/png", "image/svg+xml"
_SHOWS_PNG: dict[int | str, Any] = {200: {"content": {_PNG: BYTES}, "description": "A picture"}}  # Any: OpenAPI
_SHOWS_SVG: dict[int | str, Any] = {200: {"content": {_SVG: TEXT}, "description": "A picture"}}  # Any: OpenAPI
_DAY = 86_400
# An SVG opened by itself is a page: it may do nothing but be drawn.
_STILL = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@router.get(
    "/achievements/{achievement_id}/image.svg",
    operation_id="read_achievement_drawing",
    response_class=Response,
    responses=_SHOWS_SVG,
)
async def read_achievement_drawing(
    achievement_id: UUID, request: Request, session: ReadSession, credential_issuer: Issuing
) -> Response:
    """The picture of a course's or an award's badge, as SVG."""
    motif = await _motif(session, achievement_id, credential_issuer)
    return _still(conditional(request, svg(motif).encode(), max_age_seconds=_DAY, media_type=_SVG))


@router.get(
    "/achievements/{achievement_id}/image.png",
    operation_id="read_achievement_image",
    response_class=Response,
    responses=_SHOWS_PNG | error_responses(NotPrintable),
)
async def read_achievement_image(
    achievement_id: UUID, request: Request, session: ReadSession, credential_issuer: Issuing, pictures: Drawing
) -> Response:
    """The picture of a course's or an award's badge as PNG: what the badge itself names as its image."""
    motif = await _motif(session, achievement_id, credential_issuer)
    return conditional(request, await pictures.png(motif), max_age_seconds=_DAY, media_type=_PNG)


@router.get(
    "/credentials/{badge_id}.png",
    operation_id="download_baked_image",
    response_class=Response,
    responses=_SHOWS_PNG | error_responses(NotPrintable),
)
async def download_baked_image(
    badge_id: UUID, request: Request, session: ReadSession, credential_issuer: Issuing, pictures: Drawing
) -> Response:
    """The badge's picture with the signed credential in it: shared like any picture, checked like any badge."""
    motif, credential = await _own(session, badge_id, credential_issuer)
    baked = into_png(await pictures.png(motif), credential)
    return _to_keep(conditional(request, baked, media_type=_PNG), f"{badge_id}.png")


@router.get(
    "/credentials/{badge_id}.svg", operation_id="download_baked_drawing", response_class=Response, responses=_SHOWS_SVG
)
async def download_baked_drawing(
    badge_id: UUID, request: Request, session: ReadSession, credential_issuer: Issuing
) -> Response:
    """The badge's picture with the signed credential in it, as SVG."""
    motif, credential = await _own(session, badge_id, credential_issuer)
    baked = into_svg(svg(motif), credential.decode()).encode()
    return _to_keep(_still(conditional(request, baked, media_type=_SVG)), f"{badge_id}.svg")


async def _motif(session: Session, achievement_id: UUID, credential_issuer: Issuing, year: int | None = None) -> Motif:
    row = await fetch(session, Achievement, achievement_id)
    course = await session.get(OfferedCourse, row.course_id) if row.course_id is not None else None
    return Motif(
        title=row.name,
        issuer=credential_issuer.issuer.name,
        credits=row.credits,
        level=row.level,
        subject=str(course.subject_id) if course is not None and course.subject_id is not None else row.name,
        is_award=row.course_id is None,
        year=year,
    )


async def _own(session: Session, badge_id: UUID, credential_issuer: Issuing) -> tuple[Motif, bytes]:
    badge = await fetch(session, Badge, badge_id)
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    return await _motif(session, badge.achievement_id, credential_issuer, badge.awarded_at.year), orjson.dumps(
        badge.document
    )


def _still(response: Response) -> Response:
    response.headers.update(_STILL)
    return response


def _to_keep(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
