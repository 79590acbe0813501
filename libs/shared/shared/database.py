"""PostgreSQL: one engine per purpose, one transaction per request, message or job."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID
from weakref import WeakSet

import asyncpg
from sqlalchemy import (
    Connection,
    CursorResult,
    DateTime,
    Engine,
    ExceptionContext,
    LargeBinary,
    MetaData,
    Text,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from shared import driver as drivers
from shared.clock import CLOCKS_APART, Clock, DatabaseClock
from shared.driver import CLOSE_SECONDS, CONNECT_SECONDS, SERVER_SETTINGS, NotLetIn, SideConnection
from shared.errors import NotFound
from shared.sessions import ReadOnlySession, must_only_read

log = logging.getLogger(__name__)

NAMES = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class TableBase(DeclarativeBase):
    """The base of mapped tables: subclass it once per service, with its own MetaData, and map tables on that."""

    __abstract__ = True
    type_annotation_map: ClassVar[Mapping[Any, Any]] = {  # Any: SQLAlchemy's own signature
        str: Text(),
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        dict[str, Any]: JSONB(),  # Any: JSON as it came
        list[str]: JSONB(),
    }


def new_metadata() -> MetaData:
    """Return MetaData that names constraints alike everywhere, so that a violated one is recognised by its name."""
    return MetaData(naming_convention=NAMES)


class Unknown(NotFound):
    """There is nothing by this name, or it is not the caller's to see."""

    code = "not_found"


def record_of(row: TableBase) -> dict[str, Any]:  # Any: whatever its columns hold
    """Return the values that were set on a new row, by the database's names of its columns."""
    names = _column_names(type(row))
    return {names[name]: value for name, value in vars(row).items() if not name.startswith("_")}


@cache
def _column_names(table: type[TableBase]) -> dict[str, str]:
    return {attribute.key: attribute.columns[0].name for attribute in table.__mapper__.column_attrs}


def json_columns(table: type[TableBase]) -> list[str]:
    """Return the columns this release knows of a table whose rows travel to the database as JSON, by the database's
    names.

    Raises TypeError: a column is of bytes, which JSON cannot hold.
    """
    columns = table.__table__.columns
    if any(isinstance(column.type, LargeBinary) for column in columns):
        raise TypeError(f"{table.__tablename__} has a column of bytes, which JSON cannot hold")
    return [column.name for column in columns]


Row = TypeVar("Row", bound=DeclarativeBase)


async def fetch(session: AsyncSession, table: type[Row], key: object, *, lock: bool = False) -> Row:
    """Return the row with that primary key, locked for this transaction if asked.

    The lock is `for no key update`, beside which rows that refer to it by a foreign key can be written: the plain
    `for update` would wait for all transactions that have written such a row, and under a steady stream of them for
    ever. Raises Unknown: there is no such row.
    """
    row = await session.get(table, key, with_for_update={"key_share": True} if lock else None, populate_existing=lock)
    if row is None:
        raise Unknown(f"no {table.__name__.lower()} {key}")
    return row


async def advisory_lock(session: AsyncSession, *subject: object) -> None:
    """Wait for the lock on a subject (a learner, an order), and hold it until the transaction ends.

    Without it two facts handled at once each miss the other, and neither draws the conclusion.
    """
    await _ADVISORY_LOCK.within(session, number=lock_number(*subject))


async def shared_advisory_lock(session: AsyncSession, *subject: object) -> None:
    """Wait for a subject's lock and share it: with other sharers, and not with a holder of `advisory_lock`."""
    await _SHARED_ADVISORY_LOCK.within(session, number=lock_number(*subject))


def now(session: AsyncSession) -> datetime:
    """Return the present instant by the clock of the session's Database."""
    clock: Clock = session.info["clock"]
    return clock()


def lock_number(*subject: object) -> int:
    """Return the number of a subject's advisory lock: 64 bits of its digest."""
    digest = hashlib.sha256("/".join(map(str, subject)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class CommitListener(Protocol):
    """Is notified of each commit that wrote events (`shared.messaging.outbox.OutboxNotifier`)."""

    side: "SideConnection | None"
    """The connection to send NOTIFY on, set by the Database that the listener is given to."""

    def lease(self, count: int) -> float: ...

    def hand_off(self, leased: Sequence[tuple[UUID, str, str, str, UUID | None]]) -> None: ...

    def notify(self) -> None: ...


class Database:
    """The engines of one process: `web` for requests, `messaging` for inbox, feed and jobs, and the side connection.

    They are separate so that a flood of requests cannot starve the events. Requests wait at most
    `pool_timeout_seconds` for a connection (sqlalchemy.exc.TimeoutError, answered with 503). The sizes are numbers of
    connections; `shared.process.Process.connections` adds them up for a replica.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        notifier: CommitListener,
        clock: Clock | None = None,
        pool_size: int = 3,
        messaging_pool_size: int = 2,
        pool_timeout_seconds: float = 5.0,
    ) -> None:
        self.url, self.notifier = url, notifier
        self.clock: Clock = clock or DatabaseClock()
        self.side = notifier.side = SideConnection(url, f"{service}/side")
        self.web = _engine(url, f"{service}/web", pool_size, pool_timeout_seconds)
        self.messaging = _engine(url, f"{service}/messaging", messaging_pool_size, 30.0)
        self._open: WeakSet[Any] = WeakSet()  # Any: asyncpg ships no types
        for engine in (self.web, self.messaging):
            event.listen(engine.sync_engine, "connect", self._note_open)
        info = {"clock": self.clock, "notifier": notifier}
        self.requests = async_sessionmaker(self.web, expire_on_commit=False, info=info)
        self.reads = async_sessionmaker(
            self.web.execution_options(isolation_level="AUTOCOMMIT"),
            class_=ReadOnlySession,
            expire_on_commit=False,
            autoflush=False,
            info=info,
        )
        self.messages = async_sessionmaker(self.messaging, expire_on_commit=False, info=info)

    def driver(self) -> AbstractAsyncContextManager[Any]:  # Any: asyncpg ships no types
        """Return a context with a driver's connection of the `web` engine, in autocommit."""
        return driver_of(self.web)

    async def finds(self, statement: str) -> bool:
        """Return whether the statement finds a row: in one round trip, for loops that mostly find nothing to do."""
        async with driver_of(self.messaging) as driver:
            return await driver.fetchrow(statement) is not None

    async def set_clock(self) -> None:
        """Set the clock by the database's, which decides; a clock of another kind, as tests have, is left alone."""
        clock = self.clock
        if not isinstance(clock, DatabaseClock):
            return
        was = clock.ahead
        async with driver_of(self.messaging) as driver:
            before = clock.own()
            theirs = await driver.fetchval("select clock_timestamp()")
            clock.compare(before, theirs, clock.own())
        if abs(clock.ahead - was) > CLOCKS_APART:
            log.warning(
                "this machine's clock and the database's differ; the database's decides",
                extra={"ahead_seconds": clock.ahead.total_seconds()},
            )

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Return a transaction for work outside a request: a job, a message."""
        return unit_of_work(self.messages)

    def _note_open(self, connection: DBAPIConnection, _: object) -> None:
        self._open.add(connection.driver_connection)

    async def dispose(self) -> None:
        """Close every connection; those whose server does not answer are cut."""
        closing = {
            asyncio.create_task(one) for one in (self.web.dispose(), self.messaging.dispose(), self.side.close())
        }
        _, late = await asyncio.wait(closing, timeout=2 * CLOSE_SECONDS)
        if late:
            self.terminate()
            await asyncio.wait(late)

    def terminate(self) -> None:
        """Cut all connections: whatever waits on one gets an error."""
        for connection in [*self._open]:
            connection.terminate()
        self.side.terminate()


async def takes_writes(engine: AsyncEngine) -> bool:
    """Return whether the database takes writes: it is no standby, not read only, and its tables are ours to write.

    Raises one of DATABASE_ERRORS where it does not answer, or has no such tables.
    """
    async with engine.connect() as connection:
        return await connection.scalar(_TAKES_WRITES) or False


_TAKES_WRITES = text(
    "select current_setting('transaction_read_only') = 'off' and has_table_privilege('inbox', 'insert') "
    "and has_table_privilege('outbox', 'insert')"
)


@asynccontextmanager
async def unit_of_work(sessions: Callable[[], AsyncSession]) -> AsyncGenerator[AsyncSession]:
    """Open a session for one transaction, begun at its first statement: committed at the end, rolled back on any error.

    A committed session holds no connection any more and need not be closed; AsyncSession's own context would start a
    task for it every time.
    """
    session = sessions()
    try:
        yield session
        await session.commit()
    except BaseException:
        await asyncio.shield(session.close())
        raise


@asynccontextmanager
async def driver_of(engine: AsyncEngine) -> AsyncGenerator[Any]:  # Any: asyncpg ships no types
    """Lend one of the engine's connections as the driver's own object, in autocommit."""
    pooled = await engine.raw_connection()
    try:
        yield pooled.driver_connection
    except asyncpg.PostgresError:  # the server has answered: the connection is sound
        raise
    except BaseException:
        pooled.invalidate()  # a statement that was broken off may still be on its way
        raise
    finally:
        pooled.close()


class RawStatement:
    """One SQL statement with `:names` that the driver runs itself: for those that run so often that the cost shows.

    In autocommit it costs a quarter of what a session costs, and raises what the driver raises (`is_database_down`).
    """

    def __init__(self, statement: str) -> None:
        self._names: list[str] = []
        self._statement = _NAME.sub(self._number, statement)

    def _number(self, found: re.Match[str]) -> str:
        if found[1] not in self._names:
            self._names.append(found[1])
        return f"${self._names.index(found[1]) + 1}"

    async def row(self, database: Database, **values: object) -> Any:  # Any: a record, by column name; None for none
        """Run the statement in autocommit; return its first row."""
        async with database.driver() as driver:
            return await driver.fetchrow(self._statement, *(values[name] for name in self._names))

    async def rows(self, database: Database, **values: object) -> list[Any]:  # Any: records, by column name
        """Run the statement in autocommit; return its rows."""
        async with database.driver() as driver:
            return await self.on(driver, **values)

    async def on(self, driver: Any, **values: object) -> list[Any]:  # Any: asyncpg ships no types
        """Run the statement on a driver's connection (`driver_of`); return its rows."""
        return await driver.fetch(self._statement, *(values[name] for name in self._names))

    async def within(self, session: AsyncSession, **values: object) -> CursorResult[Any]:  # Any: rows, by column name
        """Run the statement in the session's transaction, at half of what one costs that SQLAlchemy composes.

        It does not see objects that were added and not flushed, and raises what the session raises.
        """
        if isinstance(session, ReadOnlySession):
            must_only_read(self._statement)
        parameters = tuple(values[name] for name in self._names)
        return await session.run_sync(lambda inner: inner.connection().exec_driver_sql(self._statement, parameters))


_NAME = re.compile(r"(?<!:):([a-z_]+)")  # not the `::type` of a cast

_ADVISORY_LOCK = RawStatement("select pg_advisory_xact_lock(:number)")
_SHARED_ADVISORY_LOCK = RawStatement("select pg_advisory_xact_lock_shared(:number)")


class CommitRefused(RuntimeError):
    """Our fault: a statement failed, its error was swallowed, and the transaction was to be committed all the same.

    PostgreSQL would answer such a COMMIT with a silent rollback, and lost work would count as done.
    """


def _engine(url: str, name: str, size: int, timeout: float) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,  # connections beyond the pool's size would be opened and closed for every use
        pool_use_lifo=True,  # the connection used last has its statements prepared
        pool_timeout=timeout,
        hide_parameters=True,  # an error's words go to the log, and parameters are people's data
        connect_args={
            "server_settings": {"application_name": name, "timezone": "UTC", **SERVER_SETTINGS},
            "timeout": CONNECT_SECONDS,
            "command_timeout": drivers.ANSWER_SECONDS,
        },
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "connect", _read_all_instants)
    event.listen(engine.sync_engine, "handle_error", _give_up)
    event.listen(engine.sync_engine, "checkout", _refuse_dead)
    _refuse_failed_commits(engine.sync_engine)
    return engine


def _connect(dialect: Dialect, _: object, words: list[Any], options: dict[str, Any]) -> DBAPIConnection:  # Any: its own
    try:
        return dialect.connect(*words, **options)
    except (
        AsyncAdapt_asyncpg_dbapi.Error,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise NotLetIn(str(error)) from error


def _read_all_instants(connection: DBAPIConnection, _: object) -> None:
    connection.run_async(drivers.read_all_instants)


def _refuse_dead(connection: DBAPIConnection, *_: object) -> None:
    """Have the pool replace a connection that is closed, as all are after a restart of the database.

    SQLAlchemy's own `pool_pre_ping` asks the server, three round trips before every first statement.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _give_up(context: ExceptionContext) -> None:
    """Have the pool drop a connection that did not answer in time, and all opened before it, which may be like it.

    It drops a connection, too, whose answer the driver could not read (IndexError, UnicodeDecodeError: bytes out of
    step), and that one alone.
    """
    error = context.original_exception
    if isinstance(error, TimeoutError):
        context.is_disconnect = True
    elif not isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False


def _refuse_failed_commits(engine: Engine) -> None:
    """Have COMMIT raise CommitRefused where a statement failed and neither the transaction nor its savepoint was rolled
    back since."""
    failed: WeakSet[Connection] = WeakSet()

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        if context.connection is not None:
            failed.add(context.connection)

    @event.listens_for(engine, "begin")
    @event.listens_for(engine, "rollback")
    def forget(connection: Connection) -> None:
        failed.discard(connection)

    @event.listens_for(engine, "rollback_savepoint")
    def forgive(connection: Connection, *_: object) -> None:
        failed.discard(connection)

    @event.listens_for(engine, "commit")
    def refuse(connection: Connection) -> None:
        if connection in failed:
            connection.connection.rollback()  # SQLAlchemy counts a transaction whose commit was begun as ended
            raise CommitRefused("a statement of this transaction failed and its error was swallowed")
