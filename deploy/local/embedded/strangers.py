"""Whoever runs the platform here is told in one line where uploads are refused because a file store is not ours."""

import asyncio
from collections.abc import Mapping

from shared.service import Process
from shared.storage import ObjectStorage
from shared.store_owner import UNREAD

LOOK_SECONDS = 5.0


async def tell_of_strangers(processes: Mapping[str, Process]) -> None:
    """Print what each store is refused for, once, and when it is no more."""
    told: dict[str, str] = {}
    while True:
        for name, process in processes.items():
            storage = process.service.resources.get(ObjectStorage)
            why = storage and storage.stranger
            if why and why not in {UNREAD, told.get(name)}:
                told[name] = why
                print(f"Uploads to {name} are refused: the files it finds are not its own ({why}).", flush=True)
            elif not why and told.pop(name, None):
                print(f"Uploads to {name} are taken again.", flush=True)
        await asyncio.sleep(LOOK_SECONDS)
