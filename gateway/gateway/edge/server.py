"""uvicorn's httptools protocol with what it lacks: a bound on a request's head in bytes and in time, answers to callers
who have closed their sending side, and answers without length for HTTP/1.0.

Without the bound one socket may send headers for ever, and two hundred half-open ones wait for ever (measured).
"""

import asyncio
import socket
import struct
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.edge.refusals import HeadersTooLarge, MalformedRequest, RequestTimeout, UrlTooLong
from shared.errors import Refusal

HEAD_SECONDS: Final = 10.0
HEAD_BYTES: Final = 32_768
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # a lingering time of none: what is closed is reset
_PIECE: Final = 16_384  # bytes the parser is fed at a time; a head that begins within one is counted from the next


class GuardedProtocol(HttpToolsProtocol):
    """A connection is closed after any refusal made here: what follows on it cannot be trusted to be a request."""

    head_seconds: float = HEAD_SECONDS
    head_bytes: int = HEAD_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own signature, passed through
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_read = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._last_asked = False
        """What still comes on this connection is no request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        cycle = self._answering
        if cycle is not None and cycle is not self.cycle:  # uvicorn tells the last of several alone
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] - asyncio's own type
        """A caller who has said all it has to say still wants its answers."""
        self._stop_timer()
        cycle = self.cycle
        if self._in_head or not cycle or cycle.response_complete or cycle.more_body:
            return False
        self._answer_and_close()
        return True

    def data_received(self, data: bytes) -> None:
        if len(data) <= _PIECE:
            self._feed(data)
            return
        for at in range(0, len(data), _PIECE):
            self._feed(data[at : at + _PIECE])

    def _feed(self, data: bytes) -> None:
        if self._last_asked or self.transport.is_closing():
            return
        in_head = self._in_head
        super().data_received(data)
        if not self._in_head or self._last_asked or self.transport.is_closing():
            return
        if in_head:
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # Any: uvicorn's spelling of ASGI
        self._answering = cycle
        if cycle.scope["http_version"] == "1.0":
            app = _Undelimited(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(RequestTimeout("the request's head did not arrive in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_and_close(self) -> None:
        """Answer what was asked whole; the connection ends with the last of it."""
        self._last_asked = True
        self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        self._stop_timer()
        next_one, self._in_head = self._in_head, False
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if next_one or not cycle.more_body:  # those before it are sound, and their answers come first
                self._answer_and_close()
                return
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


class _Undelimited:
    """For a caller of HTTP/1.0, who knows no chunks (RFC 9112 §6.1): what has no length ends with its connection."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app, self._cycle = app, cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self._cycle
        undelimited = False

        async def send_unchunked(message: Message) -> None:
            nonlocal undelimited
            if message["type"] == "http.response.start":
                undelimited = all(name != b"content-length" for name, _ in message.get("headers", ()))
                if undelimited:
                    cycle.chunked_encoding = False
            elif undelimited:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unchunked)
        if undelimited and not cycle.response_complete:
            _reset(cycle.transport)  # properly closed it would look whole


def _reset(transport: asyncio.Transport) -> None:
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
