"""Migrations: under a lock, older schemas refused, newer compatible ones accepted."""

import asyncio

import pytest

from shared.database import Database
from shared.driver import connect_driver
from shared.ids import new_id
from shared.messaging.outbox import OutboxNotifier
from shared.migrate import LOCK, Revisions, migrate
from shared.process import Process

from .processes import service_of

REVISION = """
from alembic import op

revision = "{name}_{number}"
down_revision = {down}
branch_labels = {label}
depends_on = None


def upgrade():
    op.execute("select pg_sleep(0.3)")
    op.execute("create table t{number} (id integer)")
"""


async def is_migrated(database, versions):
    return await Revisions(versions).fit(database.messaging)


def write_versions(folder, count, name="t"):
    folder.mkdir(exist_ok=True)
    for number in range(1, count + 1):
        content = REVISION.format(
            name=name,
            number=number,
            down=f'"{name}_{number - 1}"' if number > 1 else None,
            label=f'("{name}",)' if number == 1 else None,
        )
        (folder / f"{number}.py").write_text(content)
    return folder


@pytest.fixture
async def database(make_database):
    made = Database(await make_database(f"migrate_{new_id().hex[-12:]}"), "t", notifier=OutboxNotifier())
    yield made
    await made.dispose()


async def test_two_migrators_at_once_both_succeed_and_migrate_once(database, tmp_path):
    versions = write_versions(tmp_path / "v", 2)
    await asyncio.gather(*(migrate(database.url, versions) for _ in range(2)))
    assert await is_migrated(database, versions)


async def test_a_migrator_waits_for_a_long_one_beyond_the_roles_statement_timeout(database, tmp_path):
    versions = write_versions(tmp_path / "v", 1)
    holder = await connect_driver(database.url)
    await holder.execute("select pg_advisory_lock($1)", LOCK)
    migrating = asyncio.create_task(migrate(database.url, versions))
    await asyncio.sleep(6)  # the role's limits: statements 5 s, locks 1 s
    assert not migrating.done()
    await holder.close()
    await migrating
    assert await is_migrated(database, versions)


async def test_a_migrator_that_dies_leaves_no_lock_behind(database, tmp_path):
    versions = write_versions(tmp_path / "v", 2)
    migrating = asyncio.create_task(migrate(database.url, versions))
    await asyncio.sleep(0.3)
    migrating.cancel()
    await asyncio.gather(migrating, return_exceptions=True)
    async with asyncio.timeout(20):
        await migrate(database.url, versions)
    assert await is_migrated(database, versions)


async def test_a_schema_that_was_never_made_or_is_older_is_refused_and_a_newer_one_accepted(database, tmp_path):
    this = write_versions(tmp_path / "this", 2)
    assert not await is_migrated(database, this)
    await migrate(database.url, write_versions(tmp_path / "previous", 1))
    assert not await is_migrated(database, this)
    await migrate(database.url, write_versions(tmp_path / "next", 3))
    assert await is_migrated(database, this)


async def test_a_newer_branch_does_not_excuse_an_older_one(database, tmp_path):
    """The service's own tables are a release ahead, the messaging tables a release behind."""
    this = write_versions(tmp_path / "this", 1)
    await migrate(database.url, write_versions(tmp_path / "next", 2))
    connection = await connect_driver(database.url)
    await connection.execute(
        "update alembic_version set version_num = 'messaging_1' where version_num like 'messaging%'"
    )
    await connection.close()
    assert not await is_migrated(database, this)


async def test_a_branch_that_another_depends_on_counts_as_present(database, tmp_path):
    for release, count in {"this": 2, "next": 3}.items():
        first = write_versions(tmp_path / release, count) / "1.py"
        first.write_text(first.read_text().replace("depends_on = None", 'depends_on = "messaging_2"'))
        await migrate(database.url, tmp_path / release)
        assert await is_migrated(database, tmp_path / "this")


async def test_a_service_does_not_start_on_an_older_schema(database, tmp_path):
    process = Process(service_of("payments", database.url, mail_folder=str(tmp_path), amqp_url="amqp://nobody/"))
    with pytest.raises(RuntimeError, match="run `migrate` first"):
        await process.run(asyncio.Event())
    await process.http.aclose()
    await process.database.dispose()
