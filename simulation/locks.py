"""The orders in which transactions take their locks: two that take two locks in opposite orders can deadlock.

It is found without any two meeting: transactions that ran one after the other are compared. A lock counts by its kind:
an advisory lock by the first word of its subject, row locks by their table. Two transactions that both took a third
lock before cannot deadlock at the later ones.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

import shared.database

_ADVISORY_LOCK: Final = "pg_advisory_xact_lock($1)"
_LOCKED: Final = re.compile(r"\bfrom\s+\"?(\w+).*\bfor\s+(?:no\s+key\s+)?update\b", re.IGNORECASE | re.DOTALL)
_SKIPPED: Final = re.compile(r"\bskip\s+locked\b|\bnowait\b", re.IGNORECASE)
_CHANGED: Final = re.compile(
    r"^\s*(?:update\s+\"?(\w+)|delete\s+from\s+\"?(\w+)|insert\s+into\s+\"?(\w+).*\bdo\s+update\b)",
    re.IGNORECASE | re.DOTALL,
)
_KEY: Final = "locks in order"


class Orders:
    """A record, by service, of every order in which a transaction has taken its locks."""

    def __init__(self) -> None:
        self.of: dict[str, set[tuple[str, ...]]] = {}
        self._advisory: dict[int, str] = {}

    @contextmanager
    def naming_locks(self) -> Generator[None]:
        number_of = shared.database.lock_number

        def remember(*subject: object) -> int:
            number = number_of(*subject)
            self._advisory[number] = f"lock of {subject[0]}"
            return number

        with patch.object(shared.database, "lock_number", remember):
            yield

    def listen(self, service: str, engine: AsyncEngine) -> None:
        orders = self.of.setdefault(service, set())

        def begin(connection: Any) -> None:  # Any: SQLAlchemy's
            connection.info[_KEY] = []

        def execute(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:  # Any: likewise
            taken = connection.info.setdefault(_KEY, [])
            taken += [one for one in self._taken(statement, parameters) if one not in taken]

        def end(connection: Any) -> None:  # Any: likewise
            if len(taken := connection.info.pop(_KEY, [])) > 1:
                orders.add(tuple(taken))

        event.listen(engine.sync_engine, "begin", begin)
        event.listen(engine.sync_engine, "before_cursor_execute", execute)
        event.listen(engine.sync_engine, "commit", end)
        event.listen(engine.sync_engine, "rollback", end)

    def _taken(self, statement: str, parameters: Any) -> Iterator[str]:  # Any: SQLAlchemy's
        if _ADVISORY_LOCK in statement:
            yield self._advisory.get(parameters[0], "lock")
        elif (locked := _LOCKED.search(statement)) and not _SKIPPED.search(statement):
            yield locked[1]
        elif changed := _CHANGED.match(statement):
            yield next(filter(None, changed.groups()))

    def opposite(self) -> list[str]:
        """Return the pairs of lock orders that may deadlock, a line each."""
        return [
            f"{service}: {one} before {other} in {' > '.join(first)}, after it in {' > '.join(second)}"
            for service, orders in sorted(self.of.items())
            for first, second in combinations(sorted(orders), 2)
            for one, other in _opposite(first, second)
        ]


def _opposite(first: tuple[str, ...], second: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for one, other in combinations([name for name in first if name in second], 2):
        before = set(first[: first.index(one)]) & set(second[: second.index(other)])
        if second.index(other) < second.index(one) and not before:
            yield one, other
