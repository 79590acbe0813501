"""Taking a file: checked as it streams into the store under a key of ours; `orphans` sees to what no row names."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from shared.clock import Clock
from shared.files import Checked, FileCheck, FileKind, UploadTooSlow
from shared.ids import new_id
from shared.storage import Storage


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How long one upload may take, how old a stored file that no row names must be to go into the trash, and how
    many may go there at once without a person's word. `store` is what the files are called in metrics, `named` tells
    which of some keys a row names."""

    store: str
    named: Callable[[AsyncSession, Sequence[str]], Awaitable[Collection[str]]]
    longest: timedelta
    orphan_age: timedelta
    orphans_at_once: int = 20


@dataclass(frozen=True, slots=True)
class Upload:
    """What somebody sends: a name, and the bytes as they come. `declared_size` in bytes, where it was told."""

    filename: str
    declared_size: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Received:
    """A whole file in the store; `at` is the instant its last byte came."""

    key: str
    content: Checked
    at: datetime


async def receive(
    storage: Storage, chunks: AsyncIterator[bytes], kind: FileKind, longest_bytes: int, *, within: timedelta, now: Clock
) -> Received:
    """Store what the chunks make; nothing is kept of what is refused.

    Raises FileTooLarge, FileNotAsNamed, FileEmpty, UploadTooSlow, StorageUnavailable, and whatever the chunks raise.
    """
    check = FileCheck(kind, longest_bytes)
    key = new_id().hex  # random, and nothing of what was sent
    whole: list[Received] = []

    async def checked() -> AsyncIterator[bytes]:
        async for chunk in chunks:
            check.take(chunk)
            yield chunk
        whole.append(Received(key, check.finish(), now()))  # refused before the store takes it for whole

    try:
        async with asyncio.timeout(within.total_seconds()):
            await storage.put(key, checked())
    except TimeoutError:
        raise UploadTooSlow(f"an upload may take {within}") from None
    [received] = whole
    return received
