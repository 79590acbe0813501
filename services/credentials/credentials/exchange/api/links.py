"""The pages behind a link: what it asks of whoever opens it, and what the learner chose to show there."""

from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from fastapi import Header, Path, Request, Response
from pydantic import Field, ValidationError

from credentials.api.verification import missing_page
from credentials.exchange.adapters.shared_pages import HEADERS, SharedPages
from credentials.exchange.api.shared_views import OpenedRecordView
from credentials.exchange.api.sharing import Issuing, Pin, Secrets
from credentials.exchange.commands import sharing
from credentials.exchange.domain.sharing import LinkEnded, PinNeeded, ShareState, WrongPin, sha256_of
from credentials.tables.sharing import Share
from shared.database import Unknown
from shared.errors import Malformed
from shared.web import (
    Instant,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    error_responses_as_pages,
    resource,
)
from shared.web.problems import problem

router = Router(tags=["sharing"])

Rendering = Annotated[SharedPages, resource(SharedPages)]

_HTML: dict[str, Any] = {"content": {"text/html": {}}, "description": "A page for people"}  # Any: OpenAPI


class BadForm(Malformed):
    """Send `pin=…` as a form, or {"pin": "…"} as JSON."""


class GateView(View):
    """What a shared link shows before it is opened: until when it opens, and whether it asks for a PIN."""

    purpose: str | None = Field(
        description="Null before the PIN, where there is one", examples=["Application for a data post"]
    )
    needs_pin: bool
    expires_at: Instant


@router.get(
    "/shared/{token}",
    operation_id="read_share_gate",
    response_model=GateView,
    responses={200: _HTML} | error_responses_as_pages(Unknown, LinkEnded),
)
async def read_share_gate(
    token: Annotated[str, Path(max_length=100)],
    session: ReadSession,
    pages: Rendering,
    secrets: Secrets,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """What a link asks before it opens. Nothing is shown and nothing counted, so that previews do no harm."""
    try:
        share, state = await sharing.find_link(session, token, secrets)
    except Unknown as unknown:
        return missing_page(unknown, pages.missing("link"), accept)
    if state is not ShareState.LIVE:
        return _ended(pages, accept)
    asks_pin = share.pin_hash is not None
    if "text/html" in accept:
        page = pages.gate(purpose=_purpose(share), expires_at=share.expires_at, asks_pin=asks_pin, problem=None)
        return _page(page)
    gate = GateView(purpose=_purpose(share), needs_pin=asks_pin, expires_at=share.expires_at)
    return Response(gate.model_dump_json(), media_type="application/json", headers=HEADERS)


_PIN = {
    "type": "object",
    "title": "SharePin",
    "description": "The PIN of a shared link; leave it out where the link asks for none.",
    "properties": {"pin": {"type": "string"}},
}


@router.post(
    "/shared/{token}",
    operation_id="open_shared_record",
    response_model=OpenedRecordView,
    responses={200: _HTML} | error_responses(BadForm) | error_responses_as_pages(PinNeeded, WrongPin, LinkEnded),
    openapi_extra={
        "requestBody": {
            "description": "The PIN, where the link has one",
            "content": {
                "application/json": {
                    "schema": _PIN,
                    "example": {"pin": "4821"},
                },
                "application/x-www-form-urlencoded": {
                    "schema": _PIN,
                },
            },
        }
    },
)
async def open_shared_record(
    token: Annotated[str, Path(max_length=100)],
    request: Request,
    session: Session,
    pages: Rendering,
    credential_issuer: Issuing,
    secrets: Secrets,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """What the learner chose to show, as it stands now; they see that it was opened."""
    pin = _pin(await request.body(), request.headers.get("content-type", ""))
    share, state = await sharing.find_link(session, token, secrets)
    if state is not ShareState.LIVE:
        return _ended(pages, accept)
    try:
        opened = await sharing.open_link(session, token, pin, secrets, credential_issuer.issuer)
    except PinNeeded as needed:
        opened = needed
    except LinkEnded:  # it ended since it was found
        return _ended(pages, accept)
    if isinstance(opened, WrongPin | PinNeeded):
        if "text/html" in accept:
            left = opened.extras.get("tries_left")
            page = pages.gate(
                purpose=_purpose(share),
                expires_at=share.expires_at,
                asks_pin=True,
                problem=opened.detail,
                tries_left=left if isinstance(left, int) else None,
            )
            return _page(page, status=opened.status)
        return problem(opened.status, opened.code, opened.title, opened.detail, headers=HEADERS, **opened.extras)
    if "text/html" in accept:
        return _page(pages.record(opened, sha256_of(opened)))
    members = {"record": opened, "sha256": sha256_of(opened)}
    return Response(orjson.dumps(members), media_type="application/json", headers=HEADERS)


def _purpose(share: Share) -> str | None:
    """Return the purpose of a link without a PIN; otherwise it is shown only after the PIN, like all that the learner
    wrote."""
    return share.purpose if share.pin_hash is None else None


class _Opening(RequestModel):
    pin: Pin | None = None


def _pin(body: bytes, content_type: str) -> str | None:
    """Return the PIN in a form or in JSON, if there is one. Raises BadForm."""
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            fields = parse_qs(body.decode("ascii"), strict_parsing=bool(body), max_num_fields=4)
            return _Opening.model_validate({name: values[-1].strip() for name, values in fields.items()}).pin
        return _Opening.model_validate(orjson.loads(body)).pin if body else None
    except (ValidationError, ValueError) as error:
        raise BadForm("send the PIN, four to twelve digits, as a form or as JSON", headers=HEADERS) from error


def _ended(pages: SharedPages, accept: str) -> Response:
    if "text/html" in accept:
        return _page(pages.ended(), status=LinkEnded.status)
    return problem(
        LinkEnded.status,
        LinkEnded.code,
        LinkEnded.title,
        "this link has ended; ask whoever sent it for a new one",
        headers=HEADERS,
    )


def _page(page: str, status: int = 200) -> Response:
    return Response(page, status, media_type="text/html; charset=utf-8", headers={**HEADERS, "Vary": "Accept"})
