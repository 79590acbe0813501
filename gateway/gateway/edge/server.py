"""uvicorn's httptools protocol with what it lacks: a bound on a request's head in bytes and in time.

Without it one socket may send headers for ever, and two hundred half-open ones wait for ever (measured).
"""

import asyncio
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.edge.refusals import HeadersTooLarge, MalformedRequest, RequestTimeout, UrlTooLong
from shared.errors import Refusal

HEAD_SECONDS: Final = 10.0
HEAD_BYTES: Final = 32_768


class GuardedProtocol(HttpToolsProtocol):
    """A connection is closed after any refusal made here: what follows on it cannot be trusted to be a request."""

    head_seconds: float = HEAD_SECONDS
    head_bytes: int = HEAD_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own signature, passed through
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_read = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_read += len(data)
            if self._head_read > self.head_bytes:
                whole_url = bool(self.headers)
                self._refuse(
                    HeadersTooLarge(f"a request's head may have {self.head_bytes} bytes")
                    if whole_url
                    else UrlTooLong("the address is too long")
                )
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_read = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._stop_timer()
        super().on_headers_complete()
        self.headers = []  # a trailer must not become a header; the request keeps its own list

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        self._refuse(MalformedRequest("the request is not valid HTTP/1.1"))

    def _should_upgrade(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """An offer to change protocol is not taken up, which needs no word (RFC 9110 §7.8)."""

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._head_read or self._in_head:
            self._refuse(RequestTimeout("the request's head did not arrive in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, refusal: Refusal) -> None:
        self._stop_timer()
        self._in_head = False
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                # An answer is being written or still to come: another in its midst would be read as part of it.
                self.transport.abort()
                return
            cycle.disconnected = True  # for the application this request's caller has left
            cycle.message_event.set()
        body = orjson.dumps(
            {
                "type": f"/problems/{refusal.code}",
                "title": refusal.title,
                "status": refusal.status,
                "code": refusal.code,
                "detail": refusal.detail,
            }
        )
        self.transport.write(
            STATUS_LINE[refusal.status] + b"content-type: application/problem+json\r\ncache-control: no-store\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()
