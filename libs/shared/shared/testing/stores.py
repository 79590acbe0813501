"""Damage to stored files, for the tests of whatever reads them."""

from collections.abc import AsyncIterator
from typing import Final

from shared.storage import Storage

DAMAGES: Final = ("missing", "truncated", "longer", "altered")


async def damage(storage: Storage, key: str, how: str) -> None:
    """Do to a stored file what happens to disks and their owners: one of DAMAGES."""
    if how == "missing":
        await storage.delete(key)
        return
    content = b"".join([chunk async for chunk in await storage.open(key)])
    others = {"truncated": content[:-1], "longer": content + b"\n", "altered": content[:-1] + bytes([content[-1] ^ 1])}
    await storage.put(key, _all_at_once(others[how]))


async def _all_at_once(content: bytes) -> AsyncIterator[bytes]:
    yield content
