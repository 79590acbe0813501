"""Test support: one row that a release does not understand, or that is damaged, among good ones.

In every column of whatever an answer is made of, a value is put that the release does not know: a newer one may have
left it, so no CHECK of ours stands in its way here. A list then shows all others; what is asked for alone is shown, or
answered with `unreadable_record`.
"""

# asyncpg ships no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx

from shared.database import Unknown
from shared.testing.plans import Ask, Planned
from shared.web.unreadable import UnreadableRecord

ODD: Final[Mapping[str, Sequence[str]]] = {
    "text": ["a_word_of_tomorrow"],
    "text[]": ["{NULL}"],
    "jsonb": ['{"of_tomorrow": [null]}', "[null]"],
    "numeric": ["NaN"],
    "double precision": ["NaN"],
}
"""Values that a column of the type can hold and a release may not know, as PostgreSQL reads them."""
MOST: Final = 5
"""Rows that a single item of a list is made of in one table; where more have its ids, it is something else's table."""
_TRIES: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class _Table:
    key: Sequence[str]
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """Columns by which its rows belong to something, with their type: UUIDs, and the key where it is text."""
    columns: dict[str, tuple[str, Sequence[str | None]]] = field(
        default_factory=dict[str, tuple[str, Sequence[str | None]]]
    )
    """The type of every other column, and its odd values."""


async def odd_row_failures(
    planned: Planned, asks: Mapping[str, Sequence[Ask]], exempt: Mapping[str, str] | None = None
) -> list[str]:
    """Make each row of what is asked for odd, column by column; return what is wrong then, in words.

    `exempt`: operations that fail as a whole, and why they have to. Afterwards the database has no CHECK any more.
    """
    exempt = exempt or {}
    connection = planned.plans.connection
    await _drop_checks(connection)
    database = await connection.fetchval("select current_database()")
    await connection.execute(f'alter database "{database}" reset auto_explain.log_min_duration')
    await planned.tested.process.database.dispose()  # new connections log no plans
    tables = await _tables(connection)
    lists = _lists(planned)
    met: set[tuple[str, str]] = set()
    failed: dict[str, list[str]] = {}
    for name, ask in ((name, ask) for name, several in asks.items() for ask in several):
        if (name, str(ask.who)) in met:
            continue
        who = dict(ask.who)
        async with planned.tested.client(*who.pop("roles", ()), **who) as client:
            found = await _get(client, ask.path)
            several = found.get("items", []) if name in lists else []
            if name in lists and len(several) > 1:
                met.add((name, str(ask.who)))
                failed.setdefault(name, []).extend(
                    await _try(connection, client, tables, ask.path, several[1], several, full=ask.full)
                )
                for other, path in _alone(planned, ask.path, several[1]):
                    alone = await _get(client, path)
                    failed.setdefault(other, []).extend(await _try(connection, client, tables, path, alone, None))
            elif name not in lists:
                failed.setdefault(name, []).extend(await _try(connection, client, tables, ask.path, found, None))
    lacking = lists - {name for name, _ in met} - exempt.keys()
    wrong = [f"{name}: no list of two in which one could be odd" for name in sorted(lacking)]
    wrong += [f"{name}: it does not fail, and needs no exemption" for name in exempt if not failed.get(name, True)]
    return wrong + [one for name, several in failed.items() if name not in exempt for one in several]


def _lists(planned: Planned) -> set[str]:
    """Return the operations whose answer has `items`."""
    document = planned.tested.process.api.openapi()
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    for item in document["paths"].values():
        schema = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
        name = schema.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if "items" in schemas.get(name, {}).get("properties", {}):
            found.add(item["get"]["operationId"])
    return found


def _alone(planned: Planned, path: str, item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:  # Any: JSON
    """Yield the operations that read an item of this list by itself, with its address."""
    for template, operations in planned.tested.process.api.openapi()["paths"].items():
        start, _, key = template.rpartition("/")
        if "get" in operations and start == path.partition("?")[0] and key.strip("{}") in item:
            yield operations["get"]["operationId"], f"{start}/{item[key.strip('{}')]}"


async def _try(
    connection: Any,  # Any: asyncpg ships no types
    client: httpx.AsyncClient,
    tables: Mapping[str, _Table],
    path: str,
    about: Any,  # Any: JSON
    good: Sequence[Any] | None,  # Any: JSON
    *,
    full: bool = False,
) -> list[str]:
    """Make what `about` is made of odd, value by value; return what is wrong with the answers.

    `good`: the list it is in. `full`: another would come in its place.
    """
    others = [one for one in good or () if one is not about]
    own = set(_strings(about)) - {text for one in others for text in _strings(one)}
    wrong: list[str] = []
    for name, table in tables.items():
        rows = await _rows_of(connection, name, table, own)
        for column, (_, values) in table.columns.items() if rows else ():
            for value in values:
                if not await _put(connection, name, table, column, dict.fromkeys(rows, value)):
                    continue
                answer = await _ask(client, path)
                fault = _fault(answer, others, len(good) if full and good else 0, listed=good is not None)
                if fault:
                    wrong.append(f"{path}, {value} in {name}.{column}: {fault}")
                await _put(connection, name, table, column, {key: before[column] for key, before in rows.items()})
    return wrong


def _fault(answer: httpx.Response | Exception, others: Sequence[Any], least: int, *, listed: bool) -> str:  # Any: JSON
    if isinstance(answer, Exception):
        return repr(answer)[:300]
    if answer.status_code != HTTPStatus.OK:
        is_said = answer.json().get("code") in {UnreadableRecord.code, Unknown.code}
        return "" if is_said and not listed else f"{answer.status_code} {answer.text[:200]}"
    if not listed:
        return ""
    found = answer.json()
    if missing := [one for one in others if one not in found["items"]]:
        return f"{len(missing)} good ones are missing, such as {str(missing[0])[:200]}"
    if len(found["items"]) + found.get("unreadable", 0) < least:
        return f"{len(found['items'])} and {found.get('unreadable')} unreadable are no {least}"
    return ""


async def _ask(client: httpx.AsyncClient, path: str) -> httpx.Response | Exception:
    new = f"{'&' if '?' in path else '?'}try={next(_TRIES)}"  # what is kept of a former answer is none of this one
    try:
        return await client.get(path + new)
    except Exception as error:  # noqa: BLE001 - returned with all else that is wrong
        return error


async def _get(client: httpx.AsyncClient, path: str) -> Any:  # Any: JSON
    answer = await _ask(client, path)
    assert isinstance(answer, httpx.Response), answer
    assert answer.status_code == HTTPStatus.OK, f"{path}: {answer.text}"
    return answer.json()


def _strings(value: Any) -> Iterator[str]:  # Any: JSON
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _strings(one)
        case list():
            for one in value:
                yield from _strings(one)
        case _:
            pass


def _uuids(texts: set[str]) -> Iterator[UUID]:
    for text in texts:
        try:
            yield UUID(text)
        except ValueError:
            continue


async def _rows_of(connection: Any, name: str, table: _Table, own: set[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that have one of these ids, by their keys: their other columns as text."""
    shown = ", ".join([f'"{one}" as "key {one}"' for one in table.key] + [f'"{one}"::text' for one in table.columns])
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for column, kind in table.ids.items():
        rows = await connection.fetch(
            f'select {shown} from "{name}" where "{column}" = any($1) limit {MOST + 1}',  # noqa: S608 - the schema's names
            list(own) if kind == "text" else list(_uuids(own)),
        )
        if len(rows) <= MOST:
            found |= {tuple(row[f"key {one}"] for one in table.key): dict(row) for row in rows}
    return found


async def _put(
    connection: Any,  # Any: asyncpg ships no types
    name: str,
    table: _Table,
    column: str,
    values: Mapping[tuple[Any, ...], str | None],  # Any: a key
) -> bool:
    """Store a value for each of these rows; return whether the database takes it."""
    kind = table.columns[column][0]
    where = " and ".join(f'"{one}" = ${number}' for number, one in enumerate(table.key, 2))
    try:
        await connection.executemany(
            f'update "{name}" set "{column}" = $1::text::{kind} where {where}',  # noqa: S608 - names of the schema
            [(value, *key) for key, value in values.items()],
        )
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
        return False
    return True


async def _tables(connection: Any) -> dict[str, _Table]:  # Any: asyncpg ships no types
    rows = await connection.fetch("""
        select c.relname as table, a.attname as name, format_type(a.atttypid, null) as type,
            not a.attnotnull as nullable,
            coalesce(a.attnum = any(k.conkey), false) as is_key, a.attgenerated <> '' as is_generated
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
        where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
            and a.attnum > 0 and not a.attisdropped and c.relname <> 'alembic_version'
        order by c.relname, a.attnum
    """)
    found: dict[str, _Table] = {}
    for name, columns in itertools.groupby(rows, key=lambda row: row["table"]):
        several = list(columns)
        table = found[name] = _Table([one["name"] for one in several if one["is_key"]])
        for one in several:
            if one["type"] == "uuid" or (one["is_key"] and one["type"] == "text"):
                table.ids[one["name"]] = one["type"]
            elif not one["is_key"] and not one["is_generated"]:
                nothing = [None] if one["nullable"] else []
                table.columns[one["name"]] = (one["type"], [*ODD.get(one["type"], ()), *nothing])
    return {name: table for name, table in found.items() if table.key and table.ids}


async def _drop_checks(connection: Any) -> None:  # Any: asyncpg ships no types
    for row in await connection.fetch("""
        select conrelid::regclass::text as table, conname as name from pg_constraint
        where contype = 'c' and coninhcount = 0 and connamespace = 'public'::regnamespace and conrelid <> 0
    """):
        await connection.execute(f'alter table {row["table"]} drop constraint "{row["name"]}"')
