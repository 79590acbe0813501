"""The sandbox as an ASGI application. Serve it with lifespan on, which takes planned steps and sends callbacks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from embedded.provider import api, control, pages
from embedded.provider.sandbox import Sandbox
from embedded.provider.settings import Settings
from embedded.provider.shapes import NotPossible
from shared.clock import Clock, system_clock


def build(settings: Settings, *, http: httpx.AsyncClient | None = None, clock: Clock = system_clock) -> Starlette:
    """Build the provider: its API under /payments/v1, pay pages under /pay, the control API under /control.

    `http` sends the callbacks; by default past any proxy, since they go to this machine. Tests give one that reaches
    the application under test. `app.state.sandbox` is the Sandbox.
    """
    sandbox = Sandbox(settings, http or httpx.AsyncClient(trust_env=False), clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        running = asyncio.create_task(sandbox.run(), name="sandbox provider")
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await sandbox.close()

    app = Starlette(
        routes=[*api.routes, *pages.routes, *control.routes],
        lifespan=lifespan,
        middleware=[Middleware(api.KeyRequired, key=settings.api_key.get_secret_value())],
        exception_handlers={NotPossible: _refuse},  # pyright: ignore[reportArgumentType] - Starlette types Exception only
    )
    app.state.sandbox = sandbox
    return app


async def _refuse(request: Request, error: NotPossible) -> JSONResponse:
    """Answer with a problem document (RFC 7807) that has Flywire's list of errors."""
    source = "path" if request.method == "GET" else "body"
    return JSONResponse(
        {
            "type": f"https://developers.flywire.com/errors/{error.type}",
            "title": error.type,
            "status": error.status,
            "detail": error.message,
            "errors": [{"source": source, "param": error.param, "type": error.type, "message": error.message}],
        },
        error.status,
        media_type="application/problem+json",
    )
