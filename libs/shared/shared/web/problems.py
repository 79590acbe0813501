"""Problem documents (RFC 9457): every error is answered with one, under a stable `code`."""

import inspect
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared import telemetry
from shared.errors import DomainError, Invalid, NotFound, Unavailable
from shared.outages import DATABASE_ERRORS, in_words, is_database_down
from shared.web.unreadable import UnreadableRecord, note_unreadable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
REMEDY: Final = "x-remedy"
"""Beside the example of an error in the OpenAPI document: what to do about it, where its status does not say so."""
RETRY_AFTER: Final = "2"
"""The Retry-After, in seconds, of every 503 that has no other."""
_CALLER_LEFT: Final = 499  # for the log and the counters: nobody is there to read it
_SCHEMA = {"$ref": "#/components/schemas/Problem"}


class InvalidRequest(Invalid):
    """The request does not fit its schema; `errors` says where."""


class TemporarilyUnavailable(Unavailable):
    """What the service stands on is away; try again as `Retry-After` says."""


class NoSuchOperation(NotFound):
    """Nothing is offered at this address."""


class MethodNotAllowed(DomainError):
    """This address is known, but not with this method; `Allow` names those it has."""

    status = 405
    title = "Method not allowed"


class InternalError(DomainError):
    """This is our fault; it has been recorded."""

    status = 500
    title = "Unexpected failure"


class DeadlineExceeded(DomainError):
    """The service did not answer within the budget: whether the request took effect is unknown."""

    status = 504
    title = "A service took too long"


_OF_THE_FRAMEWORK: Final[dict[int, type[DomainError]]] = {
    404: NoSuchOperation,
    405: MethodNotAllowed,
    400: InvalidRequest,
}
"""Our errors for those that Starlette and FastAPI raise, by status; 400 is a body that cannot be read."""


class FieldError(BaseModel):
    """One field or parameter of a request that was refused, and what is wrong with it."""

    pointer: str = Field(description="Where, as a JSON pointer or parameter name", examples=["/body/email"])
    message: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """RFC 9457 problem document; `code` never changes once published."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/already_graded"])
    title: str = Field(examples=["Conflict with the present state"])
    status: int = Field(examples=[409])
    detail: str = Field(description="For people", examples=["this submission is already graded"])
    code: str = Field(description="Stable name of the rule that refused", examples=["already_graded"])
    request_id: str | None = Field(
        default=None, description="Name it when you ask for help", examples=["4bf92f3577b34da6a3ce929d0e0e4736"]
    )
    errors: list[FieldError] = Field(default_factory=list[FieldError])


RESPONSE: Final[dict[str, Any]] = {
    "model": Problem,
    "description": "Any other error, as a problem document",
}  # Any: FastAPI's
"""The default response of every operation, for its OpenAPI document."""


def error_responses(*kinds: type[DomainError]) -> dict[int | str, dict[str, Any]]:  # Any: FastAPI's
    """Return the `responses` of a route that may raise these errors: by status, each with its code and its meaning."""
    responses: dict[int | str, dict[str, Any]] = {}  # Any: OpenAPI
    for kind in sorted(kinds, key=lambda kind: (kind.status, kind.code)):
        meaning = inspect.cleandoc(kind.__doc__ or kind.title).partition("\n\n")[0].replace("\n", " ")
        body = {
            "type": f"/problems/{kind.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": meaning,
            "code": kind.code,
        }
        response = responses.setdefault(kind.status, {"content": {MEDIA_TYPE: {"schema": _SCHEMA, "examples": {}}}})
        examples = response["content"][MEDIA_TYPE]["examples"]
        examples[kind.code] = {"summary": meaning, "value": body}
        if kind.remedy:
            examples[kind.code][REMEDY] = kind.remedy
        response["description"] = f"{kind.title}: {', '.join(f'`{code}`' for code in examples)}"
    return responses


def error_responses_as_pages(*kinds: type[DomainError]) -> dict[int | str, dict[str, Any]]:  # Any: FastAPI's
    """Return the same for a route that answers a browser with a page and programs with a problem document."""
    documented = error_responses(*kinds)
    for response in documented.values():
        response["content"]["text/html"] = {}
    return documented


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **extras: object,
) -> JSONResponse:
    """Return a problem document as an answer; `extras` are further members of it."""
    body: dict[str, Any] = {  # Any: JSON
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": telemetry.request_id.get(),
        **extras,
    }
    headers = dict(headers or {})
    if status == Unavailable.status:
        headers.setdefault("Retry-After", RETRY_AFTER)
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def answer_of(domain_error: DomainError) -> JSONResponse:
    """Return the problem document by which an error is answered."""
    return problem(
        domain_error.status,
        domain_error.code,
        domain_error.title,
        domain_error.detail,
        headers=domain_error.headers,
        **domain_error.extras,
    )


_ARRAY, _OBJECT = "Input should be an array", "Input should be an object"
_IN_JSON: Final = {
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), _ARRAY),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), _OBJECT),
    "none_required": "Input should be null",
}
"""Messages by pydantic's type of error, where its own name types of Python."""


def _in_words(error: Mapping[str, Any]) -> str:  # Any: pydantic's own type
    """Return pydantic's message about an error in the words of JSON.

    Of a text that was normalised before it was measured it counts characters, where pydantic counts items.
    """
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind in {"too_short", "too_long"}:
        is_text = isinstance(error.get("input"), str)
        what, of = ("String", "character") if is_text else ("Array", "item")
        if isinstance(error.get("input"), Mapping):
            what = "Object"
        bound = context.get("min_length", context.get("max_length"))
        least = "least" if kind == "too_short" else "most"
        return f"{what} should have at {least} {bound} {of}{'' if bound == 1 else 's'}"
    if kind in {"value_error", "assertion_error"}:
        words = str(context.get("error", error["msg"]))
        return words[:1].upper() + words[1:]
    return _IN_JSON.get(kind, str(error["msg"]))


def install(app: FastAPI) -> None:
    """Have the application answer every kind of error with a problem document."""

    @app.exception_handler(DomainError)
    async def refuse(_: Request, domain_error: DomainError) -> JSONResponse:
        return answer_of(domain_error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        is_typed = not request.url.path.startswith("/v1/")  # an address people open: at one that cannot be is nothing
        if is_typed and all(one["loc"][0] == "path" for one in error.errors()):
            return problem(NotFound.status, NotFound.code, NotFound.title, "there is nothing at this address")
        errors = [
            {"pointer": "/" + "/".join(str(part) for part in one["loc"]), "message": _in_words(one)}
            for one in error.errors()
        ]
        kind = InvalidRequest
        return problem(kind.status, kind.code, kind.title, "the request does not fit its schema", errors=errors)

    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _left)

    async def database(_: Request, error: Exception) -> JSONResponse:
        if not is_database_down(error):
            return _unexpected(error)
        log.error(in_words(error), extra={"error": repr(error)})
        kind = TemporarilyUnavailable
        return problem(kind.status, kind.code, kind.title, "try again shortly")

    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, database)

    async def unreadable(_: Request, error: Exception) -> JSONResponse:
        """Answer that a stored record cannot be read; requests that cannot be read were refused before."""
        note_unreadable(error)
        return answer_of(UnreadableRecord())

    for kind in (ValidationError, ResponseValidationError):
        app.add_exception_handler(kind, unreadable)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        return _unexpected(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), error
    if isinstance(error.__cause__, ClientDisconnect):  # while FastAPI read the body
        return await _left(request, error)
    kind = _OF_THE_FRAMEWORK.get(error.status_code)
    if kind is None:
        return _unexpected(error)
    return problem(kind.status, kind.code, kind.title, str(error.detail), headers=dict(error.headers or {}))


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=_CALLER_LEFT)


def _unexpected(error: Exception) -> JSONResponse:
    log.error("unexpected failure", exc_info=error)
    kind = InternalError
    return problem(kind.status, kind.code, kind.title, "this is our fault; it has been recorded")
