"""What anyone may see: the signed documents, as they were issued."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Header, Path, Request, Response

from credentials.api.bodies import A_CREDENTIAL, TEXT, an_object
from credentials.api.records import Issuing
from credentials.commands.verification import own_did_document
from credentials.domain.badges import achievement_document
from credentials.domain.status_lists import TTL_SECONDS
from credentials.queries.issued import achievement_of
from credentials.tables.facts import Achievement
from credentials.tables.issued import Badge, StatusList
from shared.database import Unknown, fetch
from shared.web import ReadSession, Router, conditional

router = Router()

ListNumber = Annotated[int, Path(ge=1, le=10**6)]

CREDENTIAL = "application/vc+ld+json"
SIGNED: dict[str, Any] = {"content": {CREDENTIAL: A_CREDENTIAL}, "description": "Signed JSON-LD"}  # Any: OpenAPI
KEYS: dict[str, Any] = {  # Any: OpenAPI
    "content": {"application/did+ld+json": an_object("DidDocument", "A DID document as JSON-LD")},
    "description": "A DID document",
}
JSON: dict[str, Any] = {  # Any: OpenAPI
    "content": {"application/json": an_object("AchievementDocument", "An Open Badges achievement as JSON-LD")},
    "description": "JSON",
}
TOKEN: dict[str, Any] = {  # Any: OpenAPI
    "content": {"text/plain": TEXT},
    "description": "A compact JSON Web Token",
}
EITHER: dict[str, Any] = {  # Any: OpenAPI
    "content": {CREDENTIAL: A_CREDENTIAL, "text/plain": TEXT},
    "description": "The badge",
}
_TOKENS = ("text/plain", "application/jwt", "application/vc+jwt")
_DOCUMENTS = (CREDENTIAL, "application/vc", "application/ld+json", "application/json", "*/*")


@router.get(
    "/credentials/{badge_id}/refresh",
    operation_id="refresh_credential",
    response_class=Response,
    responses={200: SIGNED},
)
async def refresh_credential(badge_id: UUID, request: Request, session: ReadSession) -> Response:
    """The newest version of a badge: for wallets and verifiers that hold an older one (1EdTechCredentialRefresh)."""
    return _document(request, await fetch(session, Badge, badge_id), max_age_seconds=0)


@router.get(
    "/credentials/{badge_id}/refresh.jwt",
    operation_id="refresh_credential_token",
    response_class=Response,
    responses={200: TOKEN},
)
async def refresh_credential_token(badge_id: UUID, request: Request, session: ReadSession) -> Response:
    """The newest version of a badge as a JSON Web Token."""
    return _token(request, await fetch(session, Badge, badge_id), max_age_seconds=0)


@router.get(
    "/credentials/{badge_id}.jwt",
    operation_id="read_credential_token",
    response_class=Response,
    responses={200: TOKEN},
)
async def read_credential_token(badge_id: UUID, request: Request, session: ReadSession) -> Response:
    """The Open Badge as a JSON Web Token (VC-JWT, ES256)."""
    return _token(request, await fetch(session, Badge, badge_id))


@router.get("/credentials/{badge_id}", operation_id="read_credential", response_class=Response, responses={200: EITHER})
async def read_credential(
    badge_id: UUID,
    request: Request,
    session: ReadSession,
    accept: Annotated[str, Header(description="`text/plain` or `application/jwt` for a JSON Web Token")] = "*/*",
) -> Response:
    """The signed Open Badge in its present version: JSON with an embedded proof, or a JSON Web Token."""
    badge = await fetch(session, Badge, badge_id)
    asked = (part.partition(";")[0].strip() for part in accept.split(","))
    preferred = next((kind for kind in asked if kind in {*_TOKENS, *_DOCUMENTS}), CREDENTIAL)
    response = _token(request, badge) if preferred in _TOKENS else _document(request, badge)
    response.headers["Vary"] = "Accept"
    return response


@router.get(
    "/status/revocation/{number}.jwt",
    operation_id="read_status_list_token",
    response_class=Response,
    responses={200: TOKEN},
)
async def read_status_list_token(number: ListNumber, request: Request, session: ReadSession) -> Response:
    """A Bitstring Status List as a JSON Web Token (VC-JWT, ES256), for verifiers that read no other."""
    status_list = await fetch(session, StatusList, number)
    if status_list.token is None:
        raise Unknown("this list is not published yet")
    return conditional(request, status_list.token.encode(), max_age_seconds=TTL_SECONDS, media_type="text/plain")


@router.get(
    "/status/revocation/{number}", operation_id="read_status_list", response_class=Response, responses={200: SIGNED}
)
async def read_status_list(number: ListNumber, request: Request, session: ReadSession) -> Response:
    """A signed Bitstring Status List."""
    status_list = await fetch(session, StatusList, number)
    if status_list.document is None:
        raise Unknown("this list is not published yet")
    return conditional(request, status_list.document, max_age_seconds=TTL_SECONDS, media_type=CREDENTIAL)


@router.get(
    "/achievements/{achievement_id}", operation_id="read_achievement", response_class=Response, responses={200: JSON}
)
async def read_achievement(
    achievement_id: UUID, request: Request, session: ReadSession, credential_issuer: Issuing
) -> Response:
    """What a badge recognises, as it stands in the badge."""
    row = await fetch(session, Achievement, achievement_id)
    achievement = achievement_of(row, credential_issuer.achievement_url(achievement_id))
    return conditional(request, orjson.dumps(achievement_document(achievement, credential_issuer.issuer)))


@router.get("/.well-known/did.json", operation_id="read_did_document", response_class=Response, responses={200: KEYS})
async def read_did_document(request: Request, session: ReadSession, credential_issuer: Issuing) -> Response:
    """The issuer's keys (did:web)."""
    return conditional(
        request, await own_did_document(session, credential_issuer), media_type="application/did+ld+json"
    )


def _document(request: Request, badge: Badge, *, max_age_seconds: int = 60) -> Response:
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    body = orjson.dumps(badge.document)
    return conditional(request, body, max_age_seconds=max_age_seconds, media_type=CREDENTIAL)


def _token(request: Request, badge: Badge, *, max_age_seconds: int = 60) -> Response:
    if badge.token is None:
        raise Unknown("this badge is not signed as a token")
    return conditional(request, badge.token.encode(), max_age_seconds=max_age_seconds, media_type="text/plain")
