"""Leases: work that one replica does at a time, it does on a lease that it renews meanwhile.

A lock of the server's would last as long as the server believes in its session: for hours, where the machine that held
it died, and not at all, where the connection was cut and the work goes on. A lease ends by the database's clock, and a
holder that could not renew it is stopped before. A machine that stood still wakes too late for that, so whatever acts
outside must be right with two at once.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from shared.database import Database
from shared.ids import new_id
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""How long a lease lasts: time to give up a connection that fell silent and to open another, and some to spare."""

# A lease that ends later than any can was taken while the database's clock stood ahead, and counts as ended.
# If one is lost in a crash of the server, another process may take it, and no more, so no commit waits for the disk.
_TAKE: Final = """
    with hurry as (select set_config('synchronous_commit', 'off', true))
    insert into turns as held (name, holder, until)
    select $1, $2::uuid, clock_timestamp() + make_interval(secs => $3) from hurry
    on conflict (name) do update set holder = excluded.holder, until = excluded.until
    where held.until <= clock_timestamp() or held.holder = excluded.holder
        or held.until > clock_timestamp() + 2 * make_interval(secs => $3)
    returning name
"""
_GIVE_BACK: Final = """
    with hurry as (select set_config('synchronous_commit', 'off', true))
    update turns set until = clock_timestamp() from hurry where name = $1 and holder = $2::uuid
"""


@asynccontextmanager
async def lease(database: Database, name: str) -> AsyncGenerator[bool]:
    """Hold the lease of this name during the block; yield False where another holds it, in this process or elsewhere.

    Raises TimeoutError: it could not be renewed, and the block was cancelled before it ended.
    """
    holder, began = new_id(), asyncio.get_running_loop().time()
    if not await _take(database, name, holder):
        yield False
        return
    try:
        async with _renewed(database, name, holder, began):
            yield True
    finally:
        with suppress(*DATABASE_ERRORS):  # else the lease runs out by itself
            async with database.side.driver() as driver:
                await driver.execute(_GIVE_BACK, name, holder)


async def _take(database: Database, name: str, holder: UUID) -> bool:
    async with database.side.driver() as driver:
        return await driver.fetchval(_TAKE, name, holder, LEASE_SECONDS) is not None


@asynccontextmanager
async def _renewed(database: Database, name: str, holder: UUID, began: float) -> AsyncGenerator[None]:
    async with asyncio.timeout_at(began + LEASE_SECONDS) as lease:
        renewing = asyncio.create_task(_renew(database, name, holder, lease))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})


async def _renew(database: Database, name: str, holder: UUID, lease: asyncio.Timeout) -> None:
    loop, wait = asyncio.get_running_loop(), LEASE_SECONDS / 3
    while True:
        await asyncio.sleep(wait)
        began = loop.time()
        try:
            ours = await _take(database, name, holder)
        except Exception as error:  # noqa: BLE001 - logged by note_outage
            note_outage(log, error, lease=name)
            wait = LEASE_SECONDS / 30  # a connection that was cut is replaced at once
            continue
        wait = LEASE_SECONDS / 3
        if lease.expired():
            return
        lease.reschedule(began + LEASE_SECONDS if ours else loop.time())
