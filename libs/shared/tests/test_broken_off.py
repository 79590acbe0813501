"""A migration that is broken off, wherever, is only begun again: what it has committed by then may be done twice.

A revision is one transaction, unless it has an autocommit block, which commits what stands before it and each of its
own statements.
"""

import contextlib
import re
import runpy
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from embedded.services import NAMES, versions_of
from shared.ids import new_id
from shared.migrate import SHARED_VERSIONS, configuration, migrate

FOLDERS = {"shared": SHARED_VERSIONS} | {name: versions_of(name) for name in NAMES}
OF_A_SERVICE = "catalogue"  # where nothing but the shared revisions is looked at


class Outside:
    """Stands for `alembic.op`: keeps the statements that are committed one by one."""

    def __init__(self):
        self.committed, self.said, self.inside = [], [], False

    def execute(self, statement):
        self.said.append(str(statement))

    def get_context(self):
        return self

    @contextlib.contextmanager
    def autocommit_block(self):
        yield
        self.committed, self.said = [*self.committed, *self.said], []

    def __getattr__(self, name):
        return lambda *_arguments, **_named: self.said.append(f"op.{name}")


def committed_by(file: Path) -> tuple[str, str | None, list[str]]:
    """The revision, the one before it, and the statements it commits before it is written down."""
    module = runpy.run_path(str(file))
    module["upgrade"].__globals__["op"] = outside = Outside()
    module["upgrade"]()
    return module["revision"], module["down_revision"], outside.committed


BROKEN_INTO = [
    pytest.param(folder, *found, id=found[0])
    for name, folder in FOLDERS.items()
    for file in sorted(folder.glob("*.py"))
    if (found := committed_by(file))[2]
]

REPEATABLE = (
    r"set \w+ to ",
    r"create (table|index|sequence) (concurrently )?if not exists ",
    r"create or replace ",
    r"drop \w+ (concurrently )?if exists ",
    r"alter table \w+ (add column if not exists|drop (column|constraint) if exists|validate constraint) ",
    r"update .* where ",
)
"""How a statement begins that may be done twice."""


def is_repeatable(statement: str, before: list[str]) -> bool:
    flat = " ".join(line for line in statement.split("\n") if not line.strip().startswith("--")).split()
    words = " ".join(flat).lower()
    if any(re.match(one, words) for one in REPEATABLE):
        return True
    if made := re.match(r"create (?:unique )?index concurrently (\w+) ", words):  # half made, it is there and invalid
        return any(f"drop index concurrently if exists {made[1]}" in one for one in before)
    if words.startswith("do $$"):  # one transaction: what it adds it takes away first
        added = re.findall(r"add constraint (\w+)", words)
        return bool(added) and all(
            f"drop constraint if exists {one}" in words.split("add constraint")[0] for one in added
        )
    return False


def test_some_revisions_are_looked_at():
    assert {"messaging_6", "messaging_8"} <= {one.id for one in BROKEN_INTO}


@pytest.mark.parametrize(("folder", "revision", "before", "statements"), BROKEN_INTO)
def test_what_a_revision_commits_by_and_by_may_be_done_twice(folder, revision, before, statements):
    for number, statement in enumerate(statements):
        assert is_repeatable(statement, statements[:number]), f"{revision}: {statement}"


def test_the_look_at_statements_can_fail():
    assert not is_repeatable("create table feed_epochs (number bigint)", [])
    assert not is_repeatable("create index concurrently ix_a on a (b)", ["drop index concurrently if exists ix_b"])
    assert not is_repeatable("op.add_column", [])


class BrokenOff(Exception):
    pass


async def upgrade(url, folder, revision, *, stop_after=None):
    """Up to this revision; broken off after that many statements."""
    engine = create_async_engine(url, poolclass=NullPool)
    said = 0

    def count(*_):
        nonlocal said
        if said == stop_after:
            raise BrokenOff
        said += 1

    def run(connection):
        config = configuration(folder)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    try:
        async with engine.connect() as connection:
            await connection.execute(text("set statement_timeout to '60s'"))
            await connection.commit()
            event.listen(engine.sync_engine, "before_cursor_execute", count)
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()
    return said


@pytest.mark.parametrize(("folder", "revision", "before", "statements"), BROKEN_INTO)
async def test_a_revision_broken_off_at_any_statement_is_done_by_the_next_start(
    folder, revision, before, statements, make_database
):
    own = versions_of(OF_A_SERVICE) if folder == SHARED_VERSIONS else folder
    url = await make_database(f"broken_{new_id().hex[-12:]}")
    if before is not None:
        await upgrade(url, own, before)
    stop_after = 0
    while True:  # on one database: what each try leaves is what the next one finds
        try:
            await upgrade(url, own, revision, stop_after=stop_after)
        except BrokenOff:
            stop_after += 1
        else:
            break
    assert stop_after > len(statements)
    await migrate(url, own)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        assert not await connection.scalar(text("select count(*) from pg_index where not indisvalid"))
    await engine.dispose()
