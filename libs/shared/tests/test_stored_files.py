"""A stored file is read as it was received, or not at all, and a person learns of it."""

import asyncio
import hashlib
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from shared import telemetry
from shared.file_checks import Checked
from shared.running import Server
from shared.storage import CHUNK_BYTES, ObjectStorage, StorageUnavailable
from shared.store_owner import guard_store
from shared.stored_files import FileDamaged, check_files, read_file
from shared.testing.stores import DAMAGES, damage
from shared.uploads import UploadPolicy
from shared.web import problems
from shared.web.files import FileWork, attachment

from .stores import pieces

SIZES = {"one chunk": 1000, "many chunks": 5 * CHUNK_BYTES + 1}


@pytest.fixture(params=SIZES.values(), ids=list(SIZES))
async def stored(request, response_cache):
    """A file as it was received: what its row says of it, and its content."""
    content = bytes(number % 251 for number in range(request.param))
    recorded = Checked(hashlib.sha256(content).hexdigest(), len(content))

    async def named(_session, keys):
        return dict.fromkeys(response_cache.rows.intersection(keys), recorded)

    resources = response_cache.work.resources
    policy = replace(resources[UploadPolicy], named=named)
    response_cache.work = replace(response_cache.work, resources={**resources, UploadPolicy: policy})
    await response_cache.claim()
    await response_cache.storage.put("work", pieces(content))
    response_cache.rows.add("work")
    return recorded, content


async def read(response_cache, recorded) -> tuple[list[bytes], str | None]:
    """Return what comes of the file, and by which error that ends."""
    came: list[bytes] = []
    try:
        async for chunk in await read_file(response_cache.work, "work", recorded):
            came += [chunk]
    except (StorageUnavailable, FileDamaged) as error:
        return came, type(error).__name__
    return came, None


def comes_in_chunks(response_cache, recorded) -> bool:
    """A store in memory gives everything at once."""
    return recorded.size > CHUNK_BYTES and response_cache.storage.lasts


def counted() -> float:
    return telemetry.files_damaged.labels("test")._value.get()


async def test_a_whole_file_is_read_as_it_was_received(response_cache, stored):
    recorded, content = stored
    came, ended_by = await read(response_cache, recorded)
    assert (b"".join(came), ended_by) == (content, None)
    assert await response_cache.set_aside() == []


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_file_is_never_read_to_its_end_and_is_shown_until_it_is_back(
    response_cache, stored, how, caplog
):
    recorded, content = stored
    before = counted()
    await damage(response_cache.storage, "work", how)
    came, ended_by = await read(response_cache, recorded)
    if how == "altered" and comes_in_chunks(response_cache, recorded):
        assert ended_by == "FileDamaged"
        assert 0 < len(b"".join(came)) < recorded.size
    else:
        assert (came, ended_by) == ([], "StorageUnavailable")
    assert counted() == before + 1
    assert await response_cache.set_aside() == [("check_files", "work", "FileDamaged")]
    assert "row set aside" in caplog.text

    response_cache.clock.at += timedelta(hours=2)
    await check_files(response_cache.work)
    assert await response_cache.set_aside() == [("check_files", "work", "FileDamaged")]
    await response_cache.storage.put("work", pieces(content))  # from a backup
    response_cache.clock.at += timedelta(hours=2)
    await check_files(response_cache.work)
    assert await response_cache.set_aside() == []


async def test_a_damaged_file_that_no_row_names_any_more_is_nobodys_trouble(response_cache, stored):
    await damage(response_cache.storage, "work", "missing")
    await read(response_cache, stored[0])
    response_cache.rows.clear()
    response_cache.clock.at += timedelta(hours=2)
    await check_files(response_cache.work)
    assert await response_cache.set_aside() == []


async def test_a_file_is_not_missing_where_its_store_is(response_cache, stored):
    """Its volume is not mounted, for instance."""
    before = counted()
    guard_store(response_cache.work)
    await response_cache.storage.claim("another", anew=True)
    await damage(ObjectStorage(lambda: response_cache.storage._store), "work", "missing")
    assert await read(response_cache, stored[0]) == ([], "StorageUnavailable")
    assert (counted(), await response_cache.set_aside()) == (before, [])


@asynccontextmanager
async def listening(app: FastAPI):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@pytest.mark.parametrize("how", [None, *DAMAGES])
async def test_the_connection_of_a_download_ends_before_a_damaged_file_does(response_cache, stored, how):
    """Over a socket: what came then cannot be taken for the file."""
    recorded, content = stored
    app = FastAPI()
    app.state.database, app.state.resources = response_cache.work.database, response_cache.work.resources

    problems.install(app)

    @app.get("/file")
    async def download(work: FileWork):
        async with work.database.reads() as session:
            return await attachment(session, work, "work", recorded, name="a.pdf", media_type="application/pdf")

    if how:
        await damage(response_cache.storage, "work", how)
    async with listening(app) as address, httpx.AsyncClient() as client:
        if how == "altered" and comes_in_chunks(response_cache, recorded):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"{address}/file")
        else:
            answer = await client.get(f"{address}/file")
            assert answer.status_code == (503 if how else 200)
            assert how or answer.content == content
