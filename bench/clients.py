"""The HTTP clients in use: how much of their speed is left when many requests are under way at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import LOAD_CORE, nginx, running
from embedded import ports
from payments.adapters.flywire import Flywire, FlywireAccount

FEW, MANY = 8, 64
PAYMENT = '{"payment_id": "P1", "status": "guaranteed", "amount_to": 49500, "currency_to": "GBP"}'

Ask = Callable[[], Awaitable[object]]


async def measure(bench: Bench) -> list[Result]:
    port = ports.suggest(1)
    server = nginx(bench.folder, "provider", port, f"default_type application/json; return 200 '{PAYMENT}';")
    account = FlywireAccount(f"http://127.0.0.1:{port}", "key", ["secret"], "UOL", "reference", "http://nowhere", 10)
    async with running(server, LOAD_CORE, bench.folder / "provider.log", port):
        provider = Flywire(account)
        try:
            rates = await alternate(
                bench.rounds,
                {
                    str(at_once): lambda at_once=at_once: _rate(
                        lambda: provider.fetch_payment("P1"), bench.size(4000), at_once
                    )
                    for at_once in (FEW, MANY)
                },
            )
        finally:
            await provider.aclose()
    return [
        Result(
            "HTTP client of the payment provider",
            f"calls/s with {MANY} under way of with {FEW}",
            rates[str(MANY)] / rates[str(FEW)],
            Limit(0.85, 0.95, 1.0),
            f"{rates[str(MANY)]:,.0f} of {rates[str(FEW)]:,.0f}",
        )
    ]


async def _rate(ask: Ask, count: int, at_once: int) -> float:
    """Calls per second, so many at a time."""
    left = iter(range(count))

    async def go() -> None:
        for _ in left:
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(go() for _ in range(at_once)))
    return count / (time.perf_counter() - began)
