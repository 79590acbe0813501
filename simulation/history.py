"""The invariant of history: all events handled a second time, from the beginning, change nothing."""

from typing import TYPE_CHECKING, Final

from simulation import rest
from simulation.looking import Look
from simulation.reporting import Broken

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

OF_DELIVERY: Final = frozenset({"inbox", "inbox_retry", "feed_positions", "feed_epochs", "turns"})

MARKS: Final = ("unread",)
"""Columns by which a job reads something anew; a repeat may set them, and the job finds what is there already."""


async def _everything(platform: "SimulatedPlatform") -> dict[tuple[str, str], set[str]]:
    everything = " - ".join(["to_jsonb(t)", *(f"'{mark}'" for mark in MARKS)])
    async with Look(platform) as look:
        return {
            (service, table): {
                row["row"] for row in await look.ask(service, f'select {everything}::text as row from "{table}" t')
            }
            for service in platform.consumers
            for table in await look.tables(service)
            if table not in OF_DELIVERY
        }


async def handled_twice_it_changes_nothing(platform: "SimulatedPlatform") -> None:
    before = await _everything(platform)
    async with Look(platform) as look:
        for service in platform.consumers:
            await look.ask(service, "truncate inbox, feed_positions")
    await rest.catch_up(platform)
    await rest.settle(platform, jobs=False)
    after = await _everything(platform)
    for where, rows in before.items():
        if differing := sorted(rows ^ after[where]):
            raise Broken(f"history handled twice changes {'.'.join(where)}", differing[:2])
