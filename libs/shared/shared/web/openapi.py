"""A service's OpenAPI document: FastAPI's, with who may call and which refusals follow from an operation's shape.

Refusals of its own an operation names by `responses=refusals(…)`; each is told once, under `components`.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.access import Access, InvalidToken, IssuerUnreachable, NotPermitted, Rule
from shared.database import Unknown
from shared.errors import Refusal
from shared.web.paging import BadCursor
from shared.web.problems import MEDIA_TYPE, InvalidRequest, TemporarilyUnavailable, refusals
from shared.web.routing import (
    KEY_HEADER,
    IdempotencyKeyMissing,
    IdempotencyKeyNotTaken,
    IdempotencyKeyReused,
    IdempotencyKeyRunning,
    ReplyErased,
)

Document = dict[str, Any]  # Any: JSON

ANY_ORIGIN: Final = "x-any-origin"
"""Marks an operation whose answers pages of every web origin may read."""

_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token from POST /v1/sign-ins (people) or POST /oauth/token (partners)",
}


def describe(app: FastAPI, name: str, access: Access) -> Document:
    """Made once and kept."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        webhooks=app.webhooks.routes,
        openapi_version="3.1.0",
    )
    document = deepcopy(made)  # in it are the routes' own dictionaries, which other applications share
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {})["bearer"] = _BEARER
    for item in document["paths"].values():
        for method, operation in item.items():
            rule = access.get(operation.get("operationId", ""))
            if rule is not None and rule.any_origin:
                operation[ANY_ORIGIN] = True
            if rule is not None and not rule.public:
                operation["security"] = [{"bearer": sorted(rule.scopes)}]
            operation.setdefault("tags", [name])
            content = operation["responses"]["default"]["content"]
            content[MEDIA_TYPE] = content.pop(next(iter(content)))  # told as of the kind of the route's own answer
            _require_key(operation)
            _add_refusals(method, operation, rule)
            _tell_once(operation, components.setdefault("examples", {}))
    document = _named_by_title(document)
    app.openapi_schema = document
    return document


def with_references(value: Any, renamed: Mapping[str, str]) -> Any:  # Any: JSON
    """A copy in which each reference to an old address is one to the new."""
    if isinstance(value, dict):
        items = cast("Document", value).items()
        return {
            key: renamed.get(inner, inner)
            if key == "$ref" and isinstance(inner, str)
            else with_references(inner, renamed)
            for key, inner in items
        }
    if isinstance(value, list):
        return [with_references(inner, renamed) for inner in cast("list[Any]", value)]  # Any: JSON
    return renamed.get(value, value) if isinstance(value, str) else value


def _named_by_title(document: Document) -> Document:
    """Each schema under the name of its class. pydantic would build names from modules and type parameters.

    Raises ValueError where two classes have one name: clients' types are called by it, so one must be renamed.
    """
    schemas: Document = document["components"].get("schemas", {})
    titles = {name: str(schema["title"]) for name, schema in schemas.items()}
    if twice := sorted({title for title in titles.values() if list(titles.values()).count(title) > 1}):
        raise ValueError(f"two schemas have one name, so one class needs another: {', '.join(twice)}")
    renamed = {f"#/components/schemas/{name}": f"#/components/schemas/{title}" for name, title in titles.items()}
    document = with_references(document, {old: new for old, new in renamed.items() if old != new})
    named = {titles[name]: schema for name, schema in document["components"].get("schemas", {}).items()}
    document["components"]["schemas"] = dict(sorted(named.items()))
    return document


def refusals_of(operation: Document) -> frozenset[str]:
    """The codes an operation of such a document names."""
    return frozenset(
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    )


def takes_key(operation: Document) -> bool:
    """Whether the operation declares an Idempotency-Key."""
    return any((place, name) == ("header", KEY_HEADER) for place, name, _ in _parameters(operation))


def _parameters(operation: Document) -> Iterator[tuple[str, str, Document]]:
    for parameter in operation.get("parameters", ()):
        yield parameter["in"], parameter["name"], parameter


def _require_key(operation: Document) -> None:
    """Declared optional, so that its absence is a refusal with a code of its own."""
    for _, name, parameter in _parameters(operation):
        if name == KEY_HEADER:
            parameter["required"] = True
            schema = parameter["schema"]
            schema |= next(one for one in schema.pop("anyOf") if one["type"] != "null")


def _add_refusals(method: str, operation: Document, rule: Rule | None) -> None:
    responses = operation["responses"]
    for status, response in refusals(*_implied(method, operation, rule)).items():
        known = responses.setdefault(str(status), response)
        if known is not response:
            told = known["content"].setdefault(MEDIA_TYPE, {"schema": response["content"][MEDIA_TYPE]["schema"]})
            before, examples = told.get("examples", {}), response["content"][MEDIA_TYPE]["examples"]
            told["examples"] = before | examples
            known["description"] += "".join(f", `{code}`" for code in examples if code not in before)


def _implied(method: str, operation: Document, rule: Rule | None) -> Iterator[type[Refusal]]:
    yield TemporarilyUnavailable
    if rule is not None:
        yield from (InvalidToken, IssuerUnreachable)  # a token is checked where none is needed, too
        if not rule.public:
            yield NotPermitted
    yield InvalidRequest
    named = {(place, name) for place, name, _ in _parameters(operation)}
    if any(place == "path" for place, _ in named):
        yield Unknown
    if ("query", "cursor") in named:
        yield BadCursor
    if takes_key(operation):
        yield from (IdempotencyKeyMissing, IdempotencyKeyRunning, IdempotencyKeyReused, ReplyErased)
    elif method != "get":
        yield IdempotencyKeyNotTaken


def _tell_once(operation: Document, told: Document) -> None:
    """Examples go under `components`; one whose words differ there stays where it is."""
    for response in operation["responses"].values():
        examples = response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
        for code, example in examples.items():
            if told.setdefault(code, example) == example:
                examples[code] = {"$ref": f"#/components/examples/{code}"}
