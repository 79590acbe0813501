"""How long the caller of a request waits for its answer, and the end of a request that takes longer."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request

from shared.web.problems import DeadlineExceeded

HEADER: Final = "x-request-timeout-ms"
"""Set by the gateway, which lets none of a caller's through."""
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)

T = TypeVar("T")


def seconds_awaited(request: Request) -> float | None:
    """Return for how many seconds the request's caller waits for the answer's head; None where nothing says so."""
    given = request.headers.get(HEADER, "")
    return int(given) / 1000 if _MILLISECONDS.fullmatch(given) else None


async def in_time(request: Request, work: Coroutine[Any, Any, T]) -> T:  # Any: asyncio's own
    """Return the result of answering a request, which is cancelled when its caller stops waiting.

    A transaction is rolled back then, unless its commit was under way. Raises DeadlineExceeded.
    """
    limit = asyncio.timeout(seconds_awaited(request))
    try:
        async with limit:
            return await work
    except Exception as error:
        if limit.expired():  # whatever the cancellation became: a statement that is cut off has errors of its own
            raise DeadlineExceeded("the request was not finished in time") from error
        raise
