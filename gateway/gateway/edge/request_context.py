"""The request context: what the front door knows of one request while it handles it."""

import random
import time
from collections.abc import MutableMapping
from typing import Any

from gateway.edge import responses
from gateway.edge.access_log import AccessLogEntry
from gateway.edge.cors import ANY
from gateway.edge.exchange import Message, Send
from gateway.edge.guard import Head
from gateway.edge.responses import Header
from shared.telemetry import REQUEST_ID, TRACEPARENT

Scope = MutableMapping[str, Any]  # ASGI's own type
_random = random.Random()  # noqa: S311 - ids distinguish requests; they protect nothing


class RequestContext:
    """One request at the front door, from its arrival to its line in the access log.

    `arrived` is POSIX time, `tick` an instant of the monotonic clock. `own` are the CORS headers of the answer.
    `kept_elsewhere`: the API behind logs the request, so the front door does not.
    """

    __slots__ = (
        "allowance",
        "arrived",
        "caller",
        "kept_elsewhere",
        "own",
        "request_id",
        "route",
        "scope",
        "send",
        "started",
        "tick",
        "traceparent",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.send = send
        self.arrived = time.time()
        self.tick = time.monotonic()
        digits = f"{_random.getrandbits(320):080x}"
        self.request_id = digits[:32]
        self.traceparent = f"00-{digits[32:64]}-{digits[64:]}-01"
        self.route = "unrouted"
        self.caller = "anonymous"
        self.allowance: tuple[Header, ...] = ()
        self.own: list[Header] = ANY  # until origin and operation are known
        self.started = False
        self.kept_elsewhere = False

    def identify(self, head: Head) -> None:
        """Take over the caller's request id and trace where they are well-formed."""
        if head.request_id is not None:
            given = head.request_id.decode("latin-1")
            if REQUEST_ID.match(given):
                self.request_id = given
        if head.traceparent is not None:
            given = head.traceparent.decode("latin-1")
            if TRACEPARENT.match(given):
                self.traceparent = f"{given[:36]}{self.traceparent[36:52]}{given[52:]}"

    async def reply(self, message: Message) -> None:
        self.started = True
        await self.send(message)

    def headers(self, *, cors: bool = True) -> list[Header]:
        """Return the front door's own headers on every answer."""
        own = [*responses.marks(self.arrived, self.request_id), *self.allowance]
        return own + self.own if cors else own

    def entry(self, status: int) -> AccessLogEntry:
        return AccessLogEntry(
            self.arrived,
            self.scope["method"],
            self.scope["raw_path"],
            self.route,
            status,
            time.monotonic() - self.tick,
            self.request_id,
            self.traceparent,
            self.caller,
        )
