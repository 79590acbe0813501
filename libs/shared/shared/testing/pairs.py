"""Test support for two commands at once: the second runs while the first is stopped, after each lock the first takes.

Two transactions end in a deadlock only so: one holds some of its locks, the other takes its own until it waits for
those, and the first goes on to one of the other's. The first is stopped after each of its locks, on a real server, and
goes on when the second has ended or waits; so no luck is needed to find a deadlock.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any, Final, Generic, TypeVar

import httpx
from sqlalchemy import JSON, LargeBinary, Table, Uuid, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.util import await_only

from shared.messaging import RetryLater
from shared.testing.services import ServiceUnderTest

_TAKES_A_LOCK: Final = re.compile(
    r"\bpg_advisory_xact_lock|\bfor\s+(?:no\s+key\s+)?(?:update|share)\b|^\s*(?:insert|update|delete)\b", re.IGNORECASE
)
_OWN: Final = re.compile(r"\b(?:idempotency_keys|outbox|inbox)\b")
"""Tables whose rows no other command reads or locks."""
_WAITS: Final = (
    "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
)
PATIENCE_SECONDS: Final = 30.0
"""Limit for both commands together, on a busy machine: PostgreSQL finds a deadlock after one second."""
_UNSEEN_WAIT_SECONDS: Final = 1.0
"""After so long the second counts as waiting for the first within the process: for a connection, or Python's lock."""
_LOOK_SECONDS: Final = 0.005

_NAMES_ONE: Final = re.compile(r"[0-9a-f-]{16,}|[0-9A-Z]{10,}")


CaseT = TypeVar("CaseT")
Command = Callable[[CaseT], Awaitable[httpx.Response | None]]
Answer = tuple[int, str]
Stored = dict[str, Counter[str]]
Ended = tuple[Answer, Answer, Stored]


@dataclass
class _Begun:
    """A command under way."""

    stop_in: int = 0
    """The number of the transaction in which it stops; 0 for none. `stop_after` is after how many locks in it."""
    stop_after: int = 0
    locks: list[int] = field(default_factory=list[int])
    """How many locks it has taken in each of its transactions."""
    errors: list[str] = field(default_factory=list[str])
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


_current: ContextVar[_Begun | None] = ContextVar("current", default=None)


class _Kept:
    """A copy of all rows of a database, from which they are restored."""

    def __init__(self, superuser: Any) -> None:  # Any: as above
        self._superuser, self._put_back = superuser, ""

    async def keep(self) -> None:
        await self._superuser.execute("set session_replication_role = replica; create schema kept")
        for (name,) in await self._superuser.fetch("select tablename from pg_tables where schemaname = 'public'"):
            await self._superuser.execute(f"create table kept.{name} as table public.{name}")
            again = f"insert into public.{name} overriding system value select * from kept.{name}"  # noqa: S608 - our own names
            self._put_back += f"delete from public.{name}; {again};"  # noqa: S608 - likewise
        sequences = "select sequencename, last_value, start_value from pg_sequences where schemaname = 'public'"
        for name, last, start in await self._superuser.fetch(sequences):
            self._put_back += f"select setval('public.{name}', {last or start}, {last is not None});"

    async def put_back(self) -> None:
        """Restore all rows; neither foreign keys nor triggers are checked meanwhile."""
        await self._superuser.execute(self._put_back)


class Pairs(Generic[CaseT]):
    """Runs every two of some commands, and each with itself, on the same learner.

    Each has something to do for the learner of the `case`, whose rows are restored before any two begin. `busy`:
    problem codes by which one command may say that the other is running. `counted`: columns (`table.column`) that are
    not compared, since they say how much there was at some moment of a command, before the other or after it.
    """

    def __init__(
        self,
        tested: ServiceUnderTest,
        tables: type[DeclarativeBase],
        superuser: Any,  # Any: asyncpg ships no types
        case: CaseT,
        commands: Mapping[str, Command[CaseT]],
        *,
        busy: frozenset[str] = frozenset(),
        counted: frozenset[str] = frozenset(),
    ) -> None:
        self.tested, self.case, self.commands, self.busy = tested, case, commands, busy
        self._superuser, self._kept = superuser, _Kept(superuser)
        rows = (
            f"select '{table.name}' as name, (to_jsonb(one) - array[{_apart(table, counted)}]::text[])::text as row "  # noqa: S608 - our own names
            f"from public.{table.name} one"
            for table in tables.metadata.sorted_tables
        )
        self._everything = " union all ".join(rows)

    async def look(self) -> Stored:
        """Return all rows of the service, by table, without ids. The clock stands still."""
        found: Stored = defaultdict(Counter)
        for name, row in await self._superuser.fetch(self._everything):
            found[name][_NAMES_ONE.sub("", row)] += 1
        return found

    async def faults(self) -> list[str]:
        """Return what went wrong, in words: a deadlock, a wait without end, an answer 5xx, or answers and rows that the
        two do not give one after the other, in either order."""
        database = self.tested.process.database
        await self._kept.keep()
        # No lock time-out: on a busy machine it would show how long others took, and not whether they wait at all.
        await self._superuser.execute(f'alter role "{database.web.url.username}" set lock_timeout = 0')
        for engine in (database.web, database.messaging):
            await engine.dispose()
        async with _listening(database.web), _listening(database.messaging):
            return [
                fault
                for first, second in combinations_with_replacement(self.commands, 2)
                async for fault in self._faults_of(first, second)
            ]

    async def _faults_of(self, first: str, second: str) -> AsyncGenerator[str]:
        locks, ended = await self._in_turn(first, second)
        in_turn = [ended]
        for transaction, taken in enumerate(locks, 1):
            for held in range(1, taken + 1):
                one, other = _Begun(transaction, held), _Begun()
                met, blocked_at_once = await self._meet((first, one), (second, other))
                # A command of several transactions lets others come between, and may show it.
                halves = any(sum(map(bool, begun.locks)) > 1 for begun in (one, other))
                if not isinstance(met, str) and (halves or not self.busy.isdisjoint(code for _, code in met[:2])):
                    in_turn.append(met)
                elif met not in in_turn and len(in_turn) == 1:
                    others, ours, stored = ended if first == second else (await self._in_turn(second, first))[1]
                    in_turn.append((ours, others, stored))
                if wrong := one.errors + other.errors or _wrong(met, in_turn):
                    yield f"{first} stopped after lock {held} of transaction {transaction}, then {second}: {wrong}"
                if blocked_at_once:  # as it would be after every further lock of this transaction
                    break

    async def _in_turn(self, first: str, second: str) -> tuple[list[int], Ended]:
        """Run one command after the other; return how many locks the first takes in each of its transactions, both
        answers, and the rows afterwards."""
        await self._kept.put_back()
        begun = _Begun()
        answer = await asyncio.create_task(self._begin(first, begun))
        then = await asyncio.create_task(self._begin(second, _Begun()))
        return begun.locks, (answer, then, await self.look())

    async def _meet(self, first: tuple[str, _Begun], second: tuple[str, _Begun]) -> tuple[Ended | str, bool]:
        """Run the second command where the first stops; return both answers and the rows afterwards, or what is wrong,
        and whether the second waited before it held any lock."""
        await self._kept.put_back()
        (_, one), (_, other) = first, second
        at_once = False
        leading = asyncio.create_task(self._begin(*first))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                stopped = asyncio.create_task(one.stopped.wait())
                await asyncio.wait({leading, stopped}, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                following = asyncio.create_task(self._begin(*second))
                if not leading.done():
                    at_once = await self._until_waiting(following) and not any(other.locks[-1:])
                one.go_on.set()
                answers = await asyncio.gather(leading, following)
        except TimeoutError:
            return "they do not end", at_once
        if any(status >= httpx.codes.INTERNAL_SERVER_ERROR for status, _ in answers):
            return str(answers), at_once
        return (answers[0], answers[1], await self.look()), at_once

    async def _begin(self, name: str, begun: _Begun) -> Answer:
        _current.set(begun)
        try:
            return _answer(await self.commands[name](self.case))
        except RetryLater:  # the inbox would try the event again
            return 0, "not_yet"

    async def _until_waiting(self, following: asyncio.Task[Any]) -> bool:
        """Return True once the command waits for a lock of the database; False where it ends, or waits elsewhere."""
        for _ in range(int(_UNSEEN_WAIT_SECONDS / _LOOK_SECONDS)):
            await asyncio.sleep(_LOOK_SECONDS)
            if following.done():
                return False
            if await self._superuser.fetchval(_WAITS):
                return True
        return False


def _apart(table: Table, counted: frozenset[str]) -> str:
    names = (
        column.name
        for column in table.columns
        if isinstance(column.type, (JSON, LargeBinary, Uuid)) or f"{table.name}.{column.name}" in counted
    )
    return ", ".join(f"'{name}'" for name in names)


def _answer(answer: httpx.Response | None) -> Answer:
    if answer is None:
        return 0, ""
    kind = answer.headers.get("content-type", "")
    return answer.status_code, answer.json()["code"] if "problem" in kind else ""


def _wrong(outcome: Ended | str, in_turn: Sequence[Ended]) -> list[str]:
    if isinstance(outcome, str):
        return [outcome]
    if outcome in in_turn:
        return []
    *answers, stored = outcome
    alike = [one[2] for one in in_turn if [*one[:2]] == answers]
    if not alike:
        return [f"they answer {answers}, and in turn {[one[:2] for one in in_turn]}"]
    return [f"not as after any order: {'; or '.join(', '.join(_differences(stored, one)) for one in alike)}"]


def _differences(stored: Stored, in_turn: Stored) -> list[str]:
    """Return, in words, which rows of which table there are too many or too few of. Ids are not in a row's text."""
    return [
        f"{name} {has} {count} of {row}"
        for name in sorted(stored.keys() | in_turn.keys())
        for has, one, other in (("has besides", stored, in_turn), ("lacks", in_turn, stored))
        for row, count in sorted((one.get(name, Counter()) - other.get(name, Counter())).items())
    ]


@asynccontextmanager
async def _listening(engine: AsyncEngine) -> AsyncGenerator[None]:
    def begin(_: Any) -> None:  # Any: SQLAlchemy's
        if begun := _current.get():
            begun.locks.append(0)

    def executed(_: Any, __: Any, statement: str, *___: Any) -> None:  # Any: SQLAlchemy's
        begun = _current.get()
        if begun is None or not _TAKES_A_LOCK.search(statement) or _OWN.search(statement):
            return
        begun.locks[-1] += 1
        if (len(begun.locks), begun.locks[-1]) == (begun.stop_in, begun.stop_after):
            begun.stopped.set()
            await_only(begun.go_on.wait())

    def fail(context: ExceptionContext) -> None:
        state = getattr(context.original_exception, "sqlstate", None)
        if (begun := _current.get()) and state == "40P01":
            begun.errors.append(f"deadlock in {' '.join((context.statement or '').split())[:200]}")

    listeners = {"begin": begin, "after_cursor_execute": executed, "handle_error": fail}
    for name, listener in listeners.items():
        event.listen(engine.sync_engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(engine.sync_engine, name, listener)
