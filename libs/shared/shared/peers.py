"""Requests to other parties over HTTP: time and size of the answer are limited, and every failure is one error."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx
from pydantic_core import from_json

MOST_BYTES: Final = 1_000_000
"""The limit of an answer, where the caller sets no other."""


class PeerAway(Exception):
    """The other party is away, too slow, answers with what is no HTTP, or with too much."""


class PeerNotReached(PeerAway):
    """There was no connection to the other party, and so nothing was asked of it."""


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    within: float,
    most_bytes: int = MOST_BYTES,
    headers: Mapping[str, str] | None = None,
    **request: Any,  # Any: httpx's own
) -> httpx.Response:
    """Send a request and return the answer, whatever its status, `within` so many seconds.

    It asks for no compression: a few compressed bytes may become any number. It sends no cookies that an answer before
    set: with enough of them every later request is too large. Raises PeerAway: there is no answer, or
    one of more than `most_bytes`; PeerNotReached: nothing was sent.
    """
    client.cookies.clear()
    asked = {"Accept-Encoding": "identity", **(headers or {})}
    try:
        async with asyncio.timeout(within), client.stream(method, url, headers=asked, **request) as answer:
            body = await _body(answer, most_bytes)
            return httpx.Response(answer.status_code, headers=answer.headers, content=body, request=answer.request)
    except TimeoutError as error:
        raise PeerAway(f"no answer within {within:g} s") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise PeerNotReached(repr(error)) from error
    # httpx parses a redirect's address even where it does not follow it: it may be none, or have a bad host name.
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise PeerAway(repr(error)) from error


def json_of(answer: httpx.Response) -> Any:  # Any: JSON
    """Return the JSON of a successful answer.

    Raises PeerAway: it has another status, or its body is no JSON, or nested too deeply.
    """
    if not answer.is_success:
        raise PeerAway(f"it answers {answer.status_code}")
    try:
        return from_json(answer.content)
    except ValueError as error:
        raise PeerAway("it answers what is no JSON") from error


async def _body(answer: httpx.Response, most: int) -> bytes:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise PeerAway("it answers in a content coding that was not asked for")
    parts, size = list[bytes](), 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > most:
            raise PeerAway(f"it answers more than {most} bytes")
        parts.append(part)
    return b"".join(parts)
