"""The invariant of history: all events handled a second time, from the beginning, change nothing."""

from typing import TYPE_CHECKING, Final

from simulation import rest
from simulation.looking import Look
from simulation.reporting import Broken

if TYPE_CHECKING:
    from simulation.world import World

OF_DELIVERY: Final = frozenset({"inbox", "inbox_retry", "feed_positions", "feed_epochs", "turns"})


async def _everything(world: "World") -> dict[tuple[str, str], set[str]]:
    async with Look(world) as look:
        return {
            (service, table): {
                row["row"] for row in await look.ask(service, f'select to_jsonb(t)::text as row from "{table}" t')
            }
            for service in world.consumers
            for table in await look.tables(service)
            if table not in OF_DELIVERY
        }


async def handled_twice_it_changes_nothing(world: "World") -> None:
    before = await _everything(world)
    async with Look(world) as look:
        for service in world.consumers:
            await look.ask(service, "truncate inbox, feed_positions")
    await rest.catch_up(world)
    await rest.settle(world, jobs=False)
    after = await _everything(world)
    for where, rows in before.items():
        if differing := sorted(rows ^ after[where]):
            raise Broken(f"history handled twice changes {'.'.join(where)}", differing[:2])
