"""The sandbox as an ASGI application. Its lifespan runs what happens by itself: serve it with lifespan on."""

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
    """The provider's API under /payments/v1, its pay pages under /pay, the control API under /control.

    `http` sends the callbacks, past any proxy: they go to this machine; tests give one that reaches the application
    under test. `app.state.sandbox` is what the control API drives.
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


async def _refuse(request: Request, refusal: NotPossible) -> JSONResponse:
    """RFC 7807 with Flywire's list of errors."""
    source = "path" if request.method == "GET" else "body"
    return JSONResponse(
        {
            "type": f"https://developers.flywire.com/errors/{refusal.type}",
            "title": refusal.type,
            "status": refusal.status,
            "detail": refusal.message,
            "errors": [{"source": source, "param": refusal.param, "type": refusal.type, "message": refusal.message}],
        },
        refusal.status,
        media_type="application/problem+json",
    )
