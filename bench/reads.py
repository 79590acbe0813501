"""Public reads of the catalogue, one process on one core, against the same bytes without a database."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import httpx

from bench.alone import alone, prepared
from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import EACH_ANOTHER, SERVER_CORE, fastapi, ourselves_on, running, wrk
from embedded import ports, seed
from embedded.platform import CONTENT
from embedded.services import Deployment, build
from shared.driver import connect_driver
from shared.testing.services import FrozenClock, ServiceUnderTest

LIST = "/v1/courses?limit=50"
STATEMENT = """
    select course_id, slug, code, title, summary, credits, level, weeks, version, published_at
    from courses join course_versions using (course_id)
    where current_version_id = course_version_id limit 50
"""
LOOPS = 8
BY_ID, LISTED = Limit(0.25, 0.45, 0.5), Limit(0.12, 0.30, 0.5)


async def measure(bench: Bench) -> list[Result]:
    first = ports.suggest(len(ports.NAMES) + 1)
    bare = first + len(ports.NAMES)
    seconds = 1 if bench.short else 5
    without = f"http://127.0.0.1:{bare}"
    async with AsyncExitStack() as stack:
        deployment = await stack.enter_async_context(prepared("catalogue", bench.folder / "catalogue", first))
        await _load(deployment)
        await stack.enter_async_context(alone("catalogue", deployment))
        base = deployment.url("catalogue")
        async with httpx.AsyncClient(trust_env=False, base_url=base) as client:
            listed = (await client.get(LIST)).raise_for_status()
            one = f"/v1/courses/{listed.json()['items'][0]['slug']}"
            read = (await client.get(one)).raise_for_status()
        rows = len(listed.json()["items"])
        async with running(fastapi(read.content, bench.folder, bare), SERVER_CORE, bench.folder / "bare.log", bare):
            rates = await alternate(
                bench.rounds,
                {
                    "bare": lambda: wrk(f"{without}{one}", seconds),
                    "one": lambda: wrk(f"{base}{one}", seconds, script=EACH_ANOTHER),
                    "one again": lambda: wrk(f"{base}{one}", seconds),
                    "loop": lambda: _loop(deployment.databases["catalogue"], rows, seconds),
                    "list": lambda: wrk(f"{base}{LIST}", seconds, script=EACH_ANOTHER),
                    "list again": lambda: wrk(f"{base}{LIST}", seconds),
                },
            )

    def result(subject: str, name: str, of: str, limit: Limit) -> Result:
        measure = "req/s of FastAPI without a database" if of == "bare" else "req/s of a bare asyncpg loop"
        detail = f"{rates[name]:,.0f} of {rates[of]:,.0f}"
        return Result(subject, measure, rates[name] / rates[of], limit, detail)

    return [
        result("GET by id, from the database", "one", "bare", BY_ID),
        result("GET by id, asked before", "one again", "bare", BY_ID),
        result(f"list of {rows}, from the database", "list", "loop", LISTED),
        result(f"list of {rows}, asked before", "list again", "loop", LISTED),
    ]


async def _load(deployment: Deployment) -> None:
    """The sample catalogue, through the service's own API; the courses' briefs are no concern of its own."""
    catalogue = ServiceUnderTest(build("catalogue", deployment), FrozenClock(datetime.now(UTC)))
    elsewhere = httpx.MockTransport(lambda _: httpx.Response(200))
    async with catalogue.client("catalogue_editor") as editor, httpx.AsyncClient(transport=elsewhere) as parser:
        parser.base_url = "http://assessment"
        await seed.load_catalogue(editor, parser, CONTENT)
    await catalogue.process.http.aclose()
    await catalogue.process.database.dispose()


async def _loop(url: str, rows: int, seconds: int) -> float:
    """As many SELECTs of those rows as eight connections in one process on the same core can do."""
    connections = [await connect_driver(url) for _ in range(LOOPS)]
    deadline = time.perf_counter() + seconds

    async def ask(number: int) -> int:
        done = 0
        while time.perf_counter() < deadline:
            found = await connections[number].fetch(STATEMENT)
            assert len(found) == rows
            done += 1
        return done

    try:
        with ourselves_on(SERVER_CORE):
            began = time.perf_counter()
            done = sum(await asyncio.gather(*map(ask, range(LOOPS))))
            return done / (time.perf_counter() - began)
    finally:
        for connection in connections:
            await connection.close()
