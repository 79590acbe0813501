"""What an error of the database means: it is away, others are at the same rows, or a statement of ours is wrong.

By SQLSTATE (PostgreSQL's appendix A). A request that an outage meets is answered with 503, for the same may work later;
one that is our fault, with 500. A loop goes on whatever it was.
"""

import asyncio
import logging
from typing import Final

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import telemetry

DATABASE_ERRORS: Final = (
    OSError,  # TimeoutError is one
    PoolTimeout,
    DBAPIError,
    AsyncAdapt_asyncpg_dbapi.Error,  # where the pool connects for the driver alone
    asyncpg.InterfaceError,
    asyncpg.PostgresError,
    asyncpg.InternalClientError,  # the server has said that it ends, and has not cut the connection yet
)
"""All that the way to the database may raise."""
_ROLLED_BACK = "40"
_AWAY: Final = {
    "08",  # connection exception
    "28",  # invalid authorization
    _ROLLED_BACK,  # serialization failure, deadlock
    "53",  # insufficient resources
    "57",  # operator intervention
    "58",  # system error
    "F0",  # configuration file error
    "XX",  # internal error, corrupted data
}
"""Classes."""
_STATEMENT_TIMEOUT = "57014"
_LOCK_TIMEOUT = "55P03"
_NOT_NOW: Final = {
    _LOCK_TIMEOUT,
    "25006",  # it only reads: a standby, or its disk is guarded
    "25P03",  # this transaction rested for too long
    "3D000",  # there is no such database: it is being restored
    "55000",  # it takes no connections: likewise
    # It is empty, half restored, behind this release, or another role's. No input of anybody's brings these about, and
    # a statement that is wrong at all times fails its test.
    "3F000",  # no such schema
    "42501",  # not permitted
    "42703",  # no such column
    "42704",  # no such object: a type, a constraint
    "42883",  # no such function
    "42P01",  # no such table
}


def is_database_down(error: BaseException) -> bool:
    """Whether the database is away, too busy, not ready for us or does not take us (503: the same may work later),
    rather than our statement at fault.

    Never for a task that is being cancelled: its error may be the cancellation in disguise, and it must end.
    """
    if is_being_cancelled():
        return False
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_database_down(error.orig or OSError())
    if state := _state_of(error):
        return (state[:2] in _AWAY and state != _STATEMENT_TIMEOUT) or state in _NOT_NOW
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):  # the pool's words for one of the driver's
        return error.__cause__ is not None and is_database_down(error.__cause__)
    return isinstance(error, DATABASE_ERRORS) and not isinstance(error, ValueError)  # asyncpg's word for bad parameters


def note_outage(log: logging.Logger, error: Exception, **extra: object) -> None:
    """For a loop, which then waits and goes on: what the database refused, or the way to it, ends no process.

    Raises the error of a task that is being cancelled.
    """
    if is_being_cancelled():
        raise error
    telemetry.database_errors.labels(_state_of(error) or type(error).__name__).inc()
    if is_database_down(error):
        log.warning("the database is down", extra={"error": repr(error), **extra})
    else:
        log.error("the database refused a statement", extra=extra, exc_info=error)


def is_contention(error: BaseException) -> bool:
    """Whether a statement failed only because others were at work on the same rows (lock time-out, deadlock)."""
    state = _state_of(error)
    return state == _LOCK_TIMEOUT or state[:2] == _ROLLED_BACK


def is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _state_of(error: BaseException) -> str:
    """Its SQLSTATE; empty where it has none."""
    state: object = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state if isinstance(state, str) else ""
