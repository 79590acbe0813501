"""Middleware of every service: request id, trace, log line and metrics of a request, and HEAD.

It is pure ASGI: Starlette's BaseHTTPMiddleware would cancel handlers when a client leaves.
"""

import logging
import time
from typing import Final

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import telemetry

log = logging.getLogger("access")


class Telemetry:
    """Gives each request its id and trace, and logs and counts its answer."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self.app, self.service = app, service
        self._measures: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        """The metrics by method, route and status, found once: finding them costs more than counting."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _AROUND in scope:
            await self.app(scope, receive, send)
            return
        scope[_AROUND] = True
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = telemetry.accept_request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        telemetry.request_id.set(request_id)
        telemetry.traceparent.set(telemetry.accept_traceparent(headers.get(b"traceparent", b"").decode("latin-1")))
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")  # the template, never the raw path
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        requests, times = self._measured(method, route, status)
        requests.inc()
        times.observe(seconds)
        if not route.startswith("/health") and route != "/metrics":
            log.info(
                "request",
                extra={"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)},
            )

    def _measured(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        found = self._measures.get((method, route, status))
        if found is None:
            found = self._measures[method, route, status] = (
                telemetry.requests_total.labels(self.service, method, route, str(status)),
                telemetry.request_seconds.labels(self.service, method, route),
            )
        return found


_AROUND: Final = "telemetry"
"""Marks the scope of a request that is logged already: a cache before the API passes on what it does not answer."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class HeadAsGet:
    """Answers HEAD as GET, without the body (RFC 9110 §9.3.2); FastAPI's routes know GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send_head)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]
