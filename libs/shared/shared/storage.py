"""Where uploaded files lie: a local folder, S3 or memory, told by one URL. Who uses it depends on obstore."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from shared.errors import Unavailable

PART_BYTES = 5 * 1024 * 1024  # the smallest part S3 takes
PARTS_AT_ONCE = 2
CHUNK_BYTES = 256 * 1024
LISTED_AT_ONCE = 500
RETRIED_FOR = timedelta(seconds=5)
"""Somebody waits for the answer; the store's own three minutes are for programs."""


class StorageUnavailable(Unavailable):
    """The file store cannot be reached, or has no such file though it was recorded."""


@dataclass(frozen=True, slots=True)
class Stored:
    key: str
    stored_at: datetime


class Storage(Protocol):
    """Files by key. What is put appears whole or not at all."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what the chunks make; whatever the iterator raises is raised here and nothing is stored."""
        ...

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """The file's content; raises StorageUnavailable before the first chunk if it cannot be had."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the file; one that is gone already is no error."""
        ...

    def pages(self) -> AsyncIterator[Sequence[Stored]]:
        """Everything stored, a few hundred at a time."""
        ...


class ObjectStorage:
    """Any store that obstore speaks to. At most `PART_BYTES` x (`PARTS_AT_ONCE` + 1) of a file are in memory.

    It is opened at its first use, so that whoever only migrates a database needs no folder or bucket.
    """

    def __init__(self, open_store: Callable[[], ObjectStore]) -> None:
        self._open_store = open_store

    @cached_property
    def _store(self) -> ObjectStore:
        try:
            return self._open_store()
        except (BaseError, OSError) as error:
            raise StorageUnavailable("the file store cannot be opened") from error

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            await obstore.put_async(
                self._store,
                key,
                chunks,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except BaseError as error:
            raise StorageUnavailable("the file cannot be stored at the moment") from error

    async def open(self, key: str) -> AsyncIterator[bytes]:
        try:
            found = await obstore.get_async(self._store, key)
        except (BaseError, FileNotFoundError) as error:
            raise StorageUnavailable("the file cannot be read at the moment") from error
        return _chunks(found.stream(min_chunk_size=CHUNK_BYTES))

    async def delete(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return

    async def pages(self) -> AsyncIterator[Sequence[Stored]]:
        # The stub's other overload names a type of a package we do not install
        listed = obstore.list(self._store, chunk_size=LISTED_AT_ONCE)  # pyright: ignore[reportUnknownMemberType]
        async for page in listed:
            yield [Stored(entry["path"], entry["last_modified"]) for entry in page]


async def _chunks(stream: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for chunk in stream:
        yield bytes(chunk)  # pyright: ignore[reportArgumentType] - a buffer, which its stub types by version


def open_storage(url: str) -> ObjectStorage:
    """`file:///folder` (made if missing), `s3://bucket/prefix` (AWS_* from the environment), `memory:///`.

    Raises ValueError for any other scheme.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return ObjectStorage(partial(LocalStore, Path(unquote(parts.path)), mkdir=True))
    if parts.scheme == "s3":
        return ObjectStorage(partial(S3Store.from_url, url, retry_config={"retry_timeout": RETRIED_FOR}))
    if parts.scheme == "memory":
        return ObjectStorage(MemoryStore)
    message = f"files are stored at file://, s3:// or memory://, not {parts.scheme}://"
    raise ValueError(message)
