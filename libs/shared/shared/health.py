"""Health and metrics of a process: `/health/live`, `/health/ready`, `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.database import Database, takes_writes
from shared.liveness import Loops
from shared.migrate import Revisions
from shared.outages import DATABASE_ERRORS

READY_SECONDS: Final = 2.0
"""Limit for the answer whether a process is ready."""


class Readiness:
    """Whether the database lets this process serve, asked within READY_SECONDS."""

    def __init__(self, database: Database, revisions: Callable[[], Awaitable[Revisions]]) -> None:
        self._database, self._revisions = database, revisions
        self._asked: set[asyncio.Task[tuple[bool, bool]]] = set()

    async def ask(self) -> tuple[bool, bool]:
        """Return whether the database takes writes, and whether it is of this release.

        Whoever takes longer is not waited for: the driver alone would take leave of a silent connection for two seconds
        more. Raises one of DATABASE_ERRORS.
        """
        task = asyncio.create_task(self._look())
        self._asked.add(task)
        task.add_done_callback(self._end)
        try:
            await asyncio.wait({task}, timeout=READY_SECONDS)
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            task.cancel()

    async def _look(self) -> tuple[bool, bool]:
        return await takes_writes(self._database.web), await (await self._revisions()).fit(self._database.web)

    def _end(self, task: asyncio.Task[tuple[bool, bool]]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio logs the error of one that was not waited for


def health_router(
    release: str,
    loops: Loops,
    draining: asyncio.Event,
    database: Database,
    revisions: Callable[[], Awaitable[Revisions]],
) -> APIRouter:
    """Return the routes that say how a process is; `draining` is set once it is to end."""
    router = APIRouter(include_in_schema=False)
    readiness = Readiness(database, revisions)

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
            writes, fits = await readiness.ask()
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
