"""Sorts errors of the database: it is away, others work on the same rows, or a statement of ours is wrong.

The SQLSTATE decides (PostgreSQL's appendix A). A request that meets an outage is answered with 503, for the same may
work later; one that is our fault, with 500. A loop goes on whatever it was.
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
"""All that a call to the database may raise."""
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
"""SQLSTATE classes that mean that the database is away."""
_STATEMENT_TIMEOUT = "57014"
_LOCK_TIMEOUT = "55P03"
_ONLY_READS = "25006"
_NOT_READY: Final = {
    # It is empty, half restored, behind this release, or another role's. No input of anybody's brings these about, and
    # a statement that is wrong at all times fails its test.
    "3F000",  # no such schema
    "42501",  # not permitted
    "42703",  # no such column
    "42704",  # no such object: a type, a constraint
    "42883",  # no such function
    "42P01",  # no such table
}
_NOT_NOW: Final = {
    *_NOT_READY,
    _LOCK_TIMEOUT,
    _ONLY_READS,  # a standby, or its disk is guarded
    "25P03",  # this transaction was idle for too long
    "3D000",  # there is no such database: it is being restored
    "55000",  # it takes no connections: likewise
}


def is_database_down(error: BaseException) -> bool:
    """Return whether an error means that the database is away, too busy, not ready or refuses us (503: the same may
    work later), and not that our statement is at fault.

    False in a task that is being cancelled: its error may be the cancellation in disguise, and it must end.
    """
    if is_being_cancelled():
        return False
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_database_down(error.orig or OSError())
    if state := _state_of(error):
        return (state[:2] in _AWAY and state != _STATEMENT_TIMEOUT) or state in _NOT_NOW
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):  # the pool's error for one of the driver's
        return error.__cause__ is not None and is_database_down(error.__cause__)
    return isinstance(error, DATABASE_ERRORS) and not isinstance(error, ValueError)  # what asyncpg calls bad parameters


def note_outage(log: logging.Logger, error: Exception, **extra: object) -> None:
    """Log and count the error of one round of a loop, which then waits and goes on, whatever the error was.

    Raises the error itself in a task that is being cancelled.
    """
    if is_being_cancelled():
        raise error
    telemetry.database_errors.labels(_state_of(error) or type(error).__name__).inc()
    if is_database_down(error):
        log.warning(in_words(error), extra={"error": repr(error), **extra})
    elif isinstance(error, DATABASE_ERRORS):
        log.error("the database refused a statement", extra=extra, exc_info=error)
    else:
        log.error("a round of a loop failed", extra=extra, exc_info=error)


def in_words(error: BaseException) -> str:
    """Return what an error that `is_database_down` is, in a few words for a log: whom an operator has to look at."""
    state = _state_of(error)
    if is_contention(error):
        return "others are at the same rows"
    if state in _NOT_READY:
        return "the database is not ready: half restored, behind this release, or of another role"
    if state == _ONLY_READS:
        return "the database only reads"
    return "the database is down"


def is_contention(error: BaseException) -> bool:
    """Return whether a statement failed only because others were at work on the same rows (lock time-out, deadlock)."""
    state = _state_of(error)
    return state == _LOCK_TIMEOUT or state[:2] == _ROLLED_BACK


def is_being_cancelled() -> bool:
    """Return whether the present task is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _state_of(error: BaseException) -> str:
    """Return an error's SQLSTATE; empty where it has none."""
    state: object = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state if isinstance(state, str) else ""
