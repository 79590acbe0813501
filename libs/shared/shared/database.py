"""PostgreSQL: one engine per purpose, one transaction per request, message or job."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
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

from shared.clock import CLOCKS_APART, Clock, DatabaseClock
from shared.driver import NotLetIn, SideConnection
from shared.errors import NotFound

log = logging.getLogger(__name__)

NAMES = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class TableBase(DeclarativeBase):
    """Subclass once per service (`class Base(TableBase)` with its own MetaData), then map tables on that."""

    __abstract__ = True
    type_annotation_map: ClassVar[Mapping[Any, Any]] = {  # Any: SQLAlchemy's own signature
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        dict[str, Any]: JSONB(),  # Any: JSON as it came
        list[str]: JSONB(),
    }


def new_metadata() -> MetaData:
    """Constraint names are part of the schema: named alike everywhere, so that a refusal can be told by its name."""
    return MetaData(naming_convention=NAMES)


class Unknown(NotFound):
    """There is nothing by this name, or it is not the caller's to see."""

    code = "not_found"


def record_of(row: TableBase) -> dict[str, Any]:  # Any: whatever its columns hold
    """What was set of a new row, by column."""
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}


def json_columns(table: type[TableBase]) -> list[str]:
    """The columns this release knows, of a table whose rows travel to the database as JSON; raises TypeError."""
    columns = table.__table__.columns
    if any(isinstance(column.type, LargeBinary) for column in columns):
        raise TypeError(f"{table.__tablename__} has a column of bytes, which JSON cannot hold")
    return list(columns.keys())


Row = TypeVar("Row", bound=DeclarativeBase)


async def fetch(session: AsyncSession, table: type[Row], key: object, *, lock: bool = False) -> Row:
    """The row with that primary key, locked for this transaction if asked; raises Unknown."""
    row = await session.get(table, key, with_for_update=True if lock else None, populate_existing=lock)
    if row is None:
        raise Unknown(f"no {table.__name__.lower()} {key}")
    return row


async def take_turns(session: AsyncSession, *subject: object) -> None:
    """Wait for our turn on a subject (a learner, an order); held until the transaction ends.

    Without it two facts handled at once each miss the other and neither draws the conclusion.
    """
    await _TURN.within(session, number=lock_number(*subject))


async def share_turns(session: AsyncSession, *subject: object) -> None:
    """As `take_turns`, beside all others that share it: they wait for who takes its turn alone, and it for them."""
    await _SHARED_TURN.within(session, number=lock_number(*subject))


def now(session: AsyncSession) -> datetime:
    """The instant, from the clock this process was given."""
    clock: Clock = session.info["clock"]
    return clock()


def lock_number(*subject: object) -> int:
    digest = hashlib.sha256("/".join(map(str, subject)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class Told(Protocol):
    """Is told of the events that are committed (`shared.messaging.outbox.Wakeup`)."""

    side: "SideConnection | None"
    """Set by the Database it is given to."""

    def lease(self, count: int) -> float: ...

    def hand(self, leased: Sequence[tuple[UUID, str, str, str]]) -> None: ...

    def poke(self) -> None: ...


class Database:
    """The engines of one process: `web` for requests, `messaging` for inbox, feed and jobs, and a connection beside.

    They are separate so that a flood of requests cannot starve the events. Requests wait at most
    `pool_timeout_seconds` for a connection (sqlalchemy.exc.TimeoutError, answered with 503). The sizes are numbers of
    connections; what they add up to for a replica says `shared.service.Process.connections`.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        wakeup: Told,
        clock: Clock | None = None,
        pool_size: int = 3,
        messaging_pool_size: int = 2,
        pool_timeout_seconds: float = 5.0,
    ) -> None:
        self.url, self.wakeup = url, wakeup
        self.clock: Clock = clock or DatabaseClock()
        self.side = wakeup.side = SideConnection(url, f"{service}/side")
        self.web = _engine(url, f"{service}/web", pool_size, pool_timeout_seconds)
        self.messaging = _engine(url, f"{service}/messaging", messaging_pool_size, 30.0)
        info = {"clock": self.clock, "wakeup": wakeup}
        self.requests = async_sessionmaker(self.web, expire_on_commit=False, info=info)
        self.reads = async_sessionmaker(
            self.web.execution_options(isolation_level="AUTOCOMMIT"),
            expire_on_commit=False,
            autoflush=False,
            info=info,
        )
        self.messages = async_sessionmaker(self.messaging, expire_on_commit=False, info=info)

    def driver(self) -> AbstractAsyncContextManager[Any]:  # Any: asyncpg ships no types
        """A connection of the `web` engine as the driver has it, in autocommit."""
        return driver_of(self.web)

    async def finds(self, statement: str) -> bool:
        """Whether the statement finds a row: one round trip, for loops that mostly find nothing to do."""
        async with driver_of(self.messaging) as driver:
            return await driver.fetchrow(statement) is not None

    async def set_clock(self) -> None:
        """Compare this process's clock with the database's, which decides; one that a test brings is left alone."""
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
        """One unit of work outside a request (a job, a message)."""
        return unit_of_work(self.messages)

    async def dispose(self) -> None:
        await self.web.dispose()
        await self.messaging.dispose()
        await self.side.close()


async def takes_writes(engine: AsyncEngine) -> bool:
    """Whether the database, which answers, lets us do more than read: it is no standby, nobody has made it read only,
    and its tables are ours to write. Raises what an empty one says."""
    async with engine.connect() as connection:
        return await connection.scalar(_TAKES_WRITES) or False


_TAKES_WRITES = text(
    "select current_setting('transaction_read_only') = 'off' and has_table_privilege('inbox', 'insert') "
    "and has_table_privilege('outbox', 'insert')"
)


@asynccontextmanager
async def unit_of_work(sessions: async_sessionmaker[AsyncSession]) -> AsyncGenerator[AsyncSession]:
    """One transaction, begun at its first statement: committed at the end, rolled back on any error.

    What is committed holds no connection any more and need not be closed; AsyncSession's own context would start a
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
    """One of the engine's connections as the driver has it, in autocommit."""
    pooled = await engine.raw_connection()
    try:
        yield pooled.driver_connection
    except asyncpg.PostgresError:  # the server has answered, and listens
        raise
    except BaseException:
        pooled.invalidate()  # a statement that was broken off may still be on its way
        raise
    finally:
        pooled.close()


class HotStatement:
    """One statement with `:names`, in the driver's own words: for what is asked so often that it tells.

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
        async with database.driver() as driver:
            return await driver.fetchrow(self._statement, *(values[name] for name in self._names))

    async def rows(self, database: Database, **values: object) -> list[Any]:  # Any: records, by column name
        async with database.driver() as driver:
            return await self.on(driver, **values)

    async def on(self, driver: Any, **values: object) -> list[Any]:  # Any: asyncpg ships no types
        return await driver.fetch(self._statement, *(values[name] for name in self._names))

    async def within(self, session: AsyncSession, **values: object) -> CursorResult[Any]:  # Any: rows, by column name
        """In the session's transaction, at half of what a statement costs that SQLAlchemy puts together; raises what
        the session raises. Of objects that were added and not flushed it knows nothing."""
        parameters = tuple(values[name] for name in self._names)
        return await session.run_sync(lambda inner: inner.connection().exec_driver_sql(self._statement, parameters))


_NAME = re.compile(r"(?<!:):([a-z_]+)")  # not the `::type` of a cast

_TURN = HotStatement("select pg_advisory_xact_lock(:number)")
_SHARED_TURN = HotStatement("select pg_advisory_xact_lock_shared(:number)")


class CommitRefused(RuntimeError):
    """Our fault: a statement failed, its error was swallowed, and the transaction was to be committed all the same.

    PostgreSQL would answer such a COMMIT with a silent rollback, and what is lost would count as done.
    """


def _engine(url: str, name: str, size: int, timeout: float) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,  # what overflows is opened and closed for every use
        pool_use_lifo=True,  # the connection used last has its statements prepared
        pool_timeout=timeout,
        hide_parameters=True,  # an error's words go to the log, and parameters are people's data
        connect_args={"server_settings": {"application_name": name, "timezone": "UTC"}, "timeout": 5},
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
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


def _refuse_dead(connection: DBAPIConnection, *_: object) -> None:
    """After a database restart a pooled connection is dead, and knows it: the pool then opens another one.

    SQLAlchemy's own `pool_pre_ping` asks the server, three round trips before every first statement.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _refuse_failed_commits(engine: Engine) -> None:
    """A failed statement leaves the transaction fit for nothing but a rollback, its own or its savepoint's."""
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
            connection.connection.rollback()  # SQLAlchemy takes a transaction for ended whose commit was begun
            raise CommitRefused("a statement of this transaction failed and its error was swallowed")
