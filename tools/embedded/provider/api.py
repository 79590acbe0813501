"""The provider's API, which payments calls: checkout sessions, payments, refunds."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from embedded.provider.books import Record
from embedded.provider.sandbox import Sandbox
from embedded.provider.shapes import NotPossible, public

PREFIX = "/payments/v1"
MOST_PER_PAGE = 100


class _Item(BaseModel):
    id: str
    description: str = ""
    amount: int = Field(ge=1)


class _Field(BaseModel):
    id: str
    value: str = ""


class _Recipient(BaseModel):
    id: str = Field(pattern="^[A-Z]{3}$")
    fields: list[_Field] = []


class _Payor(BaseModel):
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    country: str = "GB"


class _Form(BaseModel):
    action_button: str = "pay"
    return_url: str | None = None


class _Options(BaseModel):
    form: _Form = _Form()


class SessionRequest(BaseModel):
    """A one-off checkout."""

    type: str = Field(pattern="^one_off$")
    payor: _Payor = _Payor()
    options: _Options = _Options()
    recipient: _Recipient
    currency: str = Field(default="GBP", pattern="^[A-Z]{3}$")
    items: list[_Item] = Field(min_length=1)
    notifications_url: str = ""
    external_reference: str = Field(default="", max_length=50)


class RefundRequest(BaseModel):
    amount: int = Field(ge=1)
    external_reference: str = Field(default="", max_length=50)
    notifications_url: str = ""


class KeyRequired:
    """Middleware that requires the API key; pay pages and control API are open, since no money moves here."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            given = dict(scope["headers"]).get(b"x-authentication-key", b"")
            if not hmac.compare_digest(given, self.key):
                error: Record = {"type": "unauthorized", "title": "Unauthorized", "status": 401, "errors": []}
                await JSONResponse(error, 401, media_type="application/problem+json")(scope, receive, send)
                return
        await self.app(scope, receive, send)


def sandbox_of(request: Request) -> Sandbox:
    return request.app.state.sandbox


async def read(request: Request, shape: type[BaseModel]) -> dict[str, Any]:  # Any: JSON
    """Return the request's body, validated by this model; raises NotPossible."""
    try:
        return shape.model_validate_json(await request.body() or b"{}").model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"])
        raise NotPossible(400, "invalid_params", first["msg"], param) from error


async def _or_fail(request: Request, operation: str, effect: Callable[[], JSONResponse]) -> JSONResponse:
    """Return the effect's answer; where a failure was ordered, that after a while, with or without the effect."""
    failure = sandbox_of(request).next_failure(operation)
    if failure is None:
        return effect()
    if failure.takes_effect:
        effect()
    await asyncio.sleep(failure.seconds)
    title = HTTPStatus(failure.status).phrase
    error: Record = {"type": "ordered", "title": title, "status": failure.status, "errors": []}
    return JSONResponse(error, failure.status, media_type="application/problem+json")


async def create_session(request: Request) -> JSONResponse:
    body = await read(request, SessionRequest)
    sandbox = sandbox_of(request)

    def create() -> JSONResponse:
        session = sandbox.create_session(body)
        return JSONResponse(
            {
                "id": session["id"],
                "expires_in_seconds": sandbox.settings.session_minutes * 60,
                "hosted_form": {"url": f"{sandbox.settings.url.rstrip('/')}/pay/{session['id']}", "method": "GET"},
                "warnings": [],
            },
            201,
        )

    return await _or_fail(request, "create_session", create)


async def confirm_session(request: Request) -> JSONResponse:
    session = sandbox_of(request).session(request.path_params["id"])
    if session["payment_id"] is None:
        raise NotPossible(422, "invalid_status", "The form has not been completed")
    return JSONResponse({"payment_reference": session["payment_id"]})


async def expire_session(request: Request) -> JSONResponse:
    return JSONResponse({"status": sandbox_of(request).expire_session(request.path_params["id"])["status"]})


async def read_payment(request: Request) -> JSONResponse:
    sandbox = sandbox_of(request)
    return await _or_fail(
        request, "read_payment", lambda: JSONResponse(public(sandbox.payment(request.path_params["reference"])))
    )


def _page(request: Request) -> tuple[datetime | None, slice]:
    """Return the requested `created_from` and the requested part of the list; raises NotPossible."""
    query = request.query_params
    try:
        page, per_page = int(query.get("page", 1)), int(query.get("per_page", 10))
        since = datetime.fromisoformat(query["created_from"]) if "created_from" in query else None
    except ValueError as error:
        raise NotPossible(400, "invalid_params", str(error)) from error
    if page < 1 or not 1 <= per_page <= MOST_PER_PAGE:
        raise NotPossible(400, "invalid_params", f"page from 1, per_page from 1 to {MOST_PER_PAGE}")
    return since.astimezone(UTC) if since else None, slice((page - 1) * per_page, page * per_page)


async def list_payments(request: Request) -> JSONResponse:
    since, part = _page(request)
    found = sandbox_of(request).payments(since)
    return JSONResponse({"payments": [public(one) for one in found[part]], "total_entries": len(found)})


async def list_all_refunds(request: Request) -> JSONResponse:
    since, part = _page(request)
    found = sandbox_of(request).all_refunds(since)
    return JSONResponse({"refunds": [public(one) for one in found[part]], "total_entries": len(found)})


async def create_refund(request: Request) -> JSONResponse:
    body = await read(request, RefundRequest)
    sandbox = sandbox_of(request)
    reference = request.path_params["reference"]

    def create() -> JSONResponse:
        refund = sandbox.create_refund(reference, body["amount"], body["external_reference"], body["notifications_url"])
        return JSONResponse(public(refund), 201)

    return await _or_fail(request, "create_refund", create)


async def list_refunds(request: Request) -> JSONResponse:
    sandbox = sandbox_of(request)
    reference = sandbox.payment(request.path_params["reference"])["payment_id"]
    return JSONResponse({"refunds": [public(one) for one in sandbox.refunds(reference)]})


async def read_refund(request: Request) -> JSONResponse:
    return JSONResponse(public(sandbox_of(request).refund(request.path_params["id"])))


async def cancel_refund(request: Request) -> JSONResponse:
    return JSONResponse(public(sandbox_of(request).cancel_refund(request.path_params["id"])))


Endpoint = Callable[[Request], Awaitable[JSONResponse]]


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    return Route(PREFIX + path, endpoint, methods=[method])


routes = [
    _route("POST", "/checkout/sessions", create_session),
    _route("POST", "/checkout/sessions/{id}/confirm", confirm_session),
    _route("POST", "/checkout/sessions/{id}/expire", expire_session),
    _route("GET", "/payments", list_payments),
    _route("GET", "/payments/{reference}", read_payment),
    _route("POST", "/payments/{reference}/refunds", create_refund),
    _route("GET", "/payments/{reference}/refunds", list_refunds),
    _route("GET", "/refunds", list_all_refunds),
    _route("GET", "/refunds/{id}", read_refund),
    _route("POST", "/refunds/{id}/cancel", cancel_refund),
]
