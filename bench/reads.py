"""Public reads of the catalogue, one process on one core, against the same bytes without a database."""

import asyncio
import os
import time

import httpx

from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import SERVER_CORE, fastapi, running, tie, wrk
from embedded import ports
from embedded.apart import apart
from shared.database import connect_driver

LIST = "/v1/courses?limit=50"
STATEMENT = """
    select course_id, slug, code, title, summary, credits, level, weeks, version, published_at
    from courses join course_versions using (course_id)
    where current_version_id = course_version_id limit 50
"""
LOOPS = 8


async def measure(bench: Bench) -> list[Result]:
    first = ports.suggest(len(ports.NAMES) + 1)
    assigned = ports.assign({ports.VARIABLE: str(first)})
    bare = first + len(ports.NAMES)
    seconds = 1 if bench.short else 5
    async with apart(bench.folder / "platform", assigned) as platform:
        for name in list(platform.processes):
            if name != "catalogue":
                await platform.stop(name)
        tie(platform.processes["catalogue"], SERVER_CORE)
        base = platform.place.url("catalogue")
        async with httpx.AsyncClient(base_url=base) as client:
            listed = (await client.get(LIST)).raise_for_status()
            one = f"/v1/courses/{listed.json()['items'][0]['slug']}"
            read = (await client.get(one)).raise_for_status()
        database = platform.place.databases["catalogue"]
        async with running(fastapi(read.content, bench.folder, bare), SERVER_CORE, bench.folder / "bare.log", bare):
            rates = await alternate(
                bench.rounds,
                {
                    "bare": lambda: wrk(f"http://127.0.0.1:{bare}{one}", seconds),
                    "one": lambda: wrk(f"{base}{one}", seconds),
                    "loop": lambda: _loop(database, len(listed.json()["items"]), seconds),
                    "list": lambda: wrk(f"{base}{LIST}", seconds),
                },
            )
    return [
        Result(
            "service GET by id",
            "req/s of FastAPI without a database",
            rates["one"] / rates["bare"],
            Limit(0.25, 0.45),
            f"{rates['one']:,.0f} of {rates['bare']:,.0f}",
        ),
        Result(
            "service list of 50",
            "req/s of a bare asyncpg loop",
            rates["list"] / rates["loop"],
            Limit(0.12, 0.30),
            f"{rates['list']:,.0f} of {rates['loop']:,.0f}, {len(listed.content):,} bytes",
        ),
    ]


async def _loop(url: str, rows: int, seconds: int) -> float:
    """As many SELECTs of those rows as eight connections in one process on the same core can do."""
    connections = [await connect_driver(url) for _ in range(LOOPS)]
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {SERVER_CORE})
    deadline = time.perf_counter() + seconds
    try:

        async def ask(number: int) -> int:
            done = 0
            while time.perf_counter() < deadline:
                found = await connections[number].fetch(STATEMENT)
                assert len(found) == rows
                done += 1
            return done

        began = time.perf_counter()
        done = sum(await asyncio.gather(*map(ask, range(LOOPS))))
        return done / (time.perf_counter() - began)
    finally:
        os.sched_setaffinity(0, before)
        for connection in connections:
            await connection.close()
