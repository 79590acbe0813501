"""Checks that every committed event was delivered once in effect, by comparing outboxes with inboxes."""

# asyncpg ships no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from embedded.postgres import SOCKET, Postgres
from embedded.services import NAMES
from shared.events import registry

Digest = tuple[int, int]
"""How many events, and the exclusive or of their ids' hashes: equal for equal sets."""


@dataclass
class Deliveries:
    """The deliveries of all services together; the lists name what is wrong."""

    events: int = 0
    unsent: list[str] = field(default_factory=list[str])
    hearings: int = 0
    """Events, each counted once for every service that consumes it."""
    handled: int = 0
    astray: list[str] = field(default_factory=list[str])
    """Types of which a consumer's inbox does not hold exactly the events in the outbox."""
    waiting: int = 0
    """Retries and unresolved dead letters."""


async def look(platform: Path, institution_id: str) -> Deliveries | None:
    """Compare outboxes with inboxes. None where the databases of the platform with this institution are not here."""
    postgres = Postgres(platform / "postgres")
    if not (postgres.socket_dir / SOCKET).exists() or not await _is_that_of(postgres, institution_id):
        return None
    logs: dict[str, Digest] = {}
    inboxes: dict[str, dict[str, Digest]] = {}
    found = Deliveries()
    for name in NAMES:
        connection = await postgres.connect(f"mc_{name}", f"mc_{name}")
        try:
            logs |= await _digests(connection, "outbox")
            inboxes[name] = await _digests(connection, "inbox")
            unsent = await connection.fetch("select id, type from outbox where sent_at is null")
            found.unsent += [f"{row['type']} {row['id']}" for row in unsent]
            waiting = "(select count(*) from inbox_retry)"
            dead_letters = "(select count(*) from parked_messages where resolved_at is null)"
            found.waiting += int(await connection.fetchval(f"select {waiting} + {dead_letters}") or 0)
        finally:
            await connection.close()
    found.events = sum(count for count, _ in logs.values())
    for kind in registry().values():
        announced = logs.get(kind.type, (0, 0))
        for name in sorted(kind.consumers):
            handled = inboxes[name].get(kind.type, (0, 0))
            found.hearings += announced[0]
            found.handled += handled[0]
            if handled != announced:
                found.astray.append(f"{kind.type}: {announced[0]} announced, {handled[0]} handled by {name}")
    return found


async def _is_that_of(postgres: Postgres, institution_id: str) -> bool:
    """Whether the databases are those of the platform with this institution: a replay may be on another one."""
    connection = await postgres.connect("mc_catalogue", "mc_catalogue")
    try:
        found = await connection.fetchval("select 1 from institutions where institution_id = $1", institution_id)
    finally:
        await connection.close()
    return found is not None


async def _digests(connection: asyncpg.Connection, table: str) -> dict[str, Digest]:
    rows = await connection.fetch(
        f"select type, count(*) as count, bit_xor(hashtextextended(id::text, 0)) as digest from {table} group by type"  # noqa: S608 - one of our tables
    )
    return {row["type"]: (row["count"], row["digest"]) for row in rows}
