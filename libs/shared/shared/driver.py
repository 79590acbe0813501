"""Connections to PostgreSQL without SQLAlchemy, for what belongs to a session of the server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

_REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class NotLetIn(ConnectionError):
    """The server, or what keeps us from it, refused a connection, for whatever reason: an outage, for no statement of
    ours was at fault."""


async def connect_driver(url: str, **settings: str) -> Any:  # Any: asyncpg ships no types
    """A bare asyncpg connection to the same database, by all that its address says, with these settings of the
    server's: for LISTEN, NOTIFY and COPY."""
    parsed = make_url(url)
    options = parsed.get_dialect()().create_connect_args(parsed)[1]
    try:
        return await getattr(asyncpg, "connect")(  # noqa: B009 - reached by name, for it has no types
            **{name: value for name, value in options.items() if not name.startswith("prepared_statement_")},
            server_settings=settings,
            timeout=5,
        )
    except _REFUSALS as error:
        raise NotLetIn(str(error)) from error


class SideConnection:
    """One connection of the process, for short statements that need one session of the server, whoever asks (advisory
    locks), or no pool's patience (NOTIFY). Opened when it is first used, and anew where it was lost."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._driver: Any = None  # Any: asyncpg ships no types
        self._turn = asyncio.Lock()
        self._held: set[int] = set()
        """Numbers of the advisory locks that this process holds on it."""

    @asynccontextmanager
    async def driver(self) -> AsyncGenerator[Any]:  # Any: asyncpg ships no types
        """In autocommit, for one at a time."""
        async with self._turn:
            if self._driver is None or self._driver.is_closed():
                self._driver = await connect_driver(self._url, application_name=self._name)
            try:
                yield self._driver
            except asyncpg.PostgresError:  # the server has answered, and listens
                raise
            except BaseException:
                self._driver.terminate()  # a statement that was broken off may still be on its way
                raise

    @asynccontextmanager
    async def hold(self, lock: int) -> AsyncGenerator[bool]:
        """Hold an advisory lock meanwhile; False where another process, or this one, has it."""
        if lock in self._held:  # for its own session the server would count it twice
            yield False
            return
        self._held.add(lock)
        try:
            async with self.driver() as driver:
                taken = await driver.fetchval("select pg_try_advisory_lock($1)", lock)
            if not taken:
                yield False
                return
            try:
                yield True
            finally:
                async with self.driver() as driver:
                    await driver.execute("select pg_advisory_unlock($1)", lock)
        finally:
            self._held.discard(lock)

    async def close(self) -> None:
        if self._driver is not None:
            await self._driver.close(timeout=1)
