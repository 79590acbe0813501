"""Rejection of what no column of PostgreSQL holds: NUL, half of a surrogate pair, numbers that are not finite.

Every request's address is searched before any route is looked for, and an operation's JSON body before it is read, so
no field has to check its own; code that reads a form or a header by hand calls `shared.texts.is_storable`.
"""

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.texts import is_storable
from shared.web.problems import InvalidRequest, answer_of

_SUSPECT: Final = re.compile(
    rb"\\u(?:0000|[dD][89a-fA-F])"  # an escape
    rb"|NaN|Infinity"  # no JSON, but Python reads them
    rb"|[eE]\+?[0-9]{3,}+(?=\s*+(?:[],}]|$))"  # an exponent, where a number ends
    rb"|(?<![0-9])[0-9]{200}"
)
"""What may become such text or such a number when the JSON is read: most bodies hold none, and are not parsed twice."""


class StorableAddress:
    """Middleware that refuses every request whose path or query holds such text, whichever route it is for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        odd = _odd_part(scope) if scope["type"] == "http" else None
        if odd is None:
            await self.app(scope, receive, send)
        else:
            await answer_of(_invalid(odd))(scope, receive, send)


def _odd_part(scope: Scope) -> str | None:
    """Return the part of a request's address that holds such text."""
    if not is_storable(scope["path"]):
        return "/path"
    query: bytes = scope["query_string"]
    return "/query" if b"%00" in query or b"\x00" in query else None


def check_json(body: bytes) -> None:
    """Raise InvalidRequest for JSON that is not UTF-8 (RFC 8259 §8.1) or holds such text or numbers; other faults
    pass."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _invalid("/body") from error
    if "\x00" in text:
        raise _invalid("/body")
    if _SUSPECT.search(body) is None:
        return
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return  # no JSON: the route refuses it
    for pointer, part in _parts(content, "/body"):
        if isinstance(part, str):
            if not is_storable(part):
                raise _invalid(pointer)
        elif not isfinite(part):
            raise InvalidRequest(
                "the request holds what is no number",
                errors=[{"pointer": pointer, "message": "NaN, infinity or a number beyond 1e308 is not allowed"}],
            )


def _parts(value: Any, pointer: str) -> Iterator[tuple[str, str | float]]:  # Any: JSON
    waiting: list[tuple[Any, str]] = [(value, pointer)]  # Any: JSON
    while waiting:
        one, at = waiting.pop()
        if isinstance(one, str | float):
            yield at, one
        elif isinstance(one, dict):
            for name, inner in cast("dict[str, Any]", one).items():  # Any: JSON
                yield at, name
                waiting.append((inner, f"{at}/{name}"))
        elif isinstance(one, list):
            waiting += [(inner, f"{at}/{number}") for number, inner in enumerate(cast("list[Any]", one))]  # Any: JSON


def _invalid(pointer: str) -> InvalidRequest:
    message = "NUL, half of a surrogate pair or what is not UTF-8 is not allowed"
    return InvalidRequest("the request holds what is no text", errors=[{"pointer": pointer, "message": message}])
