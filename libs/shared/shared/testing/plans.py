"""Test support: fill a service's database by COPY, and limit what each of its statements reads.

PostgreSQL's own `auto_explain` logs the plan of every statement that is executed, whoever composes it: so none can be
forgotten. What counts are the rows and the pages (8 kB) a statement reads: the same on any machine.
"""

# asyncpg ships no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from shared.ids import new_id
from shared.jobs import Work
from shared.process import housekeeping
from shared.testing.services import BuildService, ServiceUnderTest, under_test
from shared.web.paging import paging_of

SETTINGS: Final[Mapping[str, str | int]] = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": -1,
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "log_min_messages": "log",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "plans",
    "log_filename": "plans.log",
    "log_rotation_size": 0,
    "log_rotation_age": 0,
    "random_page_cost": "1.1",  # all pages are in memory, as those that are read often are
}
"""Settings of the server: in the databases where `watch` is on, every statement's plan is logged as JSON."""

Value = Callable[[int], object] | object
"""A column's value: of the n-th row, or the same in all."""

BASE: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""The instant at which the clock of the tests stands."""


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is filled: the values of columns where they matter, and how many rows; the rest is made up."""

    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    rows: int | None = None


def uuid_of(kind: str, number: int) -> UUID:
    """Return a UUID that is the same for the same thing in every table, and ordered as the numbers are."""
    return UUID(int=(int.from_bytes(kind.encode()[:6].ljust(6, b"-")) << 80) | number)


def ago(**units: float) -> Callable[[int], datetime]:
    """Return a Value: an instant so long before the clock of the tests, and n seconds more in the n-th row."""
    return lambda n: BASE - timedelta(**units) - timedelta(seconds=n)


def at(**units: float) -> datetime:
    """Return the instant so long after that of the tests' clock."""
    return BASE + timedelta(**units)


def _messaging() -> dict[str, Table]:
    """Return how the tables that every service has are filled: many rows are due for housekeeping, and none waits."""
    now, old = datetime.now(UTC), 1_500

    def aged(**units: float) -> Callable[[int], datetime]:
        return lambda n: now - timedelta(**units) if n < old else now

    return {
        "installation": Table(rows=0),
        "feed_epochs": Table(rows=0),
        "feed_positions": Table(rows=0),
        "set_aside_rows": Table({"due_at": at(days=365)}),
        "idempotency_keys": Table({"created_at": aged(hours=25)}),
        "inbox": Table({"handled_at": aged(days=91)}),
        "letters": Table({"sent_at": aged(days=31)}),
        "parked_messages": Table(
            {"resolved_at": now, "resolution": "redriven", "resolved_by": "ops", "resolution_reason": "mended"}
        ),
        "outbox": Table({"sent_at": now, "type": "catalogue.course.published.v1"}),
    }


async def fill(connection: Any, rows: int, tables: Mapping[str, Table]) -> None:  # Any: asyncpg ships no types
    """Fill every table of the database, by a superuser's connection, and analyze them for the planner."""
    tables = {**_messaging(), **tables}
    await connection.execute("set session_replication_role = replica")  # neither triggers nor foreign keys
    for name, columns in (await _columns(connection)).items():
        table = tables.get(name, Table())
        unknown = table.values.keys() - {column.name for column in columns}
        assert not unknown, f"{name} has no {unknown}"
        wanted = [column for column in columns if column.needed or column.name in table.values]
        makers = [_maker(table.values[one.name]) if one.name in table.values else one.make for one in wanted]
        lines = (
            "\t".join([_text(make(n)) for make in makers]) for n in range(rows if table.rows is None else table.rows)
        )
        content = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
        try:
            await connection.copy_to_table(name, source=content, columns=[one.name for one in wanted])
        except Exception as error:
            error.add_note(f"table {name}")
            raise
    await connection.execute("vacuum analyze")


def _maker(value: Value) -> Callable[[int], object]:
    return value if callable(value) else lambda _: value


def _text(value: object) -> str:
    match value:
        case None:
            return r"\N"
        case bool():
            return "t" if value else "f"
        case datetime():
            return value.isoformat()
        case bytes():
            return rf"\\x{value.hex()}"
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    needed: bool
    is_key: bool
    """Whether it alone is the primary key."""
    choices: tuple[str, ...]

    def make(self, n: int) -> object:
        """Return a value that fits: different in every row, and the same as the n-th of other tables."""
        if self.name == "learner_id" and not self.is_key:
            return learner_of(n)
        if self.choices:
            return self.choices[0]
        counted: Callable[[int], object] = lambda n: n + 1 if self.is_key else 1  # noqa: E731 - as those below
        makers: Mapping[str, Callable[[int], object]] = {
            "uuid": lambda n: uuid_of(self.name, n),
            "text": lambda n: f"{self.name}-{n}",
            "timestamp with time zone": lambda n: BASE - timedelta(days=200) + timedelta(seconds=n),
            "boolean": lambda _: False,
            "jsonb": lambda _: {},
            "bytea": lambda n: n.to_bytes(32),
            "date": lambda _: BASE.date(),
            "text[]": lambda _: "{}",
        }
        return makers.get(self.type, counted)(n)


BUSY: Final = 300
"""How many rows the one learner has who has very many; each of the others has three."""


def learner_of(n: int) -> UUID:
    """Return the learner whose row the n-th of a table is."""
    return uuid_of("learner_id", 0 if n < BUSY else n // 3)


async def _columns(connection: Any) -> dict[str, list[_Column]]:  # Any: asyncpg ships no types
    rows = await connection.fetch("""
        select c.relname as table, a.attname as name, format_type(a.atttypid, null) as type,
            a.attnotnull and not a.atthasdef and a.attidentity = '' as needed,
            exists (
                select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p' and k.conkey = array[a.attnum]
            ) as is_key,
            (
                select min(pg_get_constraintdef(k.oid)) from pg_constraint k
                where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]
            ) as condition
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
            and a.attnum > 0 and not a.attisdropped and c.relname <> 'alembic_version'
        order by c.relname, a.attnum
    """)
    found: dict[str, list[_Column]] = {}
    for row in rows:
        choices = tuple(re.findall(r"'([^']*)'::text", row["condition"] or ""))
        found.setdefault(row["table"], []).append(
            _Column(row["name"], row["type"], row["needed"], row["is_key"], choices)
        )
    return found


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of tables and indexes, and the pages, that one statement read."""

    query: str
    rows: int
    pages: int
    plan: Mapping[str, Any]  # Any: JSON

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "Read":  # Any: JSON
        nodes = [*_nodes(plan["Plan"])]
        root = plan["Plan"]
        return cls(
            " ".join(plan["Query Text"].split()),
            round(sum(_visited(node) for node in nodes)),
            root.get("Shared Hit Blocks", 0) + root.get("Shared Read Blocks", 0),
            root,
        )

    def __str__(self) -> str:
        scans = ", ".join(
            f"{node['Node Type']} {node.get('Relation Name') or node.get('Index Name', '')} {round(_visited(node))}"
            for node in _nodes(self.plan)
            if _visited(node) > 100  # noqa: PLR2004 - what does not matter is not shown
        )
        return f"{self.rows} rows, {self.pages} pages: {self.query[:300]} [{scans}]"


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:  # Any: JSON
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _visited(node: Mapping[str, Any]) -> float:  # Any: JSON
    """Return how many rows a scan read, those it filtered out included."""
    if "Scan" not in node["Node Type"]:
        return 0
    met = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(node.get(name, 0) for name in met) * node.get("Actual Loops", 1)


class Plans:
    """The statements run in one database, with what they read, from its server's log."""

    def __init__(self, server_log: Path, connection: Any) -> None:  # Any: a superuser's connection to that database
        self._log, self.connection = server_log, connection

    @asynccontextmanager
    async def reads(self) -> AsyncGenerator[list[Read]]:
        """Yield a list that holds, after the block, the statements run in it, in the order in which they ended."""
        start, found = await self._mark(), list[Read]()
        yield found
        end = await self._mark()
        text = (await asyncio.to_thread(self._log.read_bytes))[start:end].decode()
        for line in text.splitlines():
            message: str = json.loads(line)["message"]
            plan = message.partition("plan:\n")[2]
            if plan:
                found.append(Read.of(json.loads(plan)))

    async def _mark(self) -> int:
        """Return the end of the log, once everything logged before has been written."""
        mark = f"mark {new_id()}"
        await self.connection.execute(f"do $$ begin raise log '{mark}'; end $$")
        async with asyncio.timeout(10):
            while True:
                content = await asyncio.to_thread(self._log.read_bytes)
                place = content.find(f'"{mark}"'.encode())
                if place >= 0:
                    return content.find(b"\n", place) + 1
                await asyncio.sleep(0.02)


async def watch(connection: Any, database: str) -> None:  # Any: a superuser's connection
    """Have new connections to the database log the plans of their statements."""
    await connection.execute(f'alter database "{database}" set auto_explain.log_min_duration = 0')


PAGE: Final = 20
ROWS, PAGES, STATEMENTS = 1_500, 1_500, 25
"""Limits of a list of PAGE rows, out of tens of thousands: rows and pages that one statement reads, and statements."""
BATCH_ROWS, BATCH_PAGES = 4_000, 40_000
"""Limits of one statement of a job: its batches have up to a thousand rows, in several indexes each."""


HOUSEKEEPING: Final = {"forget_old_records": 3, "keep_event_log": 1, "bring_due_times_forward": 1}
"""The jobs of every service, and how many statements each needs at least."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A GET whose cost is limited. `full`: it is a list that fills its page and has a next one."""

    path: str
    who: Mapping[str, Any] = field(default_factory=dict[str, Any])  # Any: what ServiceUnderTest.client takes
    full: bool = True
    rows: int = ROWS
    pages: int = PAGES
    statements: int = STATEMENTS


def someone(*roles: str, id: UUID | None = None, client_id: str | None = None, scopes: tuple[str, ...] = ()) -> Any:
    return {"roles": roles, "id": id, "client_id": client_id, "scopes": scopes}


@dataclass(frozen=True, slots=True)
class Planned:
    """A service on a filled database whose plans are logged."""

    tested: ServiceUnderTest
    plans: Plans

    async def lists(self, asks: Mapping[str, Sequence[Ask]]) -> list[str]:
        """Return what is wrong, in words: lists that are not asked for, and statements that read more than a page.

        Each list is asked for once more with every value of each of its filters: most find little or nothing, and must
        not read the whole table for it.
        """
        paged = {
            route.operation_id or route.name
            for route in self.tested.process.api.routes
            if isinstance(route, APIRoute) and is_paged(route)
        }
        wrong = [f"{name}: a list whose plans nothing holds" for name in sorted(paged - asks.keys())]
        filters = self._filters()
        for name, several in asks.items():
            for one in [*several, *_filtered(several, filters.get(name, ()))]:
                wrong += [f"{name}, {one.path}: {what}" for what in await self._ask(one)]
        return wrong

    def _filters(self) -> dict[str, list[str]]:
        """Return by operation `name=value` for every value of each query parameter that is an enum or a boolean."""
        document = self.tested.process.api.openapi()
        schemas = document["components"]["schemas"]
        return {
            item["get"]["operationId"]: [
                f"{parameter['name']}={value}"
                for parameter in item["get"].get("parameters", ())
                if parameter["in"] == "query"
                for value in _values(parameter["schema"], schemas)
            ]
            for item in document["paths"].values()
            if "get" in item
        }

    async def _ask(self, ask: Ask) -> list[str]:
        roles = ask.who.get("roles", ())
        others = {key: value for key, value in ask.who.items() if key != "roles"}
        wrong: list[str] = []
        cursor: str | None = None
        async with self.tested.client(*roles, **others) as client:
            for _ in range(2 if ask.full else 1):
                async with self.plans.reads() as reads:
                    more = f"{'&' if '?' in ask.path else '?'}cursor={cursor}" if cursor else ""
                    try:
                        answer = await client.get(ask.path + more)
                    except Exception as error:  # noqa: BLE001 - returned with all else that is wrong
                        return [repr(error)]
                if answer.status_code != HTTPStatus.OK:
                    return [f"{answer.status_code} {answer.text[:200]}"]
                if ask.full:
                    found = answer.json()
                    cursor = found["next_cursor"]
                    if len(found["items"]) != PAGE or cursor is None:
                        wrong.append(f"{len(found['items'])} items, next {cursor}")
                if not reads:
                    wrong.append("nothing was read")
                if len(reads) > ask.statements:
                    wrong.append(f"{len(reads)} statements, such as {reads[-1]}")
                wrong += [str(read) for read in reads if read.rows > ask.rows or read.pages > ask.pages]
        return wrong

    async def jobs(self, resources: Mapping[type, Any], known: Mapping[str, int]) -> list[str]:
        """Run every job once. `known`: how many statements each is expected to need at least.

        Returns what is wrong, in words: jobs that are not in `known`, and statements that read more than a batch.
        """
        process = self.tested.process
        work = Work(process.database, {**process.resources(), **resources})
        jobs = [*self.tested.service.jobs, *housekeeping(self.tested.service.due_times)]
        known = {**HOUSEKEEPING, **known}
        wrong = [
            f"{name}: a job whose plans nothing holds" for name in sorted({job.__name__ for job in jobs} - known.keys())
        ]
        for job in jobs:
            async with self.plans.reads() as reads:
                await job(work)
            if len(reads) < known.get(job.__name__, 1):
                wrong.append(f"{job.__name__}: only {len(reads)} statements")
            dear = {read.query: read for read in reads if read.rows > BATCH_ROWS or read.pages > BATCH_PAGES}
            wrong += [f"{job.__name__}: {read}" for read in dear.values()]
        return wrong


def _values(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:  # Any: OpenAPI
    if "$ref" in schema:
        return _values(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("type") == "boolean":
        return ["true", "false"]
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]
    return [*map(str, schema.get("enum", ())), *(value for one in inner for value in _values(one, schemas))]


def _filtered(asks: Sequence[Ask], filters: Sequence[str]) -> list[Ask]:
    """Return for each caller the lists with each of the filters that no path has yet."""
    bare = {one.path.partition("?")[0] + repr(one.who): one for one in reversed(asks)}
    return [
        dataclasses.replace(one, path=path, full=False)
        for one in bare.values()
        for path in (f"{one.path.partition('?')[0]}?{each}" for each in filters)
        if path not in {ask.path for ask in asks if ask.who == one.who}
    ]


def is_paged(route: APIRoute) -> bool:
    def depends(dependant: Dependant) -> bool:
        return any(one.call is paging_of or depends(one) for one in dependant.dependencies)

    return depends(route.dependant)


@asynccontextmanager
async def planned_service(
    build: BuildService,
    server: Any,  # Any: the server's class is outside of shared
    tables: Mapping[str, Table],
    rows: int,
) -> AsyncGenerator[Planned]:
    """Yield the service on a new database with `rows` in each table, unless `tables` say; `server` runs with
    `SETTINGS`."""
    name = f"planned_{new_id().hex[-12:]}"
    async with under_test(build, server.create_role_and_database, name) as tested:
        connection = await server.connect(name)
        try:
            await fill(connection, rows, tables)
            await watch(connection, name)
            yield Planned(tested, Plans(server.data_dir / "cluster" / "plans" / "plans.json", connection))
        finally:
            await connection.close()
