"""What anyone may see: the signed documents, as they were issued."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Path, Request, Response

from credentials import queries, tables
from credentials.api.records import Issuing
from credentials.commands.verification import own_did_document
from credentials.domain.badges import achievement_document
from shared.database import Unknown, fetch
from shared.web import Router, Session, conditional

router = Router()

CREDENTIAL = "application/vc+ld+json"
JSON: dict[str, Any] = {"content": {"application/json": {}}, "description": "JSON"}  # Any: OpenAPI


@router.get("/credentials/{badge_id}", operation_id="read_credential", response_class=Response, responses={200: JSON})
async def read_credential(badge_id: UUID, request: Request, session: Session) -> Response:
    """The signed Open Badge, as it was issued."""
    badge = await fetch(session, tables.Badge, badge_id)
    return conditional(request, orjson.dumps(_issued(badge)), media_type=CREDENTIAL)


@router.get(
    "/status/revocation/{number}", operation_id="read_status_list", response_class=Response, responses={200: JSON}
)
async def read_status_list(
    number: Annotated[int, Path(ge=1, le=10**6)], request: Request, session: Session
) -> Response:
    """A signed Bitstring Status List."""
    status_list = await fetch(session, tables.StatusList, number)
    if status_list.document is None:
        raise Unknown("this list is not published yet")
    return conditional(request, status_list.document, max_age_seconds=30, media_type=CREDENTIAL)


@router.get(
    "/achievements/{achievement_id}", operation_id="read_achievement", response_class=Response, responses={200: JSON}
)
async def read_achievement(achievement_id: UUID, request: Request, session: Session, notary: Issuing) -> Response:
    """What a badge recognises, as it stands in the badge."""
    row = await fetch(session, tables.Achievement, achievement_id)
    achievement = queries.achievement_of(row, notary.achievement_url(achievement_id))
    return conditional(request, orjson.dumps(achievement_document(achievement, notary.issuer)))


@router.get("/.well-known/did.json", operation_id="read_did_document", response_class=Response, responses={200: JSON})
async def read_did_document(request: Request, session: Session, notary: Issuing) -> Response:
    """The issuer's keys (did:web)."""
    return conditional(request, await own_did_document(session, notary), media_type="application/did+ld+json")


def _issued(badge: tables.Badge) -> dict[str, Any]:  # Any: JSON
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    return badge.document
