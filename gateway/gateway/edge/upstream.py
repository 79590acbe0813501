"""The connection pool of one service: bounded, its connections kept alive for less time than the service keeps them."""

import asyncio
import contextlib
import math
import time
from collections import deque
from typing import Final, Protocol
from urllib.parse import urlsplit

from gateway.edge.connection import Connection
from gateway.edge.errors import ServiceBusy, ServiceUnreachable

_TICK: Final = 0.1  # seconds


class Expiring(Protocol):
    """A thing with a time limit: `deadline` is an instant of the monotonic clock, after which `expire` is called."""

    deadline: float

    def expire(self) -> None: ...


class Deadlines:
    """The running time limits, checked ten times a second. A timer for each request would cost more than all else."""

    def __init__(self) -> None:
        self._running: set[Expiring] = set()
        self._looking: asyncio.TimerHandle | None = None

    def add(self, one: Expiring) -> None:
        self._running.add(one)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_TICK, self._look)

    def remove(self, one: Expiring) -> None:
        self._running.discard(one)

    def _look(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._running if one.deadline <= now]:
            self._running.discard(one)
            one.expire()
        self._looking = asyncio.get_running_loop().call_later(_TICK, self._look) if self._running else None


class Upstream:
    """A service's address and the pool of connections to it.

    `idle_seconds` must stay below the service's own keep-alive (uvicorn: 5 s), or a request may meet a connection that
    is just being closed.

    :raises ValueError: `url` is not http://host[:port]
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        max_connections: int = 256,
        connect_seconds: float = 1.0,
        idle_seconds: float = 4.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None or parts.path not in {"", "/"}:
            raise ValueError(f"{name}: expected http://host[:port], got {url!r}")
        self.name = name
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.base = self.url.encode()
        self.authority = parts.netloc.encode()
        self._max = max_connections
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._retries = 10.0
        self.deadlines = Deadlines()

    def idle(self) -> Connection | None:
        """Return a kept-alive connection with no exchange on it, or None."""
        oldest = time.monotonic() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def acquire(self, *, fresh: bool = False, deadline: float = math.inf) -> Connection:
        """Return a connection that is free, a new one where `fresh`. Who asked first is served first.

        :raises ServiceUnreachable: 503, none could be opened
        :raises ServiceBusy: 503, all are in use for longer than a connect may take, or until the deadline
        """
        if not self._waiting:
            if not fresh and (kept := self.idle()) is not None:
                return kept
            if self._idle and not self._has_room():
                self._drop(self._idle.pop(0))
            if self._has_room():
                self._opening += 1
                return await self._open(deadline)
        kept = await self._wait_for_turn(deadline)
        if kept is not None:
            if kept.open and not fresh:
                return kept
            self._drop(kept)
            self._opening += 1
        return await self._open(deadline)

    def release(self, connection: Connection, *, request_sent: bool) -> None:
        """Give a connection back; it is kept alive where request and response were both complete."""
        if connection.finished(request_sent=request_sent):
            self._hand_on(connection)
        else:
            connection.close()

    def may_retry(self) -> bool:
        """Spend one retry; False where none is left.

        Retries are at most a tenth of the requests, with a burst of ten: a failing service does not get twice the load.
        """
        if self._retries < 1:
            return False
        self._retries -= 1
        return True

    def count_request(self) -> None:
        if self._retries < 10:  # noqa: PLR2004 - the burst
            self._retries += 0.1

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()
        self._idle.clear()

    async def _open(self, deadline: float) -> Connection:
        """Open a connection, which the caller has counted in `_opening`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(time.monotonic() + self._connect_seconds, deadline)):
                _, connection = await loop.create_connection(lambda: Connection(loop, self._lost), self.host, self.port)
        except OSError as error:  # TimeoutError is one
            raise ServiceUnreachable(f"{self.name} cannot be reached", headers={"retry-after": "1"}) from error
        else:
            if connection.open:
                self._connections.add(connection)
            return connection
        finally:
            self._opening -= 1
            self._let_in()

    async def _wait_for_turn(self, deadline: float) -> Connection | None:
        """Return a connection given back, or None where a new one may be opened, which is counted in `_opening`.

        :raises ServiceBusy: 503
        """
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(min(time.monotonic() + self._connect_seconds, deadline)):
                return await turn
        except BaseException as error:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            elif (kept := turn.result()) is not None:  # given back in the very moment of the timeout: for the next
                self._hand_on(kept)
            else:
                self._opening -= 1
                self._let_in()
            if isinstance(error, TimeoutError):
                raise ServiceBusy(f"{self.name} is busy", headers={"retry-after": "1"}) from error
            raise

    def _hand_on(self, connection: Connection) -> None:
        turn = self._next()
        if turn is not None:
            turn.set_result(connection)
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)

    def _has_room(self) -> bool:
        return len(self._connections) + self._opening < self._max

    def _next(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _let_in(self) -> None:
        while self._has_room() and (turn := self._next()) is not None:
            self._opening += 1
            turn.set_result(None)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._let_in()
