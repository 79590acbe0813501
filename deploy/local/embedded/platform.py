"""The whole platform in one process: every service with its own database and port, events handed over in process."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from pydantic import SecretStr

from embedded import journey, people, ports, provider, seed
from embedded.postgres import Postgres
from embedded.services import NAMES, PROVIDER, Place, build, keep_secrets, versions_of
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.service import Process, Server, run_loop, settle, stop_on_signals
from shared.telemetry import log_as_json

CONTENT = Path(__file__).parents[1] / "content"
LOADED = "catalogue-loaded"
"""A file beside the data, from when the whole sample catalogue is there."""

log = logging.getLogger(__name__)


def here() -> Path:
    """The folder of this installation's data; MC_DATA moves it."""
    return Path(os.environ.get("MC_DATA") or Path(__file__).parents[3] / ".local").absolute()


@asynccontextmanager
async def databases(folder: Path) -> AsyncGenerator[tuple[Postgres, dict[str, str]]]:
    """PostgreSQL with a role and a migrated database for every service."""
    async with Postgres(folder / "postgres", {"max_connections": 200}) as postgres:
        urls = {name: await postgres.create_role_and_database(f"mc_{name}") for name in NAMES}
        for name, url in urls.items():
            await migrate(url, versions_of(name))
        yield postgres, urls


@asynccontextmanager
async def running(place: Place, bus: InProcessBus) -> AsyncGenerator[dict[str, Process]]:
    """Every service and the sandbox payment provider, until the block ends; raises if one of them dies."""
    stop = asyncio.Event()
    processes = {name: Process(build(name, place), bus=bus) for name in NAMES}
    started = [asyncio.Event() for _ in processes]
    async with asyncio.TaskGroup() as group:
        for process, event in zip(processes.values(), started, strict=True):
            group.create_task(process.run(stop, started=event), name=process.service.name)
        sandbox = group.create_task(serve_provider(place, stop), name=PROVIDER)
        for event in started:
            await event.wait()
        try:
            yield processes
        finally:
            stop.set()
            await sandbox


async def serve_provider(place: Place, stop: asyncio.Event) -> None:
    settings = provider.Settings(
        url=place.url(PROVIDER),
        api_key=SecretStr(place.secrets["provider api"]),
        shared_secret=SecretStr(place.secrets["provider callbacks"]),
        file=place.folder / "provider.sqlite",
    )
    server = Server(
        uvicorn.Config(provider.build(settings), host="127.0.0.1", port=place.ports[PROVIDER], log_config=None)
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


@asynccontextmanager
async def up(folder: Path, assigned: dict[str, int]) -> AsyncGenerator[tuple[Place, people.People]]:
    """The platform in this folder on these ports, with sample accounts and the sample catalogue."""
    ports.check(assigned)
    async with AsyncExitStack() as stack:
        _, urls = await stack.enter_async_context(databases(folder))
        place = Place(folder, assigned, urls, secrets=keep_secrets(folder))
        processes = await stack.enter_async_context(running(place, InProcessBus()))
        accounts = await people.open_accounts(processes["gateway"].database, folder)
        await load_catalogue(place, accounts)
        yield place, accounts


async def load_catalogue(place: Place, accounts: people.People) -> None:
    """Once: whatever staff make of the sample courses afterwards is theirs."""
    loaded = place.folder / LOADED
    if await asyncio.to_thread(loaded.exists):
        return
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []
        for role in ("catalogue_editor", "examiner"):
            client = await stack.enter_async_context(journey.connected(place.url("gateway")))
            await journey.Person(client).sign_in(accounts[role].email, accounts[role].password, keep=True)
            clients.append(client)
        await seed.load_catalogue(clients[0], clients[1], CONTENT)
    await asyncio.to_thread(loaded.touch)


def _where_to_look(place: Place, accounts: people.People, seconds: float) -> str:
    gateway = place.url("gateway")
    lines = [
        "",
        f"The platform is up after {seconds:.1f} s.",
        "",
        f"  API and documentation   {gateway}/docs",
        f"  OpenAPI document        {gateway}/openapi.json",
        f"  Courses                 {gateway}/v1/courses",
        f"  Payment provider        {place.url(PROVIDER)} (sandbox)",
        f"  Letters                 {place.folder / 'mail'}",
        f"  Database                {place.folder / 'postgres'}",
        "",
        "Sample accounts (made for this installation; sign in at POST /v1/sign-ins):",
        "",
        *(f"  {one.role:<18}{one.email:<36}{one.password}" for one in accounts.values()),
        "",
        "Next: in another shell, `make demo` walks one learner the whole way. Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    async def go() -> None:
        began = time.monotonic()
        async with stop_on_signals() as stop, up(here(), ports.assign(os.environ)) as (place, accounts):
            print(_where_to_look(place, accounts, time.monotonic() - began), flush=True)
            settle()
            await stop.wait()
            print("Stopping …", flush=True)

    here().mkdir(parents=True, exist_ok=True)
    log_as_json("platform", handler=logging.FileHandler(here() / "platform.log"))
    try:
        run_loop(go())
    except* Exception as failures:
        log.exception("the platform ended", exc_info=failures)
        told = [str(failure) or repr(failure) for failure in flat(failures)]
        sys.exit("\n".join([*told, f"(more in {here() / 'platform.log'})"]))


def flat(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The failures inside a group of groups."""
    return [one for e in group.exceptions for one in (flat(e) if isinstance(e, BaseExceptionGroup) else [e])]
