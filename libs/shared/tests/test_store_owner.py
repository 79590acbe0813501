"""Whose a file store is: nothing is stored beside a volume that is not mounted, or in a bucket somebody emptied."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import obstore
import pytest
from obstore.store import S3Store
from sqlalchemy import text

from shared.database import Database
from shared.orphans import retry_orphans
from shared.storage import StorageUnavailable, open_storage
from shared.store_owner import claimed_at, guard_store, installation_id
from shared.testing.services import FrozenClock

from .object_stores import BUCKET
from .stores import ResponseCache


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the store's volume is mounted."""
    (tmp_path / "files").mkdir()
    return tmp_path / "files" / "submissions"


@pytest.fixture
async def start(payments, folder):
    """Starts a process anew, on the same database and rows."""
    clock = FrozenClock()
    clock.at = datetime.now(UTC) + timedelta(days=1)  # the stores have clocks of their own
    database = Database(payments.url, "payments", notifier=payments.notifier, clock=clock)
    rows: set[str] = set()

    def anew(url: str | None = None) -> ResponseCache:
        process = ResponseCache(database, open_storage(url or folder.as_uri()), clock)
        process.rows = rows
        guard_store(process.work)
        return process

    yield anew
    await database.dispose()


def unmount(folder: Path, mount_point: str = "empty") -> Path:
    """Return where what the folder held is now; in its place is nothing, or the folder below the mount point."""
    away = folder.rename(folder.with_name("elsewhere"))
    if mount_point == "empty":
        folder.mkdir()
    return away


def mount(away: Path, folder: Path) -> None:
    if folder.exists():
        folder.rmdir()  # which fails where something was stored in it
    away.rename(folder)


async def refuses(process: ResponseCache) -> None:
    with pytest.raises(StorageUnavailable, match="of this installation is not there") as refusal:
        await process.put("more")
    assert (refusal.value.status, refusal.value.code) == (503, "storage_unavailable")


async def test_a_first_start_makes_the_folder_and_is_remembered(start, folder):
    process = start()
    assert await process.command("show") == 0
    assert not folder.exists(), "looking makes nothing"
    await process.put("work", named=True)
    assert (folder / "work").read_bytes() == b"work"
    assert await claimed_at(process.work.database)
    await start().put("more")


@pytest.mark.parametrize("mount_point", ["missing", "empty"])
@pytest.mark.parametrize("uploaded", [True, False], ids=["after uploads", "before any upload"])
async def test_a_volume_that_is_not_mounted_at_a_restart_is_no_new_store(start, folder, mount_point, uploaded):
    before = start()
    await before.claim()
    if uploaded:
        await before.put("work", named=True)
    away = unmount(folder, mount_point)
    process = start()
    await refuses(process)
    await process.claim()
    await process.remove()
    assert await process.set_aside() == [
        ("claim_store", "test", "ForeignStore"),
        ("remove_orphans", "test", "ForeignStore"),
    ]
    await refuses(process)
    mount(away, folder)
    await process.put("more")  # at once, without waiting for the next minute
    process.clock.at += timedelta(minutes=5)
    await process.claim()
    await retry_orphans(process.work)
    assert await process.set_aside() == []
    assert (await process.files()) - {"work"} == set(), "a file no row names has gone into the trash"
    assert uploaded == ("work" in await process.files())


@pytest.mark.parametrize("mount_point", ["missing", "empty"])
async def test_a_volume_that_goes_between_two_uploads_takes_none(start, folder, mount_point):
    process = start()
    await process.put("work", named=True)
    away = unmount(folder, mount_point)
    await refuses(process)
    mount(away, folder)
    await process.put("more")
    assert await process.files() == {"work", "more"}


@pytest.mark.parametrize("megabytes", [0, 12], ids=["at once", "after two parts"])
@pytest.mark.parametrize("how", ["missing", "empty", "another's", "back again"])
async def test_a_store_that_changes_while_a_file_comes_has_not_received_it(start, folder, how, megabytes):
    process = start()
    await process.put("work", named=True)

    async def changing():
        for _ in range(megabytes):
            yield bytes(1024 * 1024)
        if how == "another's":
            await open_storage(folder.as_uri()).claim("another", anew=True)
        else:
            unmount(folder, how)
        yield b"the end"

    if how == "back again":
        look, looks = process.storage.look, []

        async def look_at_what_is_back():
            looks.append(None)
            if len(looks) == 2:
                folder.rename(folder.with_name("below"))
                mount(folder.with_name("elsewhere"), folder)
            await look()

        process.storage.look = look_at_what_is_back
    with pytest.raises(StorageUnavailable):
        await process.storage.put("more", changing())


async def test_a_database_of_the_release_before_remembers_the_store_it_finds(start, folder):
    await open_storage(folder.as_uri()).claim(await installation_id(start().work.database))
    process = start()
    await process.claim()
    assert await claimed_at(process.work.database)
    unmount(folder)
    await refuses(start())


async def test_a_database_of_the_release_before_whose_rows_name_files_has_no_empty_store(start, folder):
    process = start()
    process.rows.add("work")
    await refuses(process)
    assert not folder.exists()
    process.rows.clear()
    await process.put("work")


async def test_a_person_says_that_a_store_is_new(start, folder, capsys):
    await start().put("work", named=True)
    unmount(folder, "missing")
    process = start()
    await refuses(process)
    assert await process.command("trash") == 1
    assert await process.command("show") == 0
    assert "belongs to nobody, and this installation has had its own since" in capsys.readouterr().out
    assert not folder.exists()
    assert await process.command("claim") == 0
    assert "belongs to this installation; 0 files named by no row" in capsys.readouterr().out
    await process.put("more")
    await start().put("still more")


@pytest.mark.parametrize("how", ["emptied", "another prefix", "no such bucket"])
async def test_a_bucket_emptied_or_a_prefix_changed_is_no_new_store(start, s3, monkeypatch, how):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{BUCKET}/{uuid4()}"
    await start(url).put("work", named=True)
    match how:
        case "emptied":
            store = S3Store.from_url(url)
            paths = [entry["path"] for page in obstore.list(store) for entry in page]
            assert len(paths) == 2
            await obstore.delete_async(store, paths)
        case "another prefix":
            url = f"s3://{BUCKET}/{uuid4()}"
        case _:
            url = "s3://nowhere"
    process = start(url)
    await refuses(process)
    await process.claim()
    assert await process.set_aside() == [("claim_store", "test", "ForeignStore")]
    if how != "no such bucket":
        assert await process.files() == set()


async def test_a_bucket_that_is_not_made_yet_is_a_store_that_is_away(start, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    process = start("s3://nowhere")
    with pytest.raises(StorageUnavailable):
        await process.put("work")
    await process.claim()
    assert await process.set_aside() == [("claim_store", "test", "StorageUnavailable")]
    assert await claimed_at(process.work.database) is None


async def test_a_store_in_memory_begins_anew_with_its_process(start):
    await start("memory:///").put("work", named=True)
    await start("memory:///").put("more")


async def test_two_processes_at_once_claim_one_new_store(start, folder):
    first, second = start(), start()
    await asyncio.gather(first.put("a"), second.put("b"))
    assert await first.files() == {"a", "b"}


async def test_a_mark_that_cannot_be_read_stores_nothing(start, folder):
    process = start()
    await process.put("work")
    (folder / "installation").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageUnavailable):
        await process.put("more")
    assert await process.files() == {"work"}


async def test_a_restored_database_without_memory_finds_its_own_store(start, folder):
    """One from a copy that is older than the store, or of the release before."""
    process = start()
    await process.put("work", named=True)
    async with process.work.database.transaction() as session:
        await session.execute(text("update installation set store_claimed_at = null"))
    process.rows.clear()
    await start().put("more")
    assert await claimed_at(process.work.database)
