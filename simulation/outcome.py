"""The outcome of a life, so that two lives can be compared: the deciding values of each row, and what was sent."""

import re
from collections.abc import Sequence
from typing import Final

import obstore

from simulation.history import OF_DELIVERY
from simulation.looking import Look
from simulation.simulated_platform import SimulatedPlatform

_FACTS: Final = re.compile(
    r'"(status|state|kind|type|outcome|reason|reason_code|use|due|revision|version|attempts|tries|amount_minor|account)'
    r'": '
    r'("[^"]*"|[-\d]+|null)'
)
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def state_of(platform: SimulatedPlatform, webhooks: Sequence[str]) -> dict[str, list[str]]:
    """Return the deciding values of each row, by table, without random ids; and the e-mails and webhooks sent."""
    found: dict[str, list[str]] = {}
    async with Look(platform) as look:
        for service in platform.consumers:
            for table in set(await look.tables(service)) - OF_DELIVERY:
                rows = await look.ask(service, f'select to_jsonb(t)::text as row from "{table}" t')
                found[f"{service}.{table}"] = sorted(str(_FACTS.findall(row["row"])) for row in rows)
    found["emails"] = sorted(f"{one['to']} {one['subject']}" for one in platform.post.emails)
    found["webhooks"] = sorted(_ID.sub("", body) for body in webhooks)
    found["provider"] = sorted(map(str, platform.provider.history.values()))
    for service, store in platform.files.items():
        listed = obstore.list(store)
        found[f"files of {service}"] = [f"{sum(map(len, listed))} files"]
    return found
