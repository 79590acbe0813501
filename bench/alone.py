"""One service in a process of its own, without a broker and without the others: `python -m bench.alone <service>`."""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

from bench.programs import LOAD_CORE, SERVER_CORE, running, tie
from embedded import ports
from embedded.postgres import Postgres
from embedded.process import Process as Program
from embedded.services import Deployment, keep_secrets, versions_of
from shared.messaging.inprocess import InProcessBus
from shared.migrate import migrate
from shared.process import Process
from shared.running import run_loop, settle, stop_on_signals
from shared.telemetry import log_as_json


@asynccontextmanager
async def prepared(name: str, folder: Path, port: int) -> AsyncGenerator[Deployment]:
    """The service's own database, migrated, on the core of the load."""
    async with Postgres(folder / "postgres") as server:
        tie(server, LOAD_CORE)
        url = await server.create_role_and_database(f"mc_{name}")
        await migrate(url, versions_of(name))
        yield Deployment(folder, ports.assign({ports.VARIABLE: str(port)}), {name: url}, secrets=keep_secrets(folder))


@asynccontextmanager
async def alone(name: str, deployment: Deployment) -> AsyncGenerator[Program]:
    """The service on its core, with every duty but consuming others' events."""
    environment = deployment.environment(name) | {"MC_FEEDS": json.dumps({})}
    command = [sys.executable, "-m", "bench.alone", name]
    log = deployment.folder / f"{name}.log"
    async with running(command, SERVER_CORE, log, deployment.ports[name], environment) as program:
        yield program


async def serve(name: str) -> None:
    service = import_module(f"{name}.app").build(import_module(f"{name}.settings").Settings())
    log_as_json(name, release=service.settings.release, level=service.settings.log_level)
    async with stop_on_signals() as stop:
        process = Process(service, bus=InProcessBus())
        settle()
        await process.run(stop)


if __name__ == "__main__":
    run_loop(serve(sys.argv[1]))
