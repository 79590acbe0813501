"""One exchange with a service: the request is sent, its body pumped, the answer's head awaited."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.edge.connection import Connection, ConnectionBroken
from gateway.edge.errors import BodyTooLarge, DeadlineExceeded, RequestTimeout, ServiceFailed
from gateway.edge.upstream import Upstream

Message = MutableMapping[str, Any]  # ASGI's own type
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CHUNK_END: Final = b"0\r\n\r\n"


class CallerLeft(Exception):
    """The caller closed its connection, so nobody waits for the answer any more."""


@dataclass(slots=True)
class Request:
    """A request to a service: `head` is its complete head as bytes; `deadline` an instant of the monotonic clock."""

    method: str
    head: bytes
    length: int | None
    chunked: bool
    max_body: int
    deadline: float
    repeatable: Callable[[], bool]
    """Whether, sent twice, it has the effect and the answer of one; called only where the service broke off."""


class Exchange:
    """An exchange with a service: `await begin()` gives the connection; `end()` in any case."""

    def __init__(self, upstream: Upstream, request: Request, receive: Receive) -> None:
        self._upstream = upstream
        self._request = request
        self._receive = receive
        self.deadline = request.deadline
        self._connection: Connection | None = None
        self._pump: asyncio.Task[None] | None = None
        self._sent = False

    async def begin(self) -> Connection:
        """Send the request and wait for the answer's head. Returns the connection on which the body can be read.

        :raises DomainError: 408, 413, 502, 503 or 504
        :raises CallerLeft: the caller hung up before its body was complete
        """
        request = self._request
        if request.length is not None and request.length > request.max_body:
            raise self._too_large()
        first: Message | None = None
        if request.chunked or request.length:
            first = await self._receive_in_time()
            if first["type"] == "http.disconnect":
                raise CallerLeft
        self._upstream.count_request()
        retried = False
        while True:
            connection = None if retried else self._upstream.idle()
            if connection is None:
                connection = await self._upstream.acquire(fresh=retried, deadline=self.deadline)
            self._connection = connection
            fresh = connection.fresh
            self._upstream.deadlines.add(self)
            try:
                if first is None:
                    self._sent = True
                    await connection.ask(request.head, head_only=request.method == "HEAD")
                else:
                    await self._ask(connection, first)
            except ConnectionBroken as error:
                await self.stop_pump()
                self.end()
                final = fresh or retried or error.answered or self._pump is not None
                if not final and request.repeatable() and self._upstream.may_retry():
                    retried = True
                    continue
                raise ServiceFailed(
                    f"{self._upstream.name} broke off; whether the request took effect is unknown"
                ) from error
            else:
                return connection
            finally:
                self._upstream.deadlines.remove(self)

    @property
    def pumping(self) -> bool:
        """Whether the caller's body is still being sent."""
        return self._pump is not None and not self._pump.done()

    async def watch(self) -> None:
        """Wait until the caller leaves, and then end the exchange: an endless answer would never end otherwise.

        While the caller still sends the request's body, only the pump may receive, so it is waited for first.
        """
        if self._pump is not None:
            await asyncio.wait([self._pump])
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._connection is not None:
            self._connection.give_up(CallerLeft())

    async def stop_pump(self) -> None:
        """Stop sending the caller's body: nothing of it may be written once the connection serves another request."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def end(self) -> None:
        """Give the connection back, or drop it where a message was not complete."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._upstream.release(connection, request_sent=self._sent)

    async def _ask(self, connection: Connection, first: Message) -> None:
        request = self._request
        head_only = request.method == "HEAD"
        self._sent = True
        if not first.get("more_body", False):
            body: bytes = first.get("body", b"")
            self._check_size(len(body))
            framed = self._framed(body) + _CHUNK_END if request.chunked else body
            await connection.ask(request.head + framed, head_only=head_only)
            return
        self._sent = False
        asked = connection.ask(request.head, head_only=head_only)
        self._pump = asyncio.create_task(self._pump_body(connection, first))
        await asked

    async def _pump_body(self, connection: Connection, message: Message) -> None:
        request = self._request
        total = 0
        try:
            while True:
                body: bytes = message.get("body", b"")
                total += len(body)
                self._check_size(total)
                if body:
                    connection.write(self._framed(body) if request.chunked else body)
                if not message.get("more_body", False):
                    break
                await connection.drain()
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeft  # noqa: TRY301 - ends the exchange as the other failures do
        except (BodyTooLarge, CallerLeft) as error:
            connection.give_up(error)
        else:
            if request.chunked:
                connection.write(_CHUNK_END)
            self._sent = True

    async def _receive_in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self._request.deadline):
                return await self._receive()
        except TimeoutError as error:
            raise self._too_slow() from error

    def expire(self) -> None:
        """End the exchange at its deadline: 504, or 408 while the caller's own request is still arriving."""
        if self._connection is not None:
            late = DeadlineExceeded(f"{self._upstream.name} did not answer in time") if self._sent else self._too_slow()
            self._connection.give_up(late)

    def _check_size(self, size: int) -> None:
        if size > self._request.max_body:
            raise self._too_large()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"at most {self._request.max_body} bytes are taken here", headers={"connection": "close"})

    def _too_slow(self) -> RequestTimeout:
        return RequestTimeout("the request did not arrive in time", headers={"connection": "close"})

    @staticmethod
    def _framed(body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
