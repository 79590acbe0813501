"""What anyone may see: the signed documents, and whether they still stand."""

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import Body, Path, Request, Response
from pydantic import Field

from credentials import queries, tables
from credentials.adapters.verifier import Outcome, Question, Report, Sources, issuer_of, status_list_of, verify
from credentials.api.records import Issuing, Rendering
from credentials.domain.awards import State
from credentials.domain.badges import achievement_document
from credentials.domain.dids import did_document, multikey
from shared.database import Unknown, fetch
from shared.database import now as now_of
from shared.web import Instant, Router, Session, View, conditional

router = Router()

CREDENTIAL = "application/vc+ld+json"
JSON: dict[str, Any] = {"content": {"application/json": {}}, "description": "JSON"}  # Any: OpenAPI


class CheckView(View):
    name: Question
    outcome: Outcome
    detail: str


class VerificationView(View):
    verified: bool = Field(description="True only if every check passed")
    status: Literal["valid", "superseded", "revoked", "expired", "not_yet_valid", "unconfirmed"]
    checked_at: Instant
    checks: list[CheckView]


@router.post("/v1/verifications", operation_id="verify_credential", status_code=200)
async def verify_credential(
    credential: Annotated[
        dict[str, Any], Body(description="An Open Badges 3.0 credential with its proof")
    ],  # Any: JSON
    session: Session,
    notary: Issuing,
) -> VerificationView:
    """Check a credential given as JSON; nothing is kept, and nothing is fetched from elsewhere."""
    report = await _check(session, notary, credential)
    superseded = report.verified and await _is_superseded(session, notary, str(credential.get("id")))
    return _view(report, superseded=superseded)


@router.get("/credentials/{badge_id}", operation_id="read_credential", response_class=Response, responses={200: JSON})
async def read_credential(badge_id: UUID, request: Request, session: Session) -> Response:
    """The signed Open Badge, as it was issued."""
    badge = await fetch(session, tables.Badge, badge_id)
    return conditional(request, orjson.dumps(_issued(badge)), media_type=CREDENTIAL)


@router.get(
    "/verify/{badge_id}",
    operation_id="read_verification_page",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}, "description": "A page for people"}},
)
async def read_verification_page(badge_id: UUID, session: Session, notary: Issuing, pages: Rendering) -> Response:
    """Says what was awarded, by whom and when, and answers each check separately."""
    badge = await fetch(session, tables.Badge, badge_id)
    credential = _issued(badge)
    report = await _check(session, notary, credential)
    superseded = report.verified and await _is_superseded(session, notary, str(credential["id"]))
    page = pages.verification(credential, report, superseded=superseded, at=now_of(session))
    return Response(page, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})


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
    return conditional(
        request, orjson.dumps(await _did_document(session, notary)), media_type="application/did+ld+json"
    )


def _issued(badge: tables.Badge) -> dict[str, Any]:  # Any: JSON
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    return badge.document


async def _check(session: Session, notary: Issuing, credential: dict[str, Any]) -> Report:  # Any: JSON
    """Resolve what is ours and verify. A foreign issuer is told apart, not fetched."""
    ours = issuer_of(credential) == notary.issuer.did
    sources = Sources(
        did_document=await _did_document(session, notary) if ours else None,
        status_list=await _status_list(session, notary, status_list_of(credential)) if ours else None,
    )
    # JSON-LD takes tens of milliseconds of pure computing; the loop serves others meanwhile.
    return await asyncio.to_thread(verify, credential, sources, now_of(session))


async def _did_document(session: Session, notary: Issuing) -> dict[str, Any]:  # Any: JSON
    keys = await queries.published_keys(session, notary.issuer.did)
    return did_document(notary.issuer.did, [(method, multikey(public)) for method, public in keys])


async def _status_list(session: Session, notary: Issuing, url: str | None) -> dict[str, Any] | None:  # Any: JSON
    prefix, _, number = (url or "").rpartition("/")
    if f"{prefix}/{number}" != url or not number.isdecimal() or len(number) > 6:  # noqa: PLR2004 - the route's bound
        return None
    if url != notary.status_list_url(int(number)):
        return None
    found = await session.get(tables.StatusList, int(number))
    return orjson.loads(found.document) if found is not None and found.document is not None else None


async def _is_superseded(session: Session, notary: Issuing, credential_url: str) -> bool:
    try:
        badge_id = UUID(credential_url.rpartition("/")[2])
    except ValueError:
        return False
    if notary.credential_url(badge_id) != credential_url:
        return False
    badge = await session.get(tables.Badge, badge_id)
    if badge is None or badge.award_id is None:
        return False
    return (await fetch(session, tables.Award, badge.award_id)).state == State.SUPERSEDED


def _view(report: Report, *, superseded: bool) -> VerificationView:
    return VerificationView(
        verified=report.verified,
        status="superseded" if superseded else report.status.value,
        checked_at=report.checked_at,
        checks=[CheckView(name=check.name, outcome=check.outcome, detail=check.detail) for check in report.checks],
    )
