"""Health and metrics of a process: `/health/live`, `/health/ready`, `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.database import Database, takes_writes
from shared.liveness import Loops
from shared.migrate import Revisions
from shared.outages import DATABASE_ERRORS


def health_router(
    release: str,
    loops: Loops,
    draining: asyncio.Event,
    database: Database,
    revisions: Callable[[], Awaitable[Revisions]],
) -> APIRouter:
    """Return the routes that say how a process is; `draining` is set once it is to end."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live(response: Response) -> dict[str, str]:
        """Every loop goes round; never asks the database."""
        if stuck := loops.stuck():
            response.status_code = 503
            return {"status": f"stuck: {', '.join(stuck)}"}
        return {"status": "live", "release": release}

    @router.get("/health/ready")
    async def ready(response: Response) -> dict[str, str]:
        """Requests can be taken. A broker that is away does not matter here: events wait in the outbox."""
        if draining.is_set():
            response.status_code = 503
            return {"status": "draining"}
        try:
            async with asyncio.timeout(2):
                writes = await takes_writes(database.web)
                fits = await (await revisions()).fit(database.web)
        except DATABASE_ERRORS:  # whatever it says, it does not serve us
            response.status_code = 503
            response.headers["Retry-After"] = "2"
            return {"status": "the database is away"}
        if not (writes and fits):
            response.status_code = 503
            response.headers["Retry-After"] = "2"
            return {"status": "the database is behind this release" if writes else "the database only reads"}
        return {"status": "ready"}

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
