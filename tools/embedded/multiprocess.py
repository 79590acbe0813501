"""The platform as in production, on one machine: each service a process of its own, on PostgreSQL and RabbitMQ.

It runs the same commands as the images (`python -m <service> migrate`, then `run`), configured by environment alone.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from embedded import people, ports
from embedded.platform import load_catalogue, serve_provider
from embedded.postgres import Postgres
from embedded.process import Process
from embedded.rabbitmq import RabbitMQ
from embedded.services import NAMES, Deployment, build, keep_secrets
from shared.messaging.inprocess import InProcessBus
from shared.process import Process as Service

PATIENCE_SECONDS = 60.0


class ServiceProcesses:
    """Running services by name; each can be killed and started again."""

    def __init__(self, deployment: Deployment, postgres: Postgres, broker: RabbitMQ) -> None:
        self.deployment, self.postgres, self.broker = deployment, postgres, broker
        self.processes: dict[str, Process] = {}

    def log_of(self, name: str) -> Path:
        return self.deployment.folder / f"{name}.log"

    def _spawn(self, name: str, *arguments: str, crash: str | None = None) -> Process:
        environment = {**os.environ, **self.deployment.environment(name)}
        if crash is not None:
            environment |= {"MC_ENV": "test", "MC_FAILPOINT": crash}
        return Process(
            [sys.executable, "-m", name, *arguments], log=self.log_of(name), env=environment, ending=signal.SIGTERM
        )

    async def migrate(self, name: str) -> None:
        """Run the service's migrations, as the step before its start. Raises RuntimeError if they fail."""
        migration = self._spawn(name, "migrate")
        if await migration.wait():
            raise RuntimeError(f"{name} could not be migrated: {migration.output()}")

    async def start(self, name: str, *, crash: str | None = None) -> None:
        """Start one service and wait until it is ready. `crash` names a failpoint at which it kills itself."""
        process = self.processes[name] = self._spawn(name, "run", crash=crash)
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if not process.running:
                    raise RuntimeError(f"{name} ended: {process.output()}")
                try:
                    if (await client.get(f"{self.deployment.url(name)}/health/ready")).is_success:
                        return
                except httpx.TransportError:  # it does not listen yet
                    pass
                await asyncio.sleep(0.05)

    async def stop(self, name: str) -> None:
        """Send SIGTERM, and wait until the service has finished what was under way."""
        await self.processes.pop(name).stop()

    async def kill(self, name: str) -> None:
        """Kill the service with SIGKILL."""
        await self.processes.pop(name).kill()


async def _open_accounts(deployment: Deployment) -> people.People:
    gateway = Service(build("gateway", deployment), bus=InProcessBus())  # only for its database: it is not run
    try:
        return await people.open_accounts(gateway.database, deployment.folder)
    finally:
        await gateway.http.aclose()
        await gateway.database.dispose()


@asynccontextmanager
async def service_processes(folder: Path, assigned: dict[str, int]) -> AsyncGenerator[ServiceProcesses]:
    """Run the platform as processes in this folder on these ports, with sample accounts and the sample catalogue."""
    ports.check(assigned)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(Postgres(folder / "postgres", {"max_connections": 200}))
        broker = await stack.enter_async_context(RabbitMQ(folder / "rabbitmq"))
        urls = {name: await postgres.create_role_and_database(f"mc_{name}") for name in NAMES}
        deployment = Deployment(folder, assigned, urls, amqp_url=broker.url, secrets=keep_secrets(folder))
        platform = ServiceProcesses(deployment, postgres, broker)
        stop = asyncio.Event()
        provider = asyncio.create_task(serve_provider(deployment, stop))
        try:
            await asyncio.gather(*(platform.migrate(name) for name in NAMES))
            await asyncio.gather(*(platform.start(name) for name in NAMES))
            await load_catalogue(deployment, await _open_accounts(deployment), await postgres.cluster_id())
            yield platform
        finally:
            await asyncio.gather(*(process.stop() for process in platform.processes.values()))
            stop.set()
            await provider
