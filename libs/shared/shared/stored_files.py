"""Stored files are read as they were received, or not at all: their rows hold the size and SHA-256 they came with.

A file that is missing or another is counted (`stored_files_damaged_total`) and set aside: `set-aside list` shows its
key in the store. `check_files` looks again, until it is back from a backup, or no row names it any more.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import select

from shared import telemetry
from shared.due_rows import for_each, set_aside
from shared.file_checks import Checked
from shared.jobs import Work
from shared.messaging.tables import SetAside
from shared.storage import ObjectStorage, StorageUnavailable
from shared.store_owner import named_of
from shared.uploads import UploadPolicy

JOB: Final = "check_files"
_DAMAGED: Final = (
    "the file is missing or damaged in the store: asking again does not help before whoever runs this platform has "
    "restored it; name the request_id to them"
)
_TOMORROW: Final = {"Retry-After": "86400"}
"""For programs: a person has to restore a file."""


class FileDamaged(RuntimeError):
    """A stored file is missing, or not the one that was received."""


async def read_file(work: Work, key: str, recorded: Checked) -> AsyncIterator[bytes]:
    """Return a stored file's content in chunks, the last of them only when all were found to be what was received.

    Raises StorageUnavailable: it cannot be had, or is known before its first chunk not to be what was received. Later
    that ends the chunks with FileDamaged.
    """
    chunks = _as_recorded(work, key, recorded)
    try:
        first = await anext(chunks)
    except FileDamaged as error:
        await _note(work, key, error)
        raise StorageUnavailable(_DAMAGED, headers=_TOMORROW) from error
    return _noting(work, key, first, chunks)


async def check_files(work: Work) -> None:
    """Look again at files that were set aside once their pause is over; those found to be whole are so no more.

    As a job of each minute.
    """
    due = select(SetAside.row_key).where(SetAside.job == JOB, SetAside.due_at <= work.now())

    async def check(key: str) -> None:
        recorded = (await named_of(work, [key])).get(key)
        if recorded is not None:
            async for _ in _as_recorded(work, key, recorded):
                pass

    await for_each(work, JOB, due, check)


async def _as_recorded(work: Work, key: str, recorded: Checked) -> AsyncIterator[bytes]:
    """Yield a file's chunks, the last one when all are known to be right. Raises FileDamaged, StorageUnavailable."""
    storage = work.resource(ObjectStorage)
    size = await storage.size(key)
    if size is None and storage.look:
        await storage.look()
        if storage.stranger:  # the file is not missing: its store is
            raise StorageUnavailable("the file store of this installation is not there at the moment")
    if size != recorded.size:
        is_there = "there is no such file" if size is None else f"it has {size} bytes"
        raise FileDamaged(f"{is_there}, and {recorded.size} bytes were received")
    digest, last = hashlib.sha256(), b""
    async for chunk in await storage.open(key):
        if last:
            yield last
        digest.update(chunk)
        last = chunk
    if digest.hexdigest() != recorded.sha256:
        raise FileDamaged("its bytes are not those that were received")
    yield last


async def _noting(work: Work, key: str, first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for chunk in chunks:
            yield chunk
    except FileDamaged as error:
        await _note(work, key, error)
        raise


async def _note(work: Work, key: str, error: FileDamaged) -> None:
    telemetry.files_damaged.labels(work.resource(UploadPolicy).store).inc()
    await set_aside(work, JOB, key, error)
