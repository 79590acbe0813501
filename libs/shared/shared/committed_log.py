"""Log lines of what a transaction does: written once it is committed, for until then it has not happened."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

_LINES: Final = "log lines"


@dataclass(frozen=True, slots=True)
class _Line:
    within: SessionTransaction | None
    """The savepoint it was said in; None outside of any."""
    log: logging.Logger
    level: int
    message: str
    extra: Mapping[str, object] | None
    error: BaseException | None


def log_once_committed(
    session: AsyncSession,
    log: logging.Logger,
    level: int,
    message: str,
    extra: Mapping[str, object] | None = None,
    error: BaseException | None = None,
) -> None:
    """Log what the session's transaction does, once it is committed; nothing where that, or a savepoint around it, is
    rolled back."""
    within = session.sync_session.get_nested_transaction()
    lines: list[_Line] = session.info.setdefault(_LINES, [])
    lines.append(_Line(within, log, level, message, extra, error))


@event.listens_for(Session, "after_commit")
def _write(session: Session) -> None:
    """Write the lines after the transaction's own commit, not a savepoint's."""
    if session.in_nested_transaction():
        return
    for line in session.info.pop(_LINES, []):
        line.log.log(line.level, line.message, extra=line.extra, exc_info=line.error)


@event.listens_for(Session, "after_soft_rollback")
def _drop(session: Session, ended: SessionTransaction) -> None:
    """Drop what was said in a transaction or savepoint that was rolled back, and in the savepoints within it."""
    if lines := session.info.get(_LINES):
        session.info[_LINES] = [one for one in lines if ended.parent and ended not in _around(one.within)]


def _around(within: SessionTransaction | None) -> Iterator[SessionTransaction]:
    while within is not None:
        yield within
        within = within.parent
