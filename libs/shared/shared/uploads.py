"""Uploads: a file is checked as it streams into the store; `shared.orphans` removes files that no row names."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped

from shared.clock import Clock
from shared.file_checks import Checked, FileCheck, FileKind, UploadTooSlow
from shared.ids import new_id
from shared.storage import Storage


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How long an upload may take (`longest`), and which orphans go into the trash: of what age, and how many at once
    without a person's decision. `store` is what the files are called in metrics; `named` returns those of some keys
    that a row names, each with what it says of the file; `names_any`, whether any row names a file."""

    store: str
    named: Callable[[AsyncSession, Sequence[str]], Awaitable[Mapping[str, Checked]]]
    names_any: Callable[[AsyncSession], Awaitable[bool]]
    longest: timedelta
    orphan_age: timedelta
    orphans_at_once: int = 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it is sent: its name, and the bytes as they come; `declared_size` in bytes, where it was declared."""

    filename: str
    declared_size: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Received:
    """A whole file in the store; `at` is the instant its last byte came."""

    key: str
    content: Checked
    at: datetime


class FileRow(Protocol):
    """A row that names a stored file."""

    sha256: Mapped[str]
    storage_key: Mapped[str]


Row = TypeVar("Row", bound=FileRow)


def received_before(rows: Iterable[Row], received: Received) -> Row | None:
    """Return that of these rows whose bytes have come again; None where none has them. The rows must be locked.

    It names the copy that came last from now on: the one before may be missing or damaged, and is an orphan.
    """
    for row in rows:
        if row.sha256 == received.content.sha256:
            row.storage_key = received.key
            return row
    return None


async def receive(
    storage: Storage, chunks: AsyncIterator[bytes], kind: FileKind, longest_bytes: int, *, within: timedelta, now: Clock
) -> Received:
    """Store a file of these chunks, checking it meanwhile; of one that is refused nothing is kept.

    Raises FileTooLarge, FileNotAsNamed, FileEmpty, UploadTooSlow, StorageUnavailable, and whatever the chunks raise.
    """
    check = FileCheck(kind, longest_bytes)
    key = new_id().hex  # random, and nothing of what was sent
    whole: list[Received] = []

    async def checked() -> AsyncIterator[bytes]:
        async for chunk in chunks:
            check.take(chunk)
            yield chunk
        whole.append(Received(key, check.finish(), now()))  # it raises before the store counts the file as whole

    try:
        async with asyncio.timeout(within.total_seconds()):
            await storage.put(key, checked())
    except TimeoutError:
        raise UploadTooSlow(f"an upload may take {within}") from None
    [received] = whole
    return received
