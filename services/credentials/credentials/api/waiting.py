"""Do work that is worth doing only while somebody waits for its answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from credentials.adapters.verification.slots import busy

T = TypeVar("T")


async def while_awaited(
    request: Request,
    work: Coroutine[Any, Any, T],  # Any: asyncio's own
    *,
    margin: float,
) -> T:
    """Return the result of some work, which is cancelled when the client has left, or has no more use for an answer.

    The gateway says how long it waits (`X-Request-Timeout-Ms`); `margin`, in seconds, is the time to return the answer.
    The body must have been read before. Raises VerifierBusy, ClientDisconnect.
    """
    told = request.headers.get("x-request-timeout-ms", "")
    seconds = max(int(told) / 1000 - margin, 0) if told.isdecimal() else None
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
