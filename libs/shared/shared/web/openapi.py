"""A service's OpenAPI document: FastAPI's, with who may call and which errors follow from an operation's shape.

An operation names its own errors by `responses=error_responses(…)`; each is documented once, under `components`.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.access import Access, InvalidToken, IssuerUnreachable, NotPermitted, Rule
from shared.database import Unknown
from shared.errors import DomainError
from shared.idempotency import (
    IdempotencyKeyMissing,
    IdempotencyKeyNotTaken,
    IdempotencyKeyReused,
    IdempotencyKeyRunning,
    ReplyErased,
)
from shared.paging import BadCursor
from shared.web.problems import MEDIA_TYPE, InvalidRequest, TemporarilyUnavailable, error_responses
from shared.web.routing import KEY_HEADER
from shared.web.unreadable import UnreadableRecord

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
    """Return the application's OpenAPI document; it is made once and kept."""
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
            content[MEDIA_TYPE] = content.pop(next(iter(content)))  # FastAPI documents it with the route's media type
            _require_key(operation)
            _document_body(operation)
            _add_error_responses(method, operation, rule)
            _document_once(operation, components.setdefault("examples", {}))
            _name_bodies(operation, components.setdefault("schemas", {}))
    document = _named_by_title(document)
    app.openapi_schema = document
    return document


def with_references(value: Any, renamed: Mapping[str, str]) -> Any:  # Any: JSON
    """Return a copy in which each reference to an old address is one to the new."""
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
    """Return the document with each schema under the name of its class, and not under pydantic's, which is built from
    modules and type parameters.

    Raises ValueError: two classes have one name. Clients' types are called by it, so one must be renamed.
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


def errors_of(operation: Document) -> frozenset[str]:
    """Return the problem codes that an operation of such a document names."""
    return frozenset(
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    )


def takes_key(operation: Document) -> bool:
    """Return whether the operation declares an Idempotency-Key."""
    return any((place, name) == ("header", KEY_HEADER) for place, name, _ in _parameters(operation))


def _parameters(operation: Document) -> Iterator[tuple[str, str, Document]]:
    for parameter in operation.get("parameters", ()):
        yield parameter["in"], parameter["name"], parameter


def _require_key(operation: Document) -> None:
    """Document the Idempotency-Key as required: it is declared optional, so that its absence has its own code."""
    for _, name, parameter in _parameters(operation):
        if name == KEY_HEADER:
            parameter["required"] = True
            schema = parameter["schema"]
            schema |= next(one for one in schema.pop("anyOf") if one["type"] != "null")


def _document_body(operation: Document) -> None:
    """Document a body that may be left out as that, and not as one that may be null: client generators fail on it."""
    for body in operation.get("requestBody", {}).get("content", {}).values():
        kinds = body.get("schema", {}).get("anyOf", ())
        if len(said := [kind for kind in kinds if kind != {"type": "null"}]) == 1 and len(kinds) > 1:
            body["schema"] = said[0]


def _name_bodies(operation: Document, schemas: Document) -> None:
    """Move each body's inline object schema to `components`, by its title: else clients' types get chance names.

    Raises ValueError: two schemas have one title.
    """
    for documented in (operation.get("requestBody", {}), *operation["responses"].values()):
        for body in documented.get("content", {}).values():
            schema = body.get("schema", {})
            if schema.get("type") == "object" and (title := schema.get("title", "").replace(" ", "")):
                if schemas.setdefault(title, {**schema, "title": title}) != {**schema, "title": title}:
                    raise ValueError(f"two schemas have one name: {title}")
                body["schema"] = {"$ref": f"#/components/schemas/{title}"}


def _add_error_responses(method: str, operation: Document, rule: Rule | None) -> None:
    responses = operation["responses"]
    for status, response in error_responses(*_implied(method, operation, rule)).items():
        known = responses.setdefault(str(status), response)
        if known is not response:
            documented = known["content"].setdefault(MEDIA_TYPE, {"schema": response["content"][MEDIA_TYPE]["schema"]})
            before, examples = documented.get("examples", {}), response["content"][MEDIA_TYPE]["examples"]
            documented["examples"] = before | examples
            known["description"] += "".join(f", `{code}`" for code in examples if code not in before)


def _implied(method: str, operation: Document, rule: Rule | None) -> Iterator[type[DomainError]]:
    yield from (TemporarilyUnavailable, UnreadableRecord)
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


def _document_once(operation: Document, documented: Document) -> None:
    """Move examples of problems to `components`; one that differs from the one there stays where it is."""
    for response in operation["responses"].values():
        examples = response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
        for code, example in examples.items():
            if documented.setdefault(code, example) == example:
                examples[code] = {"$ref": f"#/components/examples/{code}"}
