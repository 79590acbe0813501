"""Compares the schema that the migrations make with the one in tables.py, and prints where they differ."""

import asyncio
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Self

from sqlalchemy import MetaData, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from embedded import services
from embedded.postgres import Postgres
from embedded.services import NAMES
from shared.messaging.tables import MessagingBase
from shared.migrate import SHARED_VERSIONS, migrate

MESSAGING = "messaging"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

OBJECTS = text("""
    with own as (
        select oid, relname, relkind, reloptions, relpersistence from pg_class
        where relnamespace = 'public'::regnamespace and not relispartition and relname <> 'alembic_version'
        and not exists (
            select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid
            and refobjid <> objid and deptype in ('e', 'i')  -- of an extension, or an identity's own
        )
    )
    select relname as belongs_to, 'table ' || relname as name, concat_ws(
        ' ', relkind::text, relpersistence::text, pg_get_partkeydef(oid), array_to_string(reloptions, ', ')
    ) as definition
    from own where relkind in ('r', 'p')
    union all
    select relname, 'column ' || relname || '.' || attname, concat_ws(
        ' ',
        format_type(atttypid, atttypmod),
        case when attcollation <> typcollation then 'collate ' || attcollation::regcollation::text end,
        case when attnotnull then 'not null' end,
        case when attidentity <> '' then 'identity ' || attidentity::text end,
        case when attgenerated <> '' then 'generated ' || attgenerated::text end,
        'default ' || pg_get_expr(adbin, adrelid),
        'comment ' || quote_literal(col_description(own.oid, attnum))
    )
    from own join pg_attribute on attrelid = own.oid join pg_type on pg_type.oid = atttypid
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relkind in ('r', 'p') and attnum > 0 and not attisdropped
    union all
    select relname, 'constraint ' || relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
    from own join pg_constraint on conrelid = own.oid
    where (contype <> 'n' or not convalidated) and contype <> 't'
    union all
    select own.relname, 'index ' || own.relname || '.' || indexes.relname,
        pg_get_indexdef(indexrelid) || case when indisvalid then '' else ' invalid' end
    from own join pg_index on indrelid = own.oid join pg_class indexes on indexes.oid = indexrelid
    where not exists (select from pg_constraint where conindid = indexrelid)
    union all
    select relname, 'sequence ' || relname, concat_ws(
        ' ', format_type(seqtypid, null), 'start', seqstart, 'increment', seqincrement, 'min', seqmin, 'max', seqmax,
        'cache', seqcache, case when seqcycle then 'cycle' end
    )
    from own join pg_sequence on seqrelid = own.oid
    union all
    select relname, 'relation ' || relname, concat_ws(' ', relkind::text, pg_get_viewdef(oid))
    from own where relkind not in ('r', 'p', 'i', 'I', 'S')
    union all
    select typname, 'type ' || typname, typtype::text
    from pg_type where typnamespace = 'public'::regnamespace and typtype in ('e', 'd', 'r')
    and not exists (select from pg_depend where objid = pg_type.oid and deptype = 'e')
    union all
    select stxname, 'statistics ' || stxname, pg_get_statisticsobjdef(oid)
    from pg_statistic_ext where stxnamespace = 'public'::regnamespace
""")
"""All objects of a database that tables.py can declare. Partitions are left out: the program makes them."""

ROUTINES = text("""
    select pg_get_functiondef(oid) from pg_proc
    where pronamespace = 'public'::regnamespace and not exists (
        select from pg_depend where objid = pg_proc.oid and deptype = 'e'
    )
""")
EXTENSIONS = text("select extname from pg_extension")


@dataclass(frozen=True)
class Schema:
    """What a database consists of: each object's definition in PostgreSQL's words, by its table's name and its own."""

    objects: dict[tuple[str, str], str]
    extensions: Sequence[str]
    routines: Sequence[str]


async def read_schema(url: str) -> Schema:
    """Read the schema of a database."""
    async with _connect(url) as connection:
        found = await connection.execute(OBJECTS)
        objects = {(row.belongs_to, row.name): row.definition for row in found}
        extensions = (await connection.scalars(EXTENSIONS)).all()
        return Schema(objects, extensions, (await connection.scalars(ROUTINES)).all())


async def create_all(url: str, tables: MetaData, migrated: Schema) -> None:
    """Create the mapped tables in an empty database, with the functions and extensions that the migrations make."""
    async with _connect(url) as connection:
        await connection.execute(text("set check_function_bodies to off"))
        for extension in migrated.extensions:
            await connection.execute(text(f'create extension if not exists "{extension}"'))
        for routine in migrated.routines:
            await connection.exec_driver_sql(routine)
        await connection.run_sync(tables.create_all)
        await connection.commit()


def _not_valid(tables: MetaData) -> set[tuple[str, str]]:
    """Return the constraints declared NOT VALID. A table just created has none of them: it has no rows."""
    names = postgresql.dialect().identifier_preparer
    return {
        (table.name, f"constraint {table.name}.{names.format_constraint(constraint)}")
        for table in tables.tables.values()
        for constraint in table.constraints
        if constraint.dialect_kwargs.get("postgresql_not_valid")
    }


def differences(migrated: Schema, mapped: Schema, others: Collection[str] = ()) -> list[str]:
    """Return where the two schemas differ, a line each; `others` are tables that are not compared."""
    lines: list[str] = []
    for table, name in sorted(migrated.objects.keys() | mapped.objects.keys()):
        made, said = (schema.objects.get((table, name)) for schema in (migrated, mapped))
        if table in others or made == said:
            continue
        if said is None:
            lines.append(f"{name} is not in tables.py: {made}")
        elif made is None:
            lines.append(f"{name} is not in the migrations: {said}")
        else:
            lines.append(f"{name} is {made} by the migrations, {said} by tables.py")
    return lines


def tables_of(name: str) -> MetaData:
    """Return the tables that a service maps; for `messaging` those that every service has."""
    base: type[MessagingBase] = MessagingBase if name == MESSAGING else import_module(f"{name}.tables").Base
    return base.metadata


def versions_of(name: str) -> Path:
    """Return the folder of a service's migrations; for `messaging` that of those every service has."""
    return SHARED_VERSIONS if name == MESSAGING else services.versions_of(name)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A database that the migrations made, and the schema of the mapped tables to compare it with."""

    url: str
    mapped: Schema
    others: Collection[str]

    @classmethod
    async def of(cls, server: Postgres, name: str, versions: Path, tables: MetaData) -> Self:
        """Make a comparison: migrate one new database, create the mapped tables in another."""
        made = await server.create_role_and_database(f"{name}_migrated")
        said = await server.create_role_and_database(f"{name}_mapped")
        await migrate(made, versions)
        await create_all(said, tables, await read_schema(made))
        mapped = await read_schema(said)
        for constraint in _not_valid(tables):
            mapped.objects[constraint] += " NOT VALID"
        return cls(made, mapped, MessagingBase.metadata.tables.keys() - tables.tables.keys())

    async def differences(self) -> list[str]:
        """Return where the database and the tables differ by now, a line each."""
        return differences(await read_schema(self.url), self.mapped, self.others)


async def compare(server: Postgres, name: str) -> list[str]:
    """Return where one service's migrations and its tables differ, a line each."""
    return await (await Comparison.of(server, name, versions_of(name), tables_of(name))).differences()


def _connect(url: str) -> AsyncConnection:
    return create_async_engine(url, poolclass=NullPool).connect()


async def _compare_all() -> int:
    found = 0
    with tempfile.TemporaryDirectory(prefix="mc-schema-") as folder:
        async with Postgres(Path(folder) / "postgres", FAST) as server:
            for name in (MESSAGING, *NAMES):
                for line in await compare(server, name):
                    sys.stderr.write(f"{name}: {line}\n")
                    found += 1
    return 1 if found else 0


def main() -> int:
    return asyncio.run(_compare_all())


if __name__ == "__main__":
    sys.exit(main())
