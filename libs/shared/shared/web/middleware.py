"""Around every request: its id, its trace, one log line, its metrics. Pure ASGI: Starlette's BaseHTTPMiddleware
would cancel handlers when a client leaves."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import telemetry

log = logging.getLogger("access")


class Telemetry:
    def __init__(self, app: ASGIApp, service: str) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = telemetry.accept_request_id(headers.get(b"x-request-id"))
        telemetry.request_id.set(request_id)
        telemetry.traceparent.set(telemetry.accept_traceparent(headers.get(b"traceparent")))
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
        telemetry.requests_total.labels(self.service, method, route, str(status)).inc()
        telemetry.request_seconds.labels(self.service, method, route).observe(seconds)
        if not route.startswith("/health") and route != "/metrics":
            log.info(
                "request",
                extra={"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)},
            )


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
