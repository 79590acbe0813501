"""uvicorn's httptools protocol, hardened.

It adds what uvicorn lacks: a bound on a request's head in bytes and in time and on how long a caller may leave an
answer unread, the body of a request that offers another protocol, answers to callers who have closed their sending side
or are still sending, and answers without length for HTTP/1.0.

Without the bounds one socket may send headers for ever, and two hundred half-open ones wait for ever (measured).
"""

import asyncio
import socket
import struct
import time
from typing import Any, Final, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.edge import responses
from gateway.edge.cors import ANY
from gateway.edge.errors import HeadersTooLarge, MalformedRequest, RequestTimeout, UrlTooLong
from shared.errors import DomainError
from shared.telemetry import accept_request_id

HEAD_SECONDS: Final = 10.0
HEAD_BYTES: Final = 32_768
UNREAD_SECONDS: Final = 60.0
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 64_000_000
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # a lingering time of none: what is closed is reset
_PIECE: Final = 16_384  # bytes the parser is fed at a time; a head that begins within one is counted from the next


class GuardedProtocol(HttpToolsProtocol):
    """The server's side of one connection.

    It is closed after any refusal made here: what follows on it cannot be trusted to be a request.
    """

    head_seconds: float = HEAD_SECONDS
    head_bytes: int = HEAD_BYTES
    unread_seconds: float = UNREAD_SECONDS
    linger_seconds: float = LINGER_SECONDS
    linger_bytes: int = LINGER_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own signature, passed through
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_read = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._last_asked = False
        """Set once no further request is read from this connection."""
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        cycle = self._answering
        if cycle is not None and cycle is not self.cycle:  # of pipelined requests uvicorn notifies the last alone
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] - asyncio's own type
        """Answer what was asked before closing: a caller that closed its sending side still reads (a half-close)."""
        self._stop_timer()
        cycle = self.cycle
        if self._in_head or not cycle or cycle.response_complete or cycle.more_body:
            return False
        self._answer_and_close()
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        self._stop_unread_timer()
        super().resume_writing()

    def close_after_answer(self) -> None:
        """Close once the caller, who is still sending, has read the answer (RFC 9112 §9.6).

        Closed at once, the connection would be reset by what still comes, and the answer be lost with it.
        """
        if self._linger_timer is not None or self.transport.is_closing():
            return
        self._last_asked = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._linger_timer = self.loop.call_later(self.linger_seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        if self._linger_timer is not None:
            self._lingered += len(data)
            if self._lingered > self.linger_bytes:
                self.transport.close()
            return
        if len(data) <= _PIECE:
            self._feed(data)
            return
        for at in range(0, len(data), _PIECE):
            self._feed(data[at : at + _PIECE])

    def _feed(self, data: bytes) -> None:
        if self._last_asked or self.transport.is_closing():
            return
        in_head = self._in_head
        self._parse(data)
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

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as offer:
                    self._decline_upgrade()
                    data = data[offer.args[0] :]
                else:
                    return
        except httptools.HttpParserError:
            self._refuse(MalformedRequest("the request is not valid HTTP/1.1"))

    def _decline_upgrade(self) -> None:
        """Ignore an offer to change protocol, as RFC 9110 §7.8 allows: what follows is still HTTP/1.1.

        llhttp takes the offer for accepted and the message for ended with its head. So another parser goes on, which is
        fed a head that frames the body as the real one does.
        """
        framing = [
            b"%b: %b\r\n" % (name, value)
            for name, value in self.scope["headers"]
            if name in {b"content-length", b"transfer-encoding"}
        ]
        self.parser = httptools.HttpRequestParser(_AfterHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

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

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # Any: uvicorn's spelling of ASGI
        self._answering = cycle
        cycle.transport = cast("asyncio.Transport", _Closing(self, cycle))
        if cycle.scope["http_version"] == "1.0":
            app = _Undelimited(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(RequestTimeout("the request's head did not arrive in time"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _await_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(self.unread_seconds, self._look_for_reading, left)

    def _look_for_reading(self, left_before: int) -> None:
        """Cut off a caller that has read nothing for `unread_seconds`: its answer holds a connection to a service."""
        if self.transport.get_write_buffer_size() < left_before:
            self._await_reading()
        else:
            self._unread_timer = None
            self.transport.abort()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_and_close(self) -> None:
        """Answer the requests that have arrived whole, then close the connection."""
        self._last_asked = True
        self.cycle.keep_alive = False

    def _refuse(self, error: DomainError) -> None:
        self._stop_timer()
        next_one, self._in_head = self._in_head, False
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if next_one or not cycle.more_body:  # the requests before the bad one are sound: answer them first
                self._answer_and_close()
                return
            if cycle.response_started or self.pipeline:
                # An answer is being written or still to come: another in its midst would be read as part of it.
                self.transport.abort()
                return
            cycle.disconnected = True  # for the application this request's caller has left
            cycle.message_event.set()
        request_id = accept_request_id("")
        status, headers, body = responses.problem(error, request_id)
        headers += responses.marks(time.time(), request_id)
        lines = [b"%b: %b\r\n" % header for header in (*headers, *ANY, (b"connection", b"close"))]
        self.transport.write(STATUS_LINE[status] + b"".join(lines) + b"\r\n" + body)
        self.close_after_answer()


class _Closing:
    """A connection's transport whose `close` lingers where a request was answered before all of it had arrived."""

    def __init__(self, protocol: GuardedProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol, self._cycle = protocol, cycle

    def __getattr__(self, name: str) -> Any:  # Any: whatever the transport has
        return getattr(self._protocol.transport, name)

    def close(self) -> None:
        if self._cycle.response_complete and self._cycle.more_body:
            self._protocol.close_after_answer()
        else:
            self._protocol.transport.close()


class _AfterHead:
    """The callbacks of a parser whose first head the protocol has seen already, so it is not reported again."""

    def __init__(self, protocol: GuardedProtocol) -> None:
        self._protocol = protocol
        self._in_first_head = True
        self.on_body, self.on_message_complete = protocol.on_body, protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._in_first_head:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._in_first_head:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_first_head:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._in_first_head:
            self._in_first_head = False
        else:
            self._protocol.on_headers_complete()


class _Undelimited:
    """The application for an HTTP/1.0 caller, who knows no chunks (RFC 9112 §6.1).

    A body without a length ends with its connection.
    """

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
            _reset(cycle.transport)  # closed properly, the truncated body would look whole


def _reset(transport: asyncio.Transport) -> None:
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
