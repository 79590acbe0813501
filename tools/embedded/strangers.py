"""Prints, for whoever runs the platform, where a file store or a database is not the one that belongs to it."""

import asyncio
from collections.abc import Mapping

from shared.process import Process
from shared.storage import ObjectStorage
from shared.store_owner import UNREAD

LOOK_SECONDS = 5.0


async def print_strangers(processes: Mapping[str, Process]) -> None:
    """Print, once each, why a store is refused and which database lacks history; and when that is over."""
    printed: dict[str, str] = {}
    lacking: set[str] = set()
    while True:
        for name in [name for name, process in processes.items() if process.lost and name not in lacking]:
            lacking.add(name)
            print(
                f"The database of {name} lacks what others have read: nothing ends or is refused there until somebody "
                f"decides (`python -m {name} restored show`, then `restored accept`).",
                flush=True,
            )
        for name in [name for name in lacking if not processes[name].lost]:
            lacking.discard(name)
            print(f"What the database of {name} lacks was accepted.", flush=True)
        for name, process in processes.items():
            storage = process.service.resources.get(ObjectStorage)
            why = storage and storage.stranger
            if why and why not in {UNREAD, printed.get(name)}:
                printed[name] = why
                print(
                    f"Uploads to {name} are refused: the file store it finds is not its own ({why}). Put its own back, "
                    f"or say that this one is new: `python -m {name} files claim`.",
                    flush=True,
                )
            elif not why and printed.pop(name, None):
                print(f"Uploads to {name} are taken again.", flush=True)
        await asyncio.sleep(LOOK_SECONDS)
