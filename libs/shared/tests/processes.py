"""The services of the delivery suite whole, in this process or in one of their own that a test may kill."""

import asyncio
import json
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import reload
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
from pydantic import SecretStr

from embedded import ports
from shared import failpoints
from shared.access import TokenVerifier
from shared.jobs import Jobs
from shared.messaging.inprocess import InProcessBus
from shared.process import Process
from shared.running import run_loop, stop_on_signals
from shared.service import Service
from shared.settings import ServiceSettings
from shared.telemetry import log_as_json
from shared.testing.services import AUDIENCE, ISSUER, Issuer

from .delivery import ACCESS, HASTY, HASTY_LEASE_SECONDS, INBOXES, VERSIONS, router
from .messaging_nodes import eventually

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["shared.cli", "shared.testing.services", "uvicorn.protocols.http.httptools_impl", "httpx"]
)
"""Each process is a real one, forked from one that has only imported: reading the libraries anew takes seconds."""


def service_of(
    name: str, url: str, *, port: int = 0, verifier: TokenVerifier | None = None, **settings: Any
) -> Service:
    """payments, enrolment or credentials as a whole service."""
    return Service(
        name=name,
        title=name,
        description="of the delivery suite",
        settings=ServiceSettings(
            database_url=url,
            feed_secret=SecretStr("of the tests"),
            host="127.0.0.1",
            port=port,
            drain_seconds=2,
            **settings,
        ),
        versions=VERSIONS,
        routers=[router] if name == "payments" else [],
        access=ACCESS if name == "payments" else {},
        inbox=INBOXES[name],
        jobs=Jobs(),
        verifier=(lambda _: verifier) if verifier else None,
    )


@asynccontextmanager
async def running(*processes: Process) -> AsyncGenerator[list[asyncio.Task[None]]]:
    """The processes at work in this one; fails if one of them dies."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    for process in processes:
        started = asyncio.Event()
        task = asyncio.create_task(process.run(stop, started=started))
        tasks.append(task)
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
    try:
        yield tasks
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@dataclass
class ServiceProcesses:
    """Services in an operating system process of their own, which a test may kill.

    With a broker each service is a process; without, all are in one, joined by the in-process bus.
    """

    folder: Path
    databases: dict[str, str]
    amqp_url: str | None
    issuer: Issuer
    reconcile: bool = False
    """Whether consumers know the producer's feed; without it, delivery is the transport's alone."""

    def __post_init__(self) -> None:
        first = ports.suggest(len(self.databases))
        self.ports = {name: first + offset for offset, name in enumerate(self.databases)}
        self.port = self.ports["payments"]
        self._running: dict[str, BaseProcess] = {}

    async def start(self, name: str, crash: str = "") -> BaseProcess:
        """Start one of them; `crash` is the place where it is to kill itself."""
        settings = self.folder / f"{name}.json"
        settings.write_text(
            json.dumps(
                {
                    "services": [name] if self.amqp_url else list(self.databases),
                    "databases": self.databases,
                    "amqp_url": self.amqp_url,
                    "ports": self.ports,
                    "keys": await self.issuer.keys(),
                    "feeds": {"payments": f"http://127.0.0.1:{self.port}"} if self.reconcile else {},
                }
            )
        )
        process = FORKSERVER.Process(target=_begin, args=(settings, self.folder / f"{name}.log", crash), daemon=True)
        process.start()
        self._running[name] = process
        return process

    async def ready(self, name: str) -> None:
        """Wait until payments (or all in one process) takes requests."""

        async def answers() -> bool:
            assert self._running[name].is_alive(), self.log(name)
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"http://127.0.0.1:{self.port}/health/ready")).is_success
            except httpx.TransportError:
                return False

        await eventually(answers, 30)

    async def killed(self, name: str, seconds: float = 30) -> None:
        """Wait until it has been killed, by itself or by us."""
        process = self._running[name]

        async def ended() -> bool:
            return not process.is_alive()

        await eventually(ended, seconds)
        assert process.exitcode == -signal.SIGKILL, self.log(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-5000:]

    def kill(self, name: str) -> None:
        self._running[name].kill()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.join()


def _begin(settings: Path, log: Path, crash: str) -> None:
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("MC_")]:
        del os.environ[name]
    os.environ |= {"MC_ENV": "test", "MC_FAILPOINT": crash}
    reload(failpoints)  # reads the environment as it is loaded
    mock.patch("shared.messaging.outbox.LEASE_SECONDS", HASTY_LEASE_SECONDS).start()
    log_as_json("apart")
    run_loop(_run_in_process(json.loads(settings.read_text()), settings.parent / "mail"))


async def _run_in_process(given: dict[str, Any], mail: Path) -> None:

    async def keys() -> dict[str, object]:
        return given["keys"]

    bus = None if given["amqp_url"] else InProcessBus()
    async with stop_on_signals() as stop, AsyncExitStack() as stack:
        processes = [
            Process(
                service_of(
                    name,
                    given["databases"][name],
                    port=given["ports"][name],
                    verifier=TokenVerifier(ISSUER, AUDIENCE, keys),
                    amqp_url=given["amqp_url"],
                    feeds=given["feeds"],
                    mail_folder=str(mail),
                ),
                bus=bus,
                policy=HASTY,
            )
            for name in given["services"]
        ]
        await stack.enter_async_context(running(*processes))
        await stop.wait()
