"""The embedded platform: every service in one process, each with its own database and port; events stay in process."""

import asyncio
import logging
import os
import resource
import shlex
import socket
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

import httpx
import uvicorn
from pydantic import SecretStr

from embedded import installation, journey, people, ports, provider, seed, windows
from embedded.postgres import Postgres, PostgresError
from embedded.services import NAMES, PROVIDER, Deployment, build, has_secrets, keep_secrets, versions_of
from embedded.strangers import print_strangers
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.origins import LOOPBACK, listed_origins
from shared.process import Process
from shared.running import Server, run_loop, settle, stop_on_signals
from shared.telemetry import log_as_json

Listeners = Mapping[int, Sequence[socket.socket]]
"""Sockets that listen already, by port."""
CONTENT = Path(__file__).parents[1] / "content"
LOADED = "catalogue-loaded"
"""A file beside the data, written once the whole sample catalogue is loaded; it names the cluster that has it."""
LOG_BYTES = 10_000_000
LOGS_KEPT = 3
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Between two checks of PostgreSQL, or two attempts to start it, in seconds."""
DESCRIPTORS = 512
"""Files and connections the platform may have open; at rest it has some 120."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def databases(folder: Path) -> AsyncGenerator[tuple[Postgres, dict[str, str]]]:
    """Run PostgreSQL with a role and a migrated database for every service. Yields it with the databases' addresses."""
    async with Postgres(folder / "postgres", {"max_connections": 200}) as postgres:
        urls = {name: await postgres.create_role_and_database(f"mc_{name}") for name in NAMES}
        for name, url in urls.items():
            await migrate(url, versions_of(name))
        yield postgres, urls


async def keep_up(postgres: Postgres) -> None:
    """Start PostgreSQL again where it has ended, and print that; until it is back, everything answers 503."""
    pause = SHORTEST_PAUSE
    while True:
        await asyncio.sleep(pause)
        if postgres.running:
            pause = SHORTEST_PAUSE
            continue
        sys.stderr.write("PostgreSQL has ended; it is started again\n")
        try:
            await postgres.start()
        except (PostgresError, OSError) as error:
            pause = min(2 * pause, LONGEST_PAUSE)
            sys.stderr.write(f"PostgreSQL does not start, and is tried again in {pause:.0f} s: {error}\n")


@asynccontextmanager
async def running(
    deployment: Deployment, bus: InProcessBus, listeners: Listeners
) -> AsyncGenerator[dict[str, Process]]:
    """Run every service and the sandbox payment provider until the block ends; raises if one of them fails."""
    stop = asyncio.Event()
    processes = {name: Process(build(name, deployment), bus=bus, sockets=listeners) for name in NAMES}
    started = [asyncio.Event() for _ in processes]
    async with asyncio.TaskGroup() as group:
        for process, event in zip(processes.values(), started, strict=True):
            group.create_task(process.run(stop, started=event), name=process.service.name)
        sandbox = group.create_task(serve_provider(deployment, stop, listeners), name=PROVIDER)
        for event in started:
            await event.wait()
        try:
            yield processes
        finally:
            stop.set()
            await sandbox


async def serve_provider(deployment: Deployment, stop: asyncio.Event, listeners: Listeners | None = None) -> None:
    port = deployment.ports[PROVIDER]
    settings = provider.Settings(
        url=deployment.url(PROVIDER),
        api_key=SecretStr(deployment.secrets["provider api"]),
        shared_secret=SecretStr(deployment.secrets["provider callbacks"]),
        file=deployment.folder / "provider.sqlite",
    )
    server = Server(uvicorn.Config(provider.build(settings), host="127.0.0.1", port=port, log_config=None))
    serving = asyncio.create_task(server.serve([*listeners[port]] if listeners else None))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


@asynccontextmanager
async def up(
    folder: Path, assigned: dict[str, int], origins: tuple[str, ...] = LOOPBACK
) -> AsyncGenerator[tuple[Deployment, people.People, Listeners]]:
    """Run the platform in this folder on these ports, with sample accounts and the sample catalogue."""
    async with AsyncExitStack() as stack:
        stack.enter_context(installation.running_at(folder, f"http://127.0.0.1:{assigned['gateway']}"))
        listeners = stack.enter_context(ports.listening(assigned, public=("gateway", PROVIDER)))
        if (folder / "postgres" / "cluster").exists() and not has_secrets(folder):
            raise installation.Unusable(
                f"{folder / 'secrets.json'} is missing or damaged; what it sealed in the databases beside it cannot be "
                f"opened without: bring the file back from a copy, or move {folder} away to begin anew"
            )
        made = keep_secrets(folder)
        postgres, urls = await stack.enter_async_context(databases(folder))
        keeping_up = asyncio.create_task(keep_up(postgres))
        stack.callback(keeping_up.cancel)
        deployment = Deployment(folder, assigned, urls, secrets=made, origins=origins)
        processes = await stack.enter_async_context(running(deployment, InProcessBus(), listeners))
        accounts = await people.open_accounts(processes["gateway"].database, folder)
        await load_catalogue(deployment, accounts, await postgres.cluster_id())
        await windows.open_one(processes["assessment"].database)
        keeping = asyncio.create_task(windows.keep_one_open(processes["assessment"].database))
        stack.callback(keeping.cancel)
        printing = asyncio.create_task(print_strangers(processes))
        stack.callback(printing.cancel)
        yield deployment, accounts, listeners


async def load_catalogue(deployment: Deployment, accounts: people.People, cluster: str) -> None:
    """Load the sample catalogue, once into these databases: what staff change in it afterwards stays changed."""
    loaded = deployment.folder / LOADED
    # Earlier releases left the file empty.
    if await asyncio.to_thread(loaded.exists) and await asyncio.to_thread(loaded.read_text) in {"", cluster}:
        await print_no_courses(deployment)
        return
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []
        for role in ("catalogue_editor", "examiner"):
            client = await stack.enter_async_context(journey.connected(deployment.address("gateway")))
            await journey.Person(client).sign_in(accounts[role].email, accounts[role].password, keep=True)
            clients.append(client)
        await seed.load_catalogue(clients[0], clients[1], CONTENT)
    await asyncio.to_thread(loaded.write_text, cluster)


async def print_no_courses(deployment: Deployment) -> None:
    """Print a hint where the sample catalogue was loaded but no course is on sale."""
    async with journey.connected(deployment.address("gateway")) as client:
        answer = (await client.get("/v1/courses", params={"limit": 1})).raise_for_status()
    if not answer.json()["items"]:
        print(
            "No course is on sale, though the sample catalogue was loaded: its database may have been emptied. Put it "
            f"back from a copy, or remove {deployment.folder / LOADED} and start again, and it is loaded anew.",
            flush=True,
        )


def _where_to_look(deployment: Deployment, accounts: people.People, listeners: Listeners, seconds: float) -> str:
    public = (deployment.ports["gateway"], deployment.ports[PROVIDER])
    strangers = [port for port in public if ports.strangers_beside(listeners, port)]
    url = deployment.address if strangers else deployment.url
    gateway = url("gateway")
    moved = f"MC_DATA={shlex.quote(str(deployment.folder))} " if os.environ.get("MC_DATA") else ""
    lines = [
        "",
        f"The platform is up after {seconds:.1f} s.",
        "",
        f"  API and documentation   {gateway}/docs",
        f"  OpenAPI document        {gateway}/openapi.json",
        f"  Courses                 {gateway}/v1/courses",
        f"  Payment provider        {url(PROVIDER)} (sandbox)",
        f"  E-mails                 {deployment.folder / 'mail'}",
        f"  Database                {deployment.folder / 'postgres'}",
        "",
        "Sample accounts (made for this installation; sign in at POST /v1/sign-ins):",
        "",
        *(f"  {one.role:<18}{one.email:<36}{one.password}" for one in accounts.values()),
        "",
        *(
            f"Another program listens on [::1]:{port}, where localhost may lead: write 127.0.0.1 instead."
            for port in strangers
        ),
        f"Next: in another shell, `{moved}make demo` walks one learner the whole way. Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)


async def _serve(folder: Path, stop: asyncio.Event, is_up: asyncio.Event) -> None:
    began = time.monotonic()
    origins = (*LOOPBACK, *listed_origins(os.environ.get("MC_ORIGINS", "")))
    async with up(folder, ports.assign(os.environ), origins) as (deployment, accounts, listeners):
        print(_where_to_look(deployment, accounts, listeners, time.monotonic() - began), flush=True)
        is_up.set()
        settle()
        await stop.wait()


async def _run(folder: Path) -> None:
    """Serve until a signal comes; one during the start breaks the start off."""
    async with stop_on_signals() as stop:
        is_up = asyncio.Event()
        serving = asyncio.create_task(_serve(folder, stop, is_up))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            print("Stopping …", flush=True)
            if not is_up.is_set():
                serving.cancel()
        stopping.cancel()
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()


def _allow_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise installation.Unusable(f"the platform needs {DESCRIPTORS} open files, {hard} are allowed: see `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    folder = installation.here()
    logged = ""
    failed: list[Exception] = []
    try:
        installation.make_private(folder)
        file = folder / "platform.log"
        log_as_json("platform", handler=RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT))
        logged = f"(more in {file})"
        _allow_descriptors()
        run_loop(_run(folder))
    except* Exception as failures:
        failed = flat(failures)
        if logged:  # without the log file it would go to the terminal, with a traceback
            log.exception("the platform ended", exc_info=failures)
    if failed:  # raised inside `except*`, SystemExit would become part of a group
        sys.exit("\n".join([*(str(failure) or repr(failure) for failure in failed), *filter(None, [logged])]))


def flat(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """Return the exceptions inside a group of groups."""
    return [one for e in group.exceptions for one in (flat(e) if isinstance(e, BaseExceptionGroup) else [e])]
