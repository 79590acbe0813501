"""Stored files, on every kind of store: a folder, memory, and S3 as a server speaks it over HTTP."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from obstore.store import MemoryStore
from sqlalchemy import text

from embedded import ports
from shared.file_checks import Checked
from shared.jobs import Work
from shared.storage import PART_BYTES, ObjectStorage, StorageUnavailable, Trashed, open_storage
from shared.web.files import attachment

from .messaging_nodes import eventually
from .object_stores import BUCKET


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def content(storage: ObjectStorage, key: str) -> bytes:
    return b"".join([chunk async for chunk in await storage.open(key)])


async def keys(storage: ObjectStorage) -> set[str]:
    return {stored.key async for page in storage.pages() for stored in page}


async def test_what_is_put_is_read_again(storage):
    await storage.put("one/project.pdf", pieces(b"first ", b"second"))
    assert await content(storage, "one/project.pdf") == b"first second"
    assert await keys(storage) == {"one/project.pdf"}


async def test_a_file_of_several_parts_is_whole(storage):
    chunk = os.urandom(1024 * 1024)
    count = 2 * PART_BYTES // len(chunk) + 1
    await storage.put("large", pieces(*[chunk] * count))
    assert await content(storage, "large") == chunk * count


@pytest.mark.parametrize("megabytes", [0, 12], ids=["at once", "after two parts"])
async def test_an_upload_that_breaks_off_leaves_nothing(storage, megabytes):
    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(megabytes):
            yield bytes(1024 * 1024)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        await storage.put("broken", breaking())
    assert await keys(storage) == set()
    with pytest.raises(StorageUnavailable):
        await storage.open("broken")


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(storage):
    await storage.put("kept", pieces(b"a"))
    await storage.put("gone", pieces(b"b"))
    await storage.delete("gone")
    await storage.delete("gone")
    assert await keys(storage) == {"kept"}
    with pytest.raises(StorageUnavailable):
        await storage.open("gone")


async def test_a_store_that_is_away_is_reported_as_such(s3, monkeypatch):
    for name, value in {**s3, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports.suggest(1)}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shared.storage.RETRIED_FOR", timedelta(seconds=0.1))
    storage = open_storage(f"s3://{BUCKET}")

    async def listed(pages):
        return [page async for page in pages]

    for ask in (
        storage.put("any", pieces(b"a")),
        storage.open("any"),
        storage.size("any"),
        storage.delete("any"),
        storage.trash("any", date(2026, 12, 1)),
        storage.put_back(Trashed("trash/2026-12-01/any", "any", date(2026, 12, 1))),
        storage.owner(),
        storage.claim("us"),
        listed(storage.pages()),
        listed(storage.trashed()),
    ):
        with pytest.raises(StorageUnavailable):
            await ask


async def test_a_file_its_name_and_the_folders_to_it_are_flushed_before_it_counts_as_stored(tmp_path, monkeypatch):
    folder, flushed, sync = tmp_path / "not" / "yet there", [], os.fsync

    def fsync(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)
        assert not list(tmp_path.rglob("*#1")), "under its last name"
        sync(descriptor)

    def numbers(*paths):
        return [path.stat().st_ino for path in paths]

    monkeypatch.setattr(os, "fsync", fsync)
    storage = open_storage(folder.as_uri())
    await storage.claim("us")
    assert flushed == numbers(tmp_path, tmp_path / "not", folder / "installation", folder)
    flushed.clear()
    await storage.put("one/project.pdf", pieces(b"x"))
    assert flushed == numbers(folder / "one/project.pdf", folder / "one", folder)


async def test_a_file_that_the_disk_did_not_take_is_not_stored(tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(errno.EIO, "the disk is broken")

    storage = open_storage(tmp_path.as_uri())
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageUnavailable):
        await storage.put("work", pieces(b"x"))


async def test_a_part_of_an_upload_is_found_and_deleted_and_is_no_file(tmp_path):
    storage, under_way, go_on = open_storage(tmp_path.as_uri()), asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield bytes(2 * PART_BYTES)
        under_way.set()
        await go_on.wait()
        yield b"end"

    async def parts():
        return {one.key async for page in storage.parts() for one in page}

    uploading = asyncio.create_task(storage.put("one/work", slow()))
    await under_way.wait()

    async def some() -> bool:
        return bool(await parts())

    await eventually(some)
    assert (await parts(), await keys(storage)) == ({"one/work#1"}, set())
    go_on.set()
    await uploading
    assert (await parts(), await keys(storage)) == (set(), {"one/work"})
    (tmp_path / "one/work#1").touch()  # another that a crash cut off
    await storage.delete_part("one/work#1")
    await storage.delete_part("one/work#1")
    assert (await parts(), await keys(storage)) == (set(), {"one/work"})


def test_an_unknown_kind_of_store_is_refused():
    with pytest.raises(ValueError, match="ftp://"):
        open_storage("ftp://files.example/submissions")


class Hangs(ObjectStorage):
    """A store that takes the question and says nothing."""

    async def size(self, key) -> int | None:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_hangs_holds_no_connection_of_the_database(payments):
    async def read():
        async with payments.database.reads() as session:
            await session.execute(text("select 1"))
            work = Work(payments.database, {ObjectStorage: Hangs(MemoryStore)})
            await attachment(session, work, "key", Checked("", 1), name="a.pdf", media_type="application/pdf")

    reading = [asyncio.create_task(read()) for _ in range(20)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(3), payments.database.reads() as session:
        assert (await session.execute(text("select 1"))).scalar_one() == 1
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)


async def test_a_store_that_hangs_is_one_that_cannot_be_read(monkeypatch):
    async def hang(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr("shared.storage.OPENED_WITHIN", 0.1)
    monkeypatch.setattr("obstore.get_async", hang)
    with pytest.raises(StorageUnavailable):
        await open_storage("memory:///").open("key")
