"""File stores: a local folder, S3 or memory, chosen by one URL. A package that imports this depends on obstore.

Beside the files a store holds the id of the installation it belongs to, and a trash: a folder for each day on which
files were put there.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from shared.errors import Unavailable

PART_BYTES = 5 * 1024 * 1024  # the smallest part S3 takes
PARTS_AT_ONCE = 2
CHUNK_BYTES = 256 * 1024
LISTED_AT_ONCE = 500
RETRIED_FOR = timedelta(seconds=5)
"""How long a request to S3 is retried: a person waits for it; the library's own three minutes are for programs."""
OPENED_WITHIN = 8.0
"""Limit, in seconds, for a file's first bytes, the library's retries included, and between two chunks of it."""


_TRASH: Final = "trash/"
_OWNER: Final = "installation"
_PART: Final = re.compile(r"#\d+\Z")
"""How the name of a file ends in a folder until it is whole; the library lists no such file."""


class StorageUnavailable(Unavailable):
    """The file store cannot be reached, or does not have the file as it was recorded."""

    remedy = "Ask again as `Retry-After` says. Where `detail` calls the file damaged, ask whoever runs this platform."


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the store."""

    key: str
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash: where it lies, the key it had, and the day it was put there."""

    path: str
    key: str
    since: date


class Storage(Protocol):
    """Files by key. A stored file appears whole or not at all, and once stored outlasts a power cut."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a file of these chunks; whatever the iterator raises is raised here, and nothing is stored."""
        ...

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Return the file's content in chunks; raise StorageUnavailable before the first if it cannot be had."""
        ...

    async def size(self, key: str) -> int | None:
        """Return the file's size in bytes; None where there is no such file. Raises StorageUnavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the file; one that is gone already is no error. Raises StorageUnavailable."""
        ...

    def pages(self) -> AsyncIterator[Sequence[Stored]]:
        """Yield every file but those in the trash, a few hundred at a time. Raises StorageUnavailable."""
        ...


class ObjectStorage:
    """A store of any kind that obstore knows. At most `PART_BYTES` x (`PARTS_AT_ONCE` + 1) of a file are in memory.

    It is opened at its first use, so that migrating a database needs no folder or bucket. `open_store` raises
    FileNotFoundError where its `folder`, if it is one, is missing; only `claim` makes that folder, for it may be
    missing because a volume is not mounted. A store that does not `last` is gone with its process.
    """

    def __init__(
        self, open_store: Callable[[], ObjectStore], *, folder: Path | None = None, lasts: bool = True
    ) -> None:
        self._open_store, self._folder = open_store, folder
        self.lasts = lasts
        self.stranger: str | None = None
        """Why nothing may be stored there, None where it may (`shared.store_owner`)."""
        self.look: Callable[[], Awaitable[None]] | None = None
        """Reads the store's owner again, and sets `stranger`."""

    @cached_property
    def _store(self) -> ObjectStore:
        try:
            return self._open_store()
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise StorageUnavailable("the file store cannot be opened") from error

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        await self._must_be_ours()
        try:
            await obstore.put_async(
                self._store,
                key,
                chunks,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except (BaseError, FileNotFoundError) as error:
            raise StorageUnavailable("the file cannot be stored at the moment") from error
        await self._flush(key)
        await self._must_be_ours()  # its volume may have gone while the file came: then it lies elsewhere
        if await self.size(key) is None:
            raise StorageUnavailable("the file cannot be stored at the moment")

    async def _flush(self, key: str) -> None:
        """Have the disk of a folder keep a file and its name; other stores have it kept when they answer."""
        if self._folder is not None:
            try:
                await asyncio.to_thread(_flush, self._folder, key)
            except OSError as error:
                raise StorageUnavailable("the file cannot be stored at the moment") from error

    async def _must_be_ours(self) -> None:
        if self.look:
            await self.look()
        if self.stranger:
            raise StorageUnavailable("the file store of this installation is not there at the moment")

    async def open(self, key: str) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                found = await obstore.get_async(self._store, key)
        except (BaseError, FileNotFoundError, TimeoutError) as error:
            raise StorageUnavailable("the file cannot be read at the moment") from error
        return _chunks(found.stream(min_chunk_size=CHUNK_BYTES))

    async def size(self, key: str) -> int | None:
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            return None
        except (BaseError, TimeoutError) as error:
            raise StorageUnavailable("the file store cannot be read at the moment") from error

    async def delete(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except BaseError as error:
            raise StorageUnavailable("nothing can be deleted at the moment") from error

    async def pages(self) -> AsyncIterator[Sequence[Stored]]:
        async for page in self._list(None):
            yield [one for one in page if one.key != _OWNER and not one.key.startswith(_TRASH)]

    async def _list(self, prefix: str | None) -> AsyncIterator[Sequence[Stored]]:
        try:
            # The stub's other overload names a type of a package we do not install
            listed = obstore.list(  # pyright: ignore[reportUnknownMemberType]
                self._store, prefix, chunk_size=LISTED_AT_ONCE
            )
            async for page in listed:
                yield [Stored(entry["path"], entry["last_modified"]) for entry in page]
        except FileNotFoundError:  # no such folder: nothing is there
            return
        except BaseError as error:
            raise StorageUnavailable("the file store cannot be listed at the moment") from error

    async def parts(self) -> AsyncIterator[Sequence[Stored]]:
        """Yield what is there of uploads that are under way, or were cut off by a crash, each with when it last grew.

        Only a folder has such files: memory keeps nothing of them, and S3 must be told to drop unfinished uploads.
        Raises StorageUnavailable.
        """
        if self._folder is None:
            return
        try:
            yield await asyncio.to_thread(_parts, self._folder)
        except FileNotFoundError:  # no such folder: nothing is there
            return
        except OSError as error:
            raise StorageUnavailable("the file store cannot be listed at the moment") from error

    async def delete_part(self, key: str) -> None:
        """Delete what `parts` has found; a part that is gone already is no error. Raises StorageUnavailable."""
        if self._folder is not None:
            try:
                await asyncio.to_thread((self._folder / key).unlink, missing_ok=True)
            except OSError as error:
                raise StorageUnavailable("nothing can be deleted at the moment") from error

    async def trash(self, key: str, on: date) -> None:
        """Put a file into the trash; one that another replica has just put there is no error.

        Raises StorageUnavailable.
        """
        await self._move(key, f"{_TRASH}{on.isoformat()}/{key}")

    async def trashed(self) -> AsyncIterator[Sequence[Trashed]]:
        """Yield the files in the trash, a few hundred at a time. Raises StorageUnavailable."""
        async for page in self._list(_TRASH):
            yield [trashed for one in page if (trashed := _trashed(one.key))]

    async def put_back(self, trashed: Trashed) -> None:
        """Put a file back from the trash; one that another replica has just put back is no error.

        Raises StorageUnavailable.
        """
        await self._move(trashed.path, trashed.key)

    async def _move(self, old: str, new: str) -> None:
        # Not flushed: after a power cut the file has one name or the other, and the next round sees which.
        try:
            await obstore.rename_async(self._store, old, new)
        except FileNotFoundError:
            return
        except BaseError as error:
            raise StorageUnavailable("nothing can be moved at the moment") from error

    async def owner(self) -> str | None:
        """Return the installation this store belongs to; None while none has claimed it.

        Raises StorageUnavailable: that cannot be read.
        """
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                found = await obstore.get_async(self._store, _OWNER)
                return bytes(await found.bytes_async()).decode().strip()  # an editor may have ended the line
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise StorageUnavailable(f"the object {_OWNER} of the file store is damaged") from error
        except (BaseError, TimeoutError) as error:
            raise StorageUnavailable("the file store cannot be read at the moment") from error

    async def claim(self, owner: str, *, anew: bool = False) -> None:
        """Make the store belong to this installation, unless it belongs to one already; `anew`, even then.

        A folder that is missing is made. Raises StorageUnavailable.
        """
        try:
            if self._folder is not None:
                await asyncio.to_thread(_make, self._folder)
            await obstore.put_async(self._store, _OWNER, owner.encode(), mode="overwrite" if anew else "create")
            await self._flush(_OWNER)
        except AlreadyExistsError:
            return
        except (BaseError, OSError) as error:
            raise StorageUnavailable("nothing can be stored at the moment") from error


def _trashed(path: str) -> Trashed | None:
    """Return a file of the trash from its path; None for one that is not ours, and is left alone."""
    day, _, key = path.removeprefix(_TRASH).partition("/")
    try:
        return Trashed(path, key, date.fromisoformat(day)) if key else None
    except ValueError:
        return None


async def _chunks(stream: AsyncIterator[object]) -> AsyncIterator[bytes]:
    chunks = aiter(stream)
    while True:
        async with asyncio.timeout(OPENED_WITHIN):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield bytes(chunk)  # pyright: ignore[reportArgumentType] - a buffer, which its stub types by version


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _flush(folder: Path, key: str) -> None:
    """Flush a file, then the folders that lead to it."""
    file = folder / key
    for path in (file, *file.parents):
        _sync(path)
        if path == folder:
            return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(folder: Path) -> list[Stored]:
    """Return the parts in a folder but those in its trash, where none are written."""
    found: list[Stored] = []
    for path, folders, files in os.walk(folder, onerror=_fail):
        if Path(path) == folder and _TRASH.rstrip("/") in folders:
            folders.remove(_TRASH.rstrip("/"))
        for part in (Path(path, name) for name in files if _PART.search(name)):
            try:
                grew = part.stat().st_mtime
            except FileNotFoundError:  # it is whole by now, or was given up
                continue
            found.append(Stored(part.relative_to(folder).as_posix(), datetime.fromtimestamp(grew, UTC)))
    return found


def _fail(error: OSError) -> None:
    raise error


def _folder(path: Path) -> LocalStore:
    path.stat()  # FileNotFoundError, which the library's own error does not tell from others
    return LocalStore(path)


def open_storage(url: str) -> ObjectStorage:
    """Return the store at a URL: `file:///folder` (made when it is claimed), `s3://bucket/prefix` (AWS_* from the
    environment) or `memory:///`.

    Raises ValueError: it has another scheme.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        folder = Path(unquote(parts.path))
        return ObjectStorage(partial(_folder, folder), folder=folder)
    if parts.scheme == "s3":
        return ObjectStorage(partial(S3Store.from_url, url, retry_config={"retry_timeout": RETRIED_FOR}))
    if parts.scheme == "memory":
        return ObjectStorage(MemoryStore, lasts=False)
    message = f"files are stored at file://, s3:// or memory://, not {parts.scheme}://"
    raise ValueError(message)
