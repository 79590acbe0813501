"""Sessions: one that cannot write, and the four functions by which a command ends a transaction in its middle.

A request, a message and a job are one transaction each, committed by whoever opened the session. A test over the syntax
tree (`tests/test_transactions.py`) finds every other `commit()`, `rollback()` and `begin()`.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy import TextClause, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session

from shared.outages import is_contention

Result = TypeVar("Result")

CONTENDED_FOR: Final = timedelta(seconds=15)
"""How long what was contended is tried again, each time for as long as the server waits for a lock."""
_PAUSE: Final = timedelta(milliseconds=100)


class WriteRefused(RuntimeError):
    """Our fault: something was written through a read session, where every statement is a transaction of its own."""


class TransactionOpen(RuntimeError):
    """Our fault: a command used its session while it waited for an outside system."""


class _ReadOnlySyncSession(Session):
    """The synchronous session within a ReadOnlySession."""


class ReadOnlySession(AsyncSession):
    """A session in autocommit that only reads: it raises WriteRefused before a statement that writes is sent.

    The server could refuse it too, but only in a transaction or on connections of their own: two round trips for every
    read, or half as many connections again.
    """

    sync_session_class: type[Session] = _ReadOnlySyncSession


@event.listens_for(_ReadOnlySyncSession, "before_flush")
def _refuse_changes(*_: object) -> None:
    raise WriteRefused("a row was added, changed or deleted in a read session")


@event.listens_for(_ReadOnlySyncSession, "do_orm_execute")
def _refuse_statement(state: ORMExecuteState) -> None:
    statement = state.statement
    if isinstance(statement, TextClause):
        must_only_read(statement.text)
    elif not state.is_select:
        raise WriteRefused(f"a read session was given: {type(statement).__name__}")


_WRITES: Final = re.compile(r"\b(insert\s+into|delete\s+from|merge\s+into|truncate|update\s+\w+)\b", re.IGNORECASE)


@lru_cache(maxsize=512)
def must_only_read(statement: str) -> None:
    """Raise WriteRefused for a statement that writes."""
    if _WRITES.search(statement):
        raise WriteRefused(f"a read session was given: {statement.strip()[:80]}")


@asynccontextmanager
async def outside_transaction(session: AsyncSession) -> AsyncGenerator[None]:
    """Commit what the command has done, and ask an outside system in the block; after it a new transaction begins.

    In the block no connection and no lock is held. Raises TransactionOpen: the session was used in it.

    - What was committed stays, whatever comes after. It must make sense by itself: an attempt on record, or nothing.
    - What was read may have changed: fetch it again, with its lock, and check again what must hold.
    - The lock on the request's Idempotency-Key is given up with the first transaction, and no reply is stored yet. A
      repeat that comes meanwhile is handled beside this one: what was committed, and the locks on it, must keep both
      from having the effect twice. Of two that come to a reply the first stores it; the other is rolled back and
      answered with IdempotencyKeyRunning, so that asked again it gets the stored one.
    """
    await session.commit()
    yield
    if session.in_transaction():
        raise TransactionOpen("a command used its session while it waited for somebody outside")


async def keep_despite_error(session: AsyncSession) -> None:
    """Commit what the command has done, which the error it is about to raise would roll back. Locks end with it."""
    await session.commit()


async def despite_contention(session: AsyncSession, record: Callable[[], Awaitable[Result]]) -> Result:
    """Return what `record` returns, which is called again in a new transaction while others hold what it waits for.

    It is for what follows `outside_transaction` where an error would cost more than a wait: all bytes of a file have
    come. Between two calls no connection and no lock is held. After CONTENDED_FOR the database's error is raised, as
    any other at once. Raises TransactionOpen: the session has been used since it last committed.
    """
    if session.in_transaction():
        raise TransactionOpen("what a command did before would be rolled back with what it calls again")
    ends_at = monotonic() + CONTENDED_FOR.total_seconds()
    while True:
        try:
            return await record()
        except DBAPIError as error:
            if not is_contention(error) or monotonic() > ends_at:
                raise
        await session.rollback()
        await asyncio.sleep(_PAUSE.total_seconds())


@asynccontextmanager
async def note_failure(session: AsyncSession) -> AsyncGenerator[None]:
    """Roll back what the command has done since it last committed, and commit what the block writes instead.

    It is for an `except` that raises its error again, where a row committed before has to learn how it ended.
    """
    await session.rollback()
    yield
    await session.commit()
