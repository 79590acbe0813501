"""Stored files no row names: nothing is deleted because one of two stores says so."""

import asyncio
import os
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from embedded import ports
from shared import telemetry
from shared.cli import report_errors
from shared.jobs import Jobs, Work
from shared.orphans import TRASH_KEPT, retry_orphans
from shared.storage import ObjectStorage, StorageUnavailable, open_storage
from shared.store_owner import claim_store, guard_store, installation_id
from shared.testing.services import FrozenClock

from .stores import AGE, HANDFUL, ResponseCache, pieces


async def another_database(response_cache):
    """The same store under a database that was made anew."""
    async with response_cache.work.database.transaction() as session:
        await session.execute(text("update installation set installation_id = gen_random_uuid()"))
    response_cache.rows.clear()


async def test_two_replicas_at_once_move_what_either_has_found(response_cache, monkeypatch):
    """Both have listed it before either moves it."""

    def meet(name):
        move, both = getattr(response_cache.storage, name), asyncio.Barrier(2)

        async def at_once(*arguments):
            await both.wait()
            await move(*arguments)

        monkeypatch.setattr(response_cache.storage, name, at_once)

    meet("trash")
    meet("put_back")
    await response_cache.claim()
    await response_cache.put("a")
    await asyncio.gather(response_cache.remove(), response_cache.remove())
    assert (await response_cache.files(), await response_cache.trash(), await response_cache.set_aside()) == (
        set(),
        {"a"},
        [],
    )
    response_cache.rows.add("a")
    await asyncio.gather(response_cache.remove(), response_cache.remove())
    assert (await response_cache.files(), await response_cache.trash(), await response_cache.set_aside()) == (
        {"a"},
        set(),
        [],
    )


async def test_an_orphan_goes_into_the_trash_and_is_deleted_after_thirty_days(response_cache):
    await response_cache.claim()
    await response_cache.put("kept", named=True)
    await response_cache.put("a", "b")
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"kept"}, {"a", "b"})
    response_cache.clock.at += TRASH_KEPT
    await response_cache.remove()
    assert await response_cache.trash() == {"a", "b"}
    response_cache.clock.at += timedelta(days=1)
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"kept"}, set())


async def test_a_young_file_stays(response_cache):
    await response_cache.claim()
    await response_cache.put("coming")
    response_cache.clock.at = datetime.now(UTC)
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"coming"}, set())


async def test_a_file_in_the_trash_that_is_named_again_comes_back(response_cache):
    await response_cache.claim()
    await response_cache.put("work")
    await response_cache.remove()
    response_cache.rows.add("work")  # the database was restored to when it was
    response_cache.clock.at += 2 * TRASH_KEPT
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"work"}, set())
    assert b"".join([chunk async for chunk in await response_cache.storage.open("work")]) == b"work"


async def test_more_than_a_handful_is_refused_counted_and_shown(response_cache, caplog):
    await response_cache.claim()
    names = {f"file {n}" for n in range(HANDFUL + 1)}
    await response_cache.put(*names)
    refused = telemetry.rows_failed.labels("remove_orphans")._value.get()
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == (names, set())
    assert await response_cache.set_aside() == [("remove_orphans", "test", "TooManyOrphans")]
    assert telemetry.rows_failed.labels("remove_orphans")._value.get() == refused + 1
    assert telemetry.orphaned_files.labels("test")._value.get() == HANDFUL + 1
    assert "row set aside" in caplog.text

    assert await response_cache.command("trash") == 0  # a person has looked
    assert (await response_cache.files(), await response_cache.trash()) == (set(), names)
    await retry_orphans(response_cache.work)
    assert await response_cache.set_aside() == []
    assert telemetry.orphaned_files.labels("test")._value.get() == 0


async def test_nothing_goes_from_the_store_of_another_installation(response_cache, capsys):
    await response_cache.claim()
    await response_cache.put("a", named=True)
    await another_database(response_cache)
    await response_cache.claim()
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"a"}, set())
    assert await response_cache.set_aside() == [
        ("claim_store", "test", "ForeignStore"),
        ("remove_orphans", "test", "ForeignStore"),
    ]
    with pytest.raises(StorageUnavailable, match="of this installation is not there"):
        await response_cache.put("b")
    assert await response_cache.command("trash") == 1
    await retry_orphans(response_cache.work)
    assert len(await response_cache.set_aside()) == 2, "its pause is not over"
    assert await response_cache.command("claim") == 0  # a person knows better
    await response_cache.claim()
    await response_cache.put("b")
    await response_cache.command("show")
    assert (
        "belongs to this installation; 2 files named by no row; 0 parts of uploads cut off; 0 in the trash"
        in capsys.readouterr().out
    )
    await retry_orphans(response_cache.work)  # the next minute, and not the next round after the pause
    assert await response_cache.set_aside() == []
    assert (await response_cache.files(), await response_cache.trash()) == (set(), {"a", "b"})
    await response_cache.put("c")
    await retry_orphans(response_cache.work)
    assert await response_cache.files() == {"c"}, "nothing is set aside: the next round sees to it"


async def test_a_store_nobody_claimed_is_ours_only_where_our_rows_name_what_it_holds(response_cache):
    await response_cache.put("a", "b", "c")
    await response_cache.claim()
    assert await response_cache.storage.owner() is None
    await response_cache.remove()
    assert await response_cache.files() == {"a", "b", "c"}
    response_cache.rows |= {"a", "b"}
    response_cache.clock.at += timedelta(hours=1)
    await response_cache.claim()
    assert await response_cache.storage.owner() == await installation_id(response_cache.work.database)
    await response_cache.remove()
    assert (await response_cache.files(), await response_cache.trash()) == ({"a", "b"}, {"c"})


async def test_a_process_that_starts_while_the_store_is_set_aside_puts_nothing_into_it(
    response_cache, folder_of_another
):
    """Nor does one that another replica was quicker than: each looks for itself."""
    first, second = (folder_of_another(response_cache) for _ in range(2))
    await claim_store(first)
    assert await response_cache.set_aside() == [("claim_store", "test", "ForeignStore")]
    for one in (first, second):
        guard_store(one)  # as a process does at its start
        with pytest.raises(StorageUnavailable, match="of this installation is not there"):
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

    ours = await installation_id(response_cache.work.database)
    await first.resource(ObjectStorage).claim(ours, anew=True)
    await second.resource(ObjectStorage).put("work", pieces(b"x"))  # at once, without waiting for the next minute
    await claim_store(first)
    assert await response_cache.set_aside() == []
    assert first.resource(ObjectStorage).stranger is None


async def test_a_store_that_becomes_another_ones_is_left_within_a_minute(response_cache, folder_of_another):
    work = folder_of_another(response_cache)
    storage = work.resource(ObjectStorage)
    await storage.claim(await installation_id(response_cache.work.database), anew=True)
    guard_store(work)
    await storage.put("work", pieces(b"x"))
    await storage.claim("another", anew=True)
    await claim_store(work)
    with pytest.raises(StorageUnavailable, match="of this installation is not there"):
        await storage.put("more", pieces(b"x"))


@pytest.fixture
async def folder_of_another(tmp_path):
    """What a process works with whose file store is another installation's folder."""
    url = f"file://{tmp_path}/another"
    await open_storage(url).claim("another")
    return lambda response_cache: Work(
        response_cache.work.database, {**response_cache.work.resources, ObjectStorage: open_storage(url)}
    )


async def test_a_store_is_claimed_once(response_cache):
    await response_cache.storage.claim("first")
    await response_cache.storage.claim("second")
    assert await response_cache.storage.owner() == "first"


async def test_the_day_a_file_was_put_into_the_trash_is_kept(storage):
    await storage.put("folder/name", pieces(b"x"))
    await storage.trash("folder/name", date(2026, 11, 30))
    [[one]] = [page async for page in storage.trashed()]
    assert (one.key, one.since) == ("folder/name", date(2026, 11, 30))


@pytest.mark.parametrize("content", [b"", b"\n"], ids=["ended line", "two"])
async def test_an_owner_that_a_person_wrote_with_a_line_end_is_the_same(payments, tmp_path, content):
    ours = await installation_id(payments.database)
    (tmp_path / "installation").write_bytes(ours.encode() + b"\n" + content)
    response_cache = ResponseCache(payments.database, open_storage(tmp_path.as_uri()), FrozenClock())
    guard_store(response_cache.work)
    await response_cache.put("work")
    assert await response_cache.files() == {"work"}


async def test_an_owner_that_cannot_be_read_is_a_store_that_is_away(payments, tmp_path):
    (tmp_path / "installation").write_bytes(b"\xff\xfe")
    response_cache = ResponseCache(payments.database, open_storage(tmp_path.as_uri()), FrozenClock())
    guard_store(response_cache.work)
    with pytest.raises(StorageUnavailable):
        await response_cache.put("work")
    await response_cache.claim()
    await response_cache.remove()
    assert await response_cache.set_aside() == [
        ("claim_store", "test", "StorageUnavailable"),
        ("remove_orphans", "test", "StorageUnavailable"),
    ]


async def test_what_somebody_else_put_into_the_trash_stays_there_and_stops_nothing(payments, tmp_path):
    response_cache = ResponseCache(payments.database, open_storage(tmp_path.as_uri()), FrozenClock())
    await response_cache.claim()
    for foreign in ("trash/README", "trash/notaday/k"):
        (tmp_path / foreign).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / foreign).write_text("x")
    await response_cache.remove()
    assert await response_cache.set_aside() == []
    assert await response_cache.trash() == set()
    assert (tmp_path / "trash/README").exists()
    assert (tmp_path / "trash/notaday/k").exists()


@pytest.mark.parametrize("action", ["show", "claim", "trash"])
@pytest.mark.parametrize("store", ["missing bucket", "server away", "folder is a file"])
async def test_the_command_says_in_a_line_that_the_store_is_not_there(
    payments, s3, tmp_path, monkeypatch, capsys, store, action
):
    away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports.suggest(1)}"} if store == "server away" else {}
    for name, value in {**s3, **away}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shared.storage.RETRIED_FOR", timedelta(seconds=0.2))
    (tmp_path / "file").touch()
    url = f"file://{tmp_path}/file" if store == "folder is a file" else "s3://no-such-bucket"
    response_cache = ResponseCache(payments.database, open_storage(url), FrozenClock())
    assert await report_errors(response_cache.command(action)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert re.fullmatch("the file store cannot be (read|listed) .*|nothing can be stored .*|.*: claim it first", line)


@pytest.mark.parametrize("action", ["remove", "trash"])
async def test_parts_of_uploads_that_a_crash_cut_off_are_counted_and_deleted(payments, tmp_path, capsys, action):
    """However many they are: no database can name them. One that still grows stays."""
    response_cache = ResponseCache(payments.database, open_storage(tmp_path.as_uri()), FrozenClock())
    response_cache.clock.at = datetime.now(UTC)
    await response_cache.claim()
    await response_cache.put("work", named=True)
    old = response_cache.clock.at - AGE - timedelta(minutes=1)
    for number in range(2 * HANDFUL):
        part = tmp_path / f"{number}#1"
        part.write_bytes(b"the beginning of somebody's work")
        os.utime(part, (old.timestamp(), old.timestamp()))
    (tmp_path / "growing#1").touch()
    await response_cache.command("show")
    assert f"{2 * HANDFUL} parts of uploads cut off" in capsys.readouterr().out
    await (response_cache.remove() if action == "remove" else response_cache.command("trash"))
    assert {one.name for one in tmp_path.glob("*#1")} == {"growing#1"}
    assert (await response_cache.files(), await response_cache.trash()) == ({"work"}, set())
    await response_cache.command("show")
    assert "0 files named by no row; 0 parts of uploads cut off" in capsys.readouterr().out


async def test_no_part_goes_from_the_store_of_another_installation(payments, tmp_path):
    response_cache = ResponseCache(payments.database, open_storage(tmp_path.as_uri()), FrozenClock())
    await response_cache.claim()
    await another_database(response_cache)
    (tmp_path / "theirs#1").touch()
    response_cache.clock.at = datetime.now(UTC) + 2 * AGE
    await response_cache.remove()
    assert (tmp_path / "theirs#1").exists()
