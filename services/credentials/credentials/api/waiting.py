"""Do work that is worth doing only while somebody waits for its answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from openbadges.verification.slots import busy
from shared.web.waiting import seconds_awaited

T = TypeVar("T")


async def while_awaited(
    request: Request,
    work: Coroutine[Any, Any, T],  # Any: asyncio's own
    *,
    margin: float,
) -> T:
    """Return the result of some work, which is cancelled when the client has left, or has no more use for an answer.

    Every request ends when its caller waits no longer (`shared.web.waiting`); this work ends `margin` seconds before,
    while a busy verifier can still say so. The body must have been read before. Raises VerifierBusy, ClientDisconnect.
    """
    awaited = seconds_awaited(request)
    seconds = None if awaited is None else max(awaited - margin, 0)
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_leave(request))
    try:
        done, _ = await asyncio.wait({working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            return working.result()
        if leaving in done:
            raise ClientDisconnect
        raise busy()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
