"""One kept-alive HTTP/1.1 connection to a service, and one exchange at a time on it.

Why not an HTTP client library: the bytes that the guard checked must be those that are sent. pyreqwest, the fastest of
those measured, quotes the query anew, turns Latin-1 header values into UTF-8 and adds headers of its own (seen on the
wire), and costs twice the CPU (74-94 us a request against 34-43, alternating in one run). Parsing is httptools'
(llhttp, strict).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import httptools

_READ_AHEAD: Final = 262_144  # bytes of a response held for a slow caller before the service is paused
_MOST_HEAD: Final = 262_144
"""Bytes an answer's head may have, together with all informational responses before it."""
_INFORMATIONAL: Final = range(100, 200)
_FINAL: Final = range(200, 600)


class ConnectionBroken(Exception):
    """The service closed or garbled the connection; `answered` says whether any of its answer was read."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class Connection(asyncio.Protocol):
    """A kept-alive connection: `await ask(head)`, then `read()` until it gives None; `Upstream.release` in any case."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._writable: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self.fresh = True
        self.open = False
        self._reset(head_only=False)

    def _reset(self, *, head_only: bool) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self._head_only = head_only
        self._answered = False
        self._head_bytes = 0
        self._reusable = False
        self._framed = False
        self._paused = False
        self._error: Exception | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._head: asyncio.Future[None] | None = None
        self._more: asyncio.Future[None] | None = None

    # The exchange

    def ask(self, request: bytes, *, head_only: bool) -> asyncio.Future[None]:
        """Send a request's head, and what has arrived of its body.

        The future is done when the response's head has been read; it fails with :class:`ConnectionBroken` or with
        the error that :meth:`give_up` was given.
        """
        assert self._transport is not None, "ask on a connection that was never made"
        self._reset(head_only=head_only)
        self._parser = httptools.HttpResponseParser(self)
        self._head = self._loop.create_future()
        self._transport.write(request)
        return self._head

    def write(self, data: bytes) -> None:
        """Send a piece of the request's body, which the caller of this method has framed."""
        if self._transport is not None and self.open:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the transport takes more: the service reads slower than the caller sends."""
        if self._writable is not None:
            await self._writable

    def body(self) -> bytes | None:
        """Return the whole body where all of it has arrived (the common case, without a wait), else None."""
        if not self.complete or self._error is not None:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    async def read(self) -> bytes | None:
        """Return the next piece of the body, or None at its end.

        :raises ConnectionBroken: the body ended before its announced length
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.complete:
                return None
            self._more = self._loop.create_future()
            await self._more
        data = self._chunks.popleft()
        self._held -= len(data)
        if self._held < _READ_AHEAD // 2:
            self._resume_reading()
        return data

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def give_up(self, error: Exception) -> None:
        """End the exchange with `error` (a deadline, a caller who left) and drop the connection."""
        self._fail(error)
        self.close()

    def finished(self, *, request_sent: bool) -> bool:
        """End the exchange. Returns whether the connection can serve another."""
        self._parser = None
        self.fresh = False
        reusable = self.open and request_sent and self.complete and self._reusable and self._error is None
        if reusable:  # reading may still be paused, where nobody read the body of an answer that arrived whole
            self._resume_reading()
        return reusable

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue] - uvloop's transport is no subclass
        self.open = True

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:  # no request is under way: these bytes would be taken for the next caller's answer
            self.close()
            return
        self._answered = True
        if not self.status and not self._head_fits(len(data)):
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(ConnectionBroken("the service changed protocol unasked", answered=True))
            self.close()
        except httptools.HttpParserError as error:
            self._fail(ConnectionBroken(f"the service's answer is no HTTP: {error}", answered=True))
            self.close()

    def _head_fits(self, more: int) -> bool:
        """Count the bytes of the answer's head; False, and the connection closed, where it is too long.

        Counted by arriving piece, since one line may never end; the last piece may hold some of the body.
        """
        if self._head_bytes > _MOST_HEAD:
            self._fail(ConnectionBroken("the head of the service's answer does not end", answered=True))
            self.close()
            return False
        self._head_bytes += more
        return True

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._parser is not None and not self.complete:
            if self.status and not self._framed and exc is None:
                self._finish(reusable=False)  # a body without length ends with its connection (RFC 9112 §6.3)
            else:
                self._fail(ConnectionBroken("the service closed the connection", answered=self._answered))
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # a trailer; its fields are not the response's headers
        name = name.lower()
        if name in {b"content-length", b"transfer-encoding"}:
            self._framed = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status in _INFORMATIONAL:
            self.headers.clear()
            return
        if self.complete:
            return
        if status not in _FINAL:
            self._fail(ConnectionBroken(f"the service answered with the status {status}", answered=True))
            self.close()
            return
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            # Transfer-Encoding is of this hop and not passed on, so the caller would read the coded body as plain
            # (RFC 9112 §6.1).
            self._fail(ConnectionBroken("the service's answer is in a transfer coding", answered=True))
            self.close()
            return
        self.status = status
        if self._head_only:
            self._finish(reusable=self._parser.should_keep_alive())
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self._reusable = False
            return
        self._chunks.append(body)
        self._held += len(body)
        if self._held > _READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status and not self.complete and self._parser is not None:
            self._finish(reusable=self._parser.should_keep_alive())

    def on_message_begin(self) -> None:
        if self.complete:
            self._reusable = False  # a second answer to one request

    def _finish(self, *, reusable: bool) -> None:
        self.complete = True
        self._reusable = reusable
        self._wake()

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self.complete:
            self._error = error
            if self._head is not None and not self._head.done():
                self._head.set_exception(error)
            self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
