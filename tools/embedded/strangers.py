"""Prints, for whoever runs the platform, where a file store, a database or a key is not the one that belongs to it."""

import asyncio
from collections.abc import Mapping

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands.keys import unreadable_keys
from gateway.commands.keys import opens_active_key
from shared.outages import is_database_down
from shared.process import Process
from shared.secret_box import SecretBox
from shared.storage import ObjectStorage
from shared.store_owner import UNREAD

LOOK_SECONDS = 5.0


_CLOSED = {
    "gateway": "nobody can sign in (`python -m gateway.staff rotate-keys` makes a new key)",
    "credentials": "no badge and no status list is signed (an operator strikes out each of `GET /v1/signing-keys`)",
}


async def _print_closed(processes: Mapping[str, Process], before: set[str]) -> set[str]:
    """Print whose wrapping key does not open the signing keys, where that is new or over; return who it is now."""
    try:
        now = {name for name in _CLOSED if name in processes and not await _opens(name, processes[name])}
    except Exception as error:
        if not is_database_down(error):
            raise
        return before
    for name in sorted(now - before):
        print(
            f"The wrapping key of {name} does not open its signing key: {_CLOSED[name]}. Put back the "
            "secrets.json that it was sealed with; if that is lost, see docs/restoring.md.",
            flush=True,
        )
    for name in sorted(before - now):
        print(f"The signing key of {name} can be read again.", flush=True)
    return now


async def _opens(name: str, process: Process) -> bool:
    async with process.database.transaction() as session:
        if name == "gateway":
            return await opens_active_key(session, process.service.resources[SecretBox])
        return not await unreadable_keys(session, process.service.resources[CredentialIssuer])


async def print_strangers(processes: Mapping[str, Process]) -> None:
    """Print, once each, why a store is refused and which database lacks history; and when that is over."""
    printed: dict[str, str] = {}
    lacking: set[str] = set()
    closed: set[str] = set()
    while True:
        closed = await _print_closed(processes, closed)
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
