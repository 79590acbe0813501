"""The tables that the code maps are those the migrations make, and a difference of any kind is seen."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.ext.asyncio import create_async_engine

from embedded.schema import MESSAGING, Comparison, differences, read_schema, tables_of, versions_of
from embedded.services import NAMES
from embedded.write_migration import Unwritten, comparing, write_migration
from shared.migrate import SHARED_VERSIONS, migrate

CHANGES = {
    "column turns.more": "alter table turns add column more text",
    "column letters.subject": "alter table letters alter column subject drop not null",
    "column letters.attempts": "alter table letters alter column attempts set default 1",
    "column parked_messages.reason": "alter table parked_messages alter column reason type varchar",
    "column inbox.type": "comment on column inbox.type is 'of the event'",
    "constraint installation.ck_installation_only_one": "alter table installation drop constraint ck_installation_only_one",
    "constraint turns.ck_turns_name": "alter table turns add constraint ck_turns_name check (name <> '') not valid",
    "constraint feed_epochs.uq_feed_epochs_epoch": "alter table feed_epochs drop constraint uq_feed_epochs_epoch",
    "constraint turns.one": "alter table turns add constraint one exclude using btree (holder with =)",
    "index inbox.ix_inbox_handled_at": "drop index ix_inbox_handled_at",
    "index letters.ix_letters_due": (
        "drop index ix_letters_due; create index ix_letters_due on letters (due_at) where sent_at is null"
    ),
    "sequence numbers": "create sequence numbers",
    "table set_aside_rows": "alter table set_aside_rows set (fillfactor = 70)",
    "table left_over": "create table left_over ()",
    "relation seen": "create view seen as select name from turns",
    "type mood": "create type mood as enum ('good')",
    "statistics of_letters": "create statistics of_letters on kind, about from letters",
}


def seen_by_alembic(connection, tables):
    context = MigrationContext.configure(connection, opts=comparing(tables))
    return compare_metadata(context, tables)


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")  # SQLAlchemy has no words for either
@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")  # a constraint that is not valid
@pytest.mark.parametrize("name", [MESSAGING, *NAMES])
async def test_the_mapped_tables_are_those_the_migrations_make(running, name):
    comparison = await Comparison.of(running, name, versions_of(name), tables_of(name))
    assert await comparison.differences() == []
    engine = create_async_engine(comparison.url)
    async with engine.connect() as connection:  # nor would a migration that is written do any more than was changed
        assert await connection.run_sync(seen_by_alembic, tables_of(name)) == []
    await engine.dispose()


async def test_a_difference_of_any_kind_is_seen(running):
    url = await running.create_role_and_database("changed")
    await migrate(url, SHARED_VERSIONS)
    before = await read_schema(url)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in "; ".join(CHANGES.values()).split("; "):
            await connection.execute(text(statement))
    await engine.dispose()
    lines = differences(before, await read_schema(url))
    assert sorted(" ".join(line.split()[:2]) for line in lines) == sorted(CHANGES)
    assert differences(before, before) == []


@pytest.fixture
def versions(tmp_path):
    """A copy of the catalogue's migrations, to write into."""
    return shutil.copytree(versions_of("catalogue"), tmp_path / "versions")


@pytest.fixture
def tables():
    """A copy of the catalogue's tables, to change."""
    copy = MetaData(naming_convention=tables_of("catalogue").naming_convention)
    for table in tables_of("catalogue").tables.values():
        table.to_metadata(copy)
    return copy


async def test_a_migration_is_written_that_leaves_nothing_undone(postgres, versions, tables):
    await postgres.start()
    Table(
        "remarks",
        tables,
        Column("remark_id", Uuid, primary_key=True),
        Column("course_id", Uuid, ForeignKey("courses.course_id", ondelete="CASCADE"), nullable=False),
        Column("text", Text, nullable=False, server_default=""),
        Column("position", Integer, unique=True),
        CheckConstraint("position > 0", name="position"),
        Index(None, "course_id", postgresql_where=text("position is not null")),
    )
    tables.tables["courses"].append_column(Column("remarks_until", Integer, index=True))
    with pytest.raises(Unwritten, match="a name"):
        await write_migration(postgres, "catalogue", "Remarks!", versions, tables)
    written = await write_migration(postgres, "catalogue", "create_remarks", versions, tables)
    assert written.undone == []
    assert written.path.parent == versions
    assert written.path.name.endswith("_create_remarks.py")
    assert "downgrade" not in written.path.read_text()
    with pytest.raises(Unwritten, match="of this name"):
        await write_migration(postgres, "catalogue", "create_remarks", versions, tables)
    with pytest.raises(Unwritten, match="make what"):
        await write_migration(postgres, "catalogue", "more", versions, tables)


async def test_what_a_written_migration_leaves_undone_is_said(postgres, versions, tables):
    await postgres.start()
    tables.tables["courses"].append_constraint(CheckConstraint("code <> ''", name="code"))
    written = await write_migration(postgres, "catalogue", "hold_codes", versions, tables)
    assert [line.split()[1] for line in written.undone] == ["courses.ck_courses_code"]


def repeated(tables: MetaData) -> list[str]:
    """Return the indexes whose columns are the first ones of another: every write pays for them, and no read needs
    them."""
    found: list[str] = []
    for table in tables.tables.values():
        keys = [[*constraint.columns.keys()] for constraint in table.constraints if isinstance(constraint, UNIQUE)]
        plain = [
            index
            for index in table.indexes
            if all(isinstance(one, Column) for one in index.expressions)
            and index.dialect_kwargs.get("postgresql_where") is None
            and index.dialect_kwargs.get("postgresql_using") in {None, False, "btree"}
        ]
        ways = [*keys, *([*index.columns.keys()] for index in plain)]
        for index in plain:
            own = [*index.columns.keys()]
            if not index.unique and any(way[: len(own)] == own and len(way) > len(own) for way in ways):
                found.append(f"{table.name}: {own}")
    return found


UNIQUE = (PrimaryKeyConstraint, UniqueConstraint)


@pytest.mark.parametrize("name", [MESSAGING, *NAMES])
def test_no_index_repeats_the_first_columns_of_another(name):
    assert repeated(tables_of(name)) == []


def test_a_repeated_index_is_found(tables):
    courses = tables.tables["courses"].c
    Index("ix_new", courses.code)
    Index("ix_newer", courses.code, courses.course_id)
    assert repeated(tables) == ["courses: ['code']"]
