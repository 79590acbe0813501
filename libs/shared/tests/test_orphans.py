"""Stored files no row names: nothing is deleted because one of two stores says so."""

import argparse
import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, text

from shared import telemetry
from shared.database import Database
from shared.jobs import Jobs, Work
from shared.messaging.tables import SetAside
from shared.orphans import TRASH_KEPT, files_command, remove_orphans, retry_orphans
from shared.storage import ObjectStorage, StorageUnavailable, open_storage
from shared.store_owner import claim_store, guard_store, installation_id
from shared.testing import StandingClock
from shared.uploads import UploadPolicy

HANDFUL = 3
AGE = timedelta(hours=6)


class Shelf:
    """One database, one store, and the rows that name files."""

    def __init__(self, database: Database, storage: ObjectStorage, clock: StandingClock) -> None:
        policy = UploadPolicy(store="test", named=self.named, longest=AGE, orphan_age=AGE, orphans_at_once=HANDFUL)
        self.work = Work(database, {ObjectStorage: storage, UploadPolicy: policy})
        self.storage, self.clock = storage, clock
        self.rows: set[str] = set()
        self.asked = 0

    async def named(self, _session, keys):
        return self.rows.intersection(keys)

    async def put(self, *keys, named=False):
        for key in keys:
            await self.storage.put(key, pieces(key.encode()))
        if named:
            self.rows.update(keys)

    async def claim(self):
        await claim_store(self.work)

    async def remove(self):
        await remove_orphans(self.work)

    async def files(self):
        return {one.key async for page in self.storage.pages() for one in page}

    async def trash(self):
        return {one.key async for page in self.storage.trashed() for one in page}

    async def set_aside(self):
        async with self.work.database.transaction() as session:
            rows = (await session.scalars(select(SetAside).order_by(SetAside.job))).all()
        return [(row.job, row.row_key, row.last_error.partition("(")[0]) for row in rows]

    async def command(self, action):
        chosen = argparse.Namespace(action=action, by="Ada", reason="the database is the right one")
        return await files_command(lambda: self.work.resources).run(self.work.database, chosen)


async def pieces(content):
    yield content


@pytest.fixture
async def shelf(payments, storage):
    clock = StandingClock()
    clock.at = datetime.now(UTC) + AGE + timedelta(hours=1)  # the stores have clocks of their own
    database = Database(payments.url, "payments", wakeup=payments.wakeup, clock=clock)
    yield Shelf(database, storage, clock)
    await database.dispose()


async def another_database(shelf):
    """The same store under a database that was made anew."""
    async with shelf.work.database.transaction() as session:
        await session.execute(text("update installation set installation_id = gen_random_uuid()"))
    shelf.rows.clear()


async def test_an_orphan_goes_into_the_trash_and_is_deleted_after_thirty_days(shelf):
    await shelf.claim()
    await shelf.put("kept", named=True)
    await shelf.put("a", "b")
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"kept"}, {"a", "b"})
    shelf.clock.at += TRASH_KEPT
    await shelf.remove()
    assert await shelf.trash() == {"a", "b"}
    shelf.clock.at += timedelta(days=1)
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"kept"}, set())


async def test_a_young_file_stays(shelf):
    await shelf.claim()
    await shelf.put("coming")
    shelf.clock.at = datetime.now(UTC)
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"coming"}, set())


async def test_a_file_in_the_trash_that_is_named_again_comes_back(shelf):
    await shelf.claim()
    await shelf.put("work")
    await shelf.remove()
    shelf.rows.add("work")  # the database was restored to when it was
    shelf.clock.at += 2 * TRASH_KEPT
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"work"}, set())
    assert b"".join([chunk async for chunk in await shelf.storage.open("work")]) == b"work"


async def test_more_than_a_handful_is_refused_counted_and_shown(shelf, caplog):
    await shelf.claim()
    names = {f"file {n}" for n in range(HANDFUL + 1)}
    await shelf.put(*names)
    refused = telemetry.rows_failed.labels("remove_orphans")._value.get()
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == (names, set())
    assert await shelf.set_aside() == [("remove_orphans", "test", "TooManyOrphans")]
    assert telemetry.rows_failed.labels("remove_orphans")._value.get() == refused + 1
    assert telemetry.orphaned_files.labels("test")._value.get() == HANDFUL + 1
    assert "row set aside" in caplog.text

    assert await shelf.command("trash") == 0  # a person has looked
    assert (await shelf.files(), await shelf.trash()) == (set(), names)
    await retry_orphans(shelf.work)
    assert await shelf.set_aside() == []
    assert telemetry.orphaned_files.labels("test")._value.get() == 0


async def test_nothing_goes_from_the_store_of_another_installation(shelf, capsys):
    await shelf.claim()
    await shelf.put("a", named=True)
    await another_database(shelf)
    await shelf.claim()
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"a"}, set())
    assert await shelf.set_aside() == [
        ("claim_store", "test", "ForeignStore"),
        ("remove_orphans", "test", "ForeignStore"),
    ]
    with pytest.raises(StorageUnavailable, match="another installation"):
        await shelf.put("b")
    assert await shelf.command("trash") == 1
    await retry_orphans(shelf.work)
    assert len(await shelf.set_aside()) == 2, "its pause is not over"
    assert await shelf.command("claim") == 0  # a person knows better
    await shelf.claim()
    await shelf.put("b")
    await shelf.command("show")
    assert "belongs to this installation; 2 files named by no row; 0 in the trash" in capsys.readouterr().out
    await retry_orphans(shelf.work)  # the next minute, and not the next round after the pause
    assert await shelf.set_aside() == []
    assert (await shelf.files(), await shelf.trash()) == (set(), {"a", "b"})
    await shelf.put("c")
    await retry_orphans(shelf.work)
    assert await shelf.files() == {"c"}, "nothing is set aside: the next round sees to it"


async def test_a_store_nobody_claimed_is_ours_only_where_our_rows_name_what_it_holds(shelf):
    await shelf.put("a", "b", "c")
    await shelf.claim()
    assert await shelf.storage.owner() is None
    await shelf.remove()
    assert await shelf.files() == {"a", "b", "c"}
    shelf.rows |= {"a", "b"}
    shelf.clock.at += timedelta(hours=1)
    await shelf.claim()
    assert await shelf.storage.owner() == await installation_id(shelf.work.database)
    await shelf.remove()
    assert (await shelf.files(), await shelf.trash()) == ({"a", "b"}, {"c"})


async def test_a_process_that_starts_while_the_store_is_set_aside_puts_nothing_into_it(shelf, folder_of_another):
    """Nor does one that another replica was quicker than: each looks for itself."""
    first, second = (folder_of_another(shelf) for _ in range(2))
    await claim_store(first)
    assert await shelf.set_aside() == [("claim_store", "test", "ForeignStore")]
    for one in (first, second):
        guard_store(one)  # as a process does at its start
        with pytest.raises(StorageUnavailable, match="another installation"):
            await one.resource(ObjectStorage).put("work", pieces(b"x"))
    async with asyncio.TaskGroup() as group:
        jobs = Jobs()
        jobs.every(60, in_each_process=True)(claim_store)
        running = [group.create_task(jobs.run(one)) for one in (first, second)]
        await asyncio.sleep(0.5)
        for task in running:
            task.cancel()
    assert await first.resource(ObjectStorage).owner() == "another"
    assert [one async for page in first.resource(ObjectStorage).pages() for one in page] == []

    ours = await installation_id(shelf.work.database)
    await first.resource(ObjectStorage).claim(ours, anew=True)
    await second.resource(ObjectStorage).put("work", pieces(b"x"))  # at once, without waiting for the next minute
    await claim_store(first)
    assert await shelf.set_aside() == []
    assert first.resource(ObjectStorage).stranger is None


async def test_a_store_that_becomes_another_ones_is_left_within_a_minute(shelf, folder_of_another):
    work = folder_of_another(shelf)
    storage = work.resource(ObjectStorage)
    await storage.claim(await installation_id(shelf.work.database), anew=True)
    guard_store(work)
    await storage.put("work", pieces(b"x"))
    await storage.claim("another", anew=True)
    await claim_store(work)
    with pytest.raises(StorageUnavailable, match="another installation"):
        await storage.put("more", pieces(b"x"))


@pytest.fixture
async def folder_of_another(tmp_path):
    """What a process works with whose file store is another installation's folder."""
    url = f"file://{tmp_path}/another"
    await open_storage(url).claim("another")
    return lambda shelf: Work(shelf.work.database, {**shelf.work.resources, ObjectStorage: open_storage(url)})


async def test_a_store_is_claimed_once(shelf):
    await shelf.storage.claim("first")
    await shelf.storage.claim("second")
    assert await shelf.storage.owner() == "first"


async def test_the_day_a_file_was_put_into_the_trash_is_kept(storage):
    await storage.put("folder/name", pieces(b"x"))
    await storage.trash("folder/name", date(2026, 11, 30))
    [[one]] = [page async for page in storage.trashed()]
    assert (one.key, one.since) == ("folder/name", date(2026, 11, 30))


@pytest.mark.parametrize("content", [b"", b"\n"], ids=["ended line", "two"])
async def test_an_owner_that_a_person_wrote_with_a_line_end_is_the_same(payments, tmp_path, content):
    ours = await installation_id(payments.database)
    (tmp_path / "installation").write_bytes(ours.encode() + b"\n" + content)
    shelf = Shelf(payments.database, open_storage(tmp_path.as_uri()), StandingClock())
    guard_store(shelf.work)
    await shelf.put("work")
    assert await shelf.files() == {"work"}


async def test_an_owner_that_cannot_be_read_is_a_store_that_is_away(payments, tmp_path):
    (tmp_path / "installation").write_bytes(b"\xff\xfe")
    shelf = Shelf(payments.database, open_storage(tmp_path.as_uri()), StandingClock())
    guard_store(shelf.work)
    with pytest.raises(StorageUnavailable):
        await shelf.put("work")
    await shelf.claim()
    await shelf.remove()
    assert await shelf.set_aside() == [
        ("claim_store", "test", "StorageUnavailable"),
        ("remove_orphans", "test", "StorageUnavailable"),
    ]


async def test_what_somebody_else_put_into_the_trash_stays_there_and_stops_nothing(payments, tmp_path):
    shelf = Shelf(payments.database, open_storage(tmp_path.as_uri()), StandingClock())
    await shelf.claim()
    for foreign in ("trash/README", "trash/notaday/k"):
        (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / foreign).write_text("x")
    await shelf.remove()
    assert await shelf.set_aside() == []
    assert await shelf.trash() == set()
    assert (tmp_path / "trash/README").exists()
    assert (tmp_path / "trash/notaday/k").exists()
