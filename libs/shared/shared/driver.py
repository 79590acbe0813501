"""Connections to PostgreSQL without SQLAlchemy, for LISTEN, NOTIFY, COPY and short statements."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import make_url

from shared.clock import FIRST_DAY, FIRST_INSTANT, LAST_DAY, LAST_INSTANT

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS = 7.0
"""Limit for the answer to a statement, which the server ends after five (the roles' `statement_timeout`). Nothing else
finds out that a server keeps the connection open and does not answer."""
CLOSE_SECONDS: Final = 1.0
SERVER_SETTINGS: Final = {
    # The server frees the session, and the locks, of a machine or a network that died within a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30000",
}

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's

_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class NotLetIn(ConnectionError):
    """The server, or something on the way to it, refused a connection: an outage, for no statement of ours was at
    fault."""


async def connect_driver(  # Any: asyncpg ships no types
    url: str, *, answer_seconds: float | None = None, **settings: str
) -> Any:
    """Open an asyncpg connection to the database at this URL, with these server settings.

    A statement is given up after `answer_seconds` (else `ANSWER_SECONDS`). Raises NotLetIn: it was refused.
    """
    parsed = make_url(url)
    options = parsed.get_dialect()().create_connect_args(parsed)[1]
    try:
        driver = await getattr(asyncpg, "connect")(  # noqa: B009 - reached by name, for it has no types
            **{name: value for name, value in options.items() if not name.startswith("prepared_statement_")},
            server_settings={**SERVER_SETTINGS, **settings},
            timeout=CONNECT_SECONDS,
            command_timeout=answer_seconds or ANSWER_SECONDS,
        )
        await read_all_instants(driver)
    except _ERRORS as error:
        raise NotLetIn(str(error)) from error
    return driver


async def read_all_instants(driver: Any) -> None:  # Any: asyncpg ships no types
    """Have the driver read an instant or a day beyond Python's calendar (`infinity`, the year 12000) as its end.

    It would raise OverflowError, and nobody could read the row. Asks the server nothing.
    """
    await driver.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_encode_instant, decoder=_decode_instant
    )
    await driver.set_type_codec("date", schema="pg_catalog", format="tuple", encoder=_encode_day, decoder=_decode_day)


def _encode_instant(instant: datetime) -> tuple[int]:
    since = instant - _EPOCH  # raises TypeError for one without an offset
    return (since // timedelta(microseconds=1),)


def _decode_instant(value: tuple[int]) -> datetime:
    try:
        return max(FIRST_INSTANT, min(_EPOCH + timedelta(microseconds=value[0]), LAST_INSTANT))
    except OverflowError:
        return LAST_INSTANT if value[0] > 0 else FIRST_INSTANT


def _encode_day(day: date) -> tuple[int]:
    return (day.toordinal() - _EPOCH.toordinal(),)


def _decode_day(value: tuple[int]) -> date:
    ordinal = value[0] + _EPOCH.toordinal()
    if FIRST_DAY.toordinal() <= ordinal <= LAST_DAY.toordinal():
        return date.fromordinal(ordinal)
    return LAST_DAY if value[0] > 0 else FIRST_DAY


@asynccontextmanager
async def ended_if_broken_off(driver: Any) -> AsyncGenerator[None]:  # Any: asyncpg ships no types
    """Cut the connection where the block raises before the server has answered: a statement may still be on its way."""
    try:
        yield
    except asyncpg.PostgresError:
        raise
    except BaseException:
        driver.terminate()
        raise


async def close_driver(driver: Any) -> None:  # Any: asyncpg ships no types
    """Close a connection, within CLOSE_SECONDS also where the server does not answer."""
    with suppress(OSError, *_ERRORS):  # TimeoutError is one
        await driver.close(timeout=CLOSE_SECONDS)


class SideConnection:
    """One connection of the process for short statements that must not wait for a pool: leases, NOTIFY.

    It is opened when it is first used, and anew where it was lost.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._driver: Any = None  # Any: asyncpg ships no types
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def driver(self) -> AsyncGenerator[Any]:  # Any: asyncpg ships no types
        """Lend the connection, in autocommit, to one user at a time."""
        async with self._lock:
            if self._driver is None or self._driver.is_closed():
                self._driver = await connect_driver(self._url, application_name=self._name)
            async with ended_if_broken_off(self._driver):
                yield self._driver

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._driver is not None:
            await close_driver(self._driver)

    def terminate(self) -> None:
        """Cut the connection: whatever waits on it gets an error."""
        if self._driver is not None:
            self._driver.terminate()
