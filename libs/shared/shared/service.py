"""One service as one process: API, relay, inbox, reconciliation, jobs and post, under one TaskGroup.

If one of them dies, all end, and whoever started the process starts it again. `python -m <service>` runs it;
`migrate`, `openapi` and `parked` are the other things one may ask of it.
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp
from uvicorn.loops.auto import auto_loop_factory

from shared import telemetry
from shared.access import Access, IssuerUnreachable, TokenVerifier
from shared.clock import Clock
from shared.database import Database, takes_writes
from shared.digests import Digests
from shared.due_rows import count_set_aside
from shared.due_times import EVERYWHERE, DueTime, bring_forward
from shared.events import registry
from shared.jobs import REMOVES, Jobs, Work, forget_old_records
from shared.mail import FolderMailer, Mailer, Postman, SmtpMailer
from shared.messaging import event_log, feed
from shared.messaging.inbox import Inbox, Receiver
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import Wakeup
from shared.messaging.parked import count_parked
from shared.messaging.rabbitmq import Consumer, RabbitMQ
from shared.messaging.relay import Relay, Transport
from shared.messaging.retrying import RetryPolicy
from shared.migrate import Revisions
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage
from shared.registers import Entry, HttpRegisters, Reader, Registers
from shared.registers import router as registers_router
from shared.settings import ServiceSettings
from shared.storage import ObjectStorage
from shared.store_owner import guard_store
from shared.web import openapi, problems
from shared.web.middleware import HeadAsGet, Telemetry

log = logging.getLogger(__name__)

R = TypeVar("R")

STUCK_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """What a service is made of; its app.py builds one."""

    name: str
    title: str
    description: str
    settings: ServiceSettings
    versions: Path
    """Where its migrations are."""
    routers: Sequence[APIRouter]
    access: Access
    inbox: Inbox
    jobs: Jobs = field(default_factory=Jobs)
    due_times: Sequence[DueTime] = ()
    """Columns of its own by which rows wait."""
    resources: Mapping[type, Any] = field(default_factory=dict[type, Any])
    """What routes and jobs need beyond the database, by type. Any: each is its own type."""
    registers: Mapping[type[Entry], Reader] = field(default_factory=dict[type[Entry], Reader])
    """What it lets the other services read by key."""
    webhooks: Sequence[APIRouter] = ()
    """What it posts to others, for its OpenAPI document."""
    wrap: Callable[["Process", FastAPI], ASGIApp] | None = None
    """Puts another ASGI application around the API (the gateway's proxy)."""
    also: Callable[["Process"], Sequence[Callable[[], Any]]] | None = None
    """Further coroutines to run under the same TaskGroup."""
    further_connections: int = 0
    """To the database, which those keep open."""
    protocol: type[asyncio.Protocol] | Literal["httptools"] = "httptools"
    """Reads HTTP from the socket (the gateway's bounds a request's head in bytes and in time)."""
    verifier: Callable[["Process"], TokenVerifier] | None = None
    """The gateway knows its keys itself; every other service asks it."""


class Process:
    """A service at run time. In embedded mode (`bus` given) its relay and inbox meet the others in process.

    `sockets` listen already, by port; a port that is not among them is opened at the start.
    """

    def __init__(
        self,
        service: Service,
        *,
        bus: InProcessBus | None = None,
        clock: Clock | None = None,
        policy: RetryPolicy | None = None,
        mailer: Mailer | None = None,
        sockets: Mapping[int, Sequence[socket.socket]] | None = None,
    ) -> None:
        settings = service.settings
        self.service, self.bus = service, bus
        self.wakeup = Wakeup()
        self.database = Database(
            settings.database_url,
            service.name,
            wakeup=self.wakeup,
            clock=clock,
            pool_size=settings.pool_size,
            messaging_pool_size=settings.messaging_pool_size,
            pool_timeout_seconds=settings.pool_timeout_seconds,
        )
        self.digests = Digests(settings.feed_secret.get_secret_value(), service.name)
        self._sockets = sockets or {}
        # For the other services: what the environment says of proxies is meant for the world outside, and the secret
        # that opens the feeds is none of a proxy's business.
        self.http = httpx.AsyncClient(timeout=10, trust_env=False)
        self.receiver = Receiver(service.inbox, self.database, policy)
        self.draining = asyncio.Event()
        self._revisions: Revisions | None = None
        self.relay: Relay | None = None
        self._rabbitmq = RabbitMQ(settings.amqp_url, service.name) if bus is None and settings.amqp_url else None
        if bus is not None:
            bus.subscribe(self.receiver)
        self.verifier = (
            service.verifier(self)
            if service.verifier
            else TokenVerifier(settings.issuer, settings.audience, self._fetch_keys, self.database.clock)
        )
        self.mailer = mailer or (
            SmtpMailer(settings.smtp_url) if settings.smtp_url else FolderMailer(Path(settings.mail_folder))
        )
        if ObjectStorage in service.resources:
            guard_store(Work(self.database, service.resources))
        self.api = build_api(self)
        self.app: ASGIApp = service.wrap(self, self.api) if service.wrap else self.api

    async def _fetch_keys(self) -> Mapping[str, Any]:  # Any: JSON
        try:
            answer = await self.http.get(self.service.settings.jwks_url)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise IssuerUnreachable(
                "who you are cannot be checked at the moment", headers={"Retry-After": "1"}
            ) from error
        return answer.json()

    @property
    def transport(self) -> Transport:
        transport = self.bus or self._rabbitmq
        if transport is None:
            message = "MC_AMQP_URL is not set, and this is not the embedded platform"
            raise RuntimeError(message)
        return transport

    def sockets_of(self, port: int | None) -> list[socket.socket] | None:
        """The sockets that listen on this port already, as uvicorn takes them."""
        found = None if port is None else self._sockets.get(port)
        return None if found is None else [*found]

    def feeds(self) -> dict[str, feed.Feed]:
        secret = self.service.settings.feed_secret.get_secret_value()
        return {
            source: feed.HttpFeed(url, secret, self.http)
            for source, url in self.service.settings.feeds.items()
            if source != self.service.name
        }

    def resources(self) -> dict[type, Any]:  # Any: each is its own type
        """What routes and jobs may ask for: the service's own, and the registers of the others."""
        settings = self.service.settings
        registers = HttpRegisters(settings.feeds, settings.feed_secret.get_secret_value(), self.http)
        return {Registers: registers, Digests: self.digests, **self.service.resources, Process: self}

    @property
    def connections(self) -> int:
        """How many connections to the database one replica opens at most: the two pools', the relay's, the one beside,
        and what the service keeps open besides."""
        settings = self.service.settings
        return settings.pool_size + settings.messaging_pool_size + 2 + self.service.further_connections

    async def revisions(self) -> Revisions:
        """Of its schema, read once."""
        if self._revisions is None:
            self._revisions = await asyncio.to_thread(Revisions, self.service.versions)
        return self._revisions

    async def run(self, stop: asyncio.Event, *, started: asyncio.Event | None = None) -> None:
        """Run until `stop`, then finish what is under way. Raises if any part dies."""
        settings = self.service.settings
        if not await (await self.revisions()).fit(self.database.messaging):
            message = f"{self.service.name}: the database is behind this release; run `migrate` first"
            raise RuntimeError(message)
        await self.database.set_clock()
        registry()  # now, and not while the first event waits: it reads every event there is
        reconciler = feed.Reconciler(self.receiver, self.database, self.feeds())
        work = Work(self.database, self.resources(), reconciler.caught_up)
        self.relay = Relay(self.service.name, self.database, self.transport, wakeup=self.wakeup)
        server = Server(
            uvicorn.Config(
                self.app,
                host=settings.host,
                port=settings.port,
                http=self.service.protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,  # else anybody on this machine could say where a request came from
                timeout_graceful_shutdown=int(settings.drain_seconds),
                lifespan="off",
            )
        )
        background = [
            self.relay.run,
            self.wakeup.run,
            self.receiver.run_retries,
            reconciler.run,
            Postman(self.database, self.mailer, settings.mail_from, self.service.name).run,
            lambda: self.service.jobs.run(work),
            lambda: housekeeping(self.service.due_times).run(work),
            self._measure,
        ]
        if self._rabbitmq is not None and settings.amqp_url:
            background.append(Consumer(settings.amqp_url, self.receiver).run)
        if self.service.also:
            background.extend(self.service.also(self))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_ending_when_cancelled(part)) for part in background]
                serving = group.create_task(server.serve(self.sockets_of(settings.port)))
                while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has a flag, no event
                    await asyncio.sleep(0.01)
                if started is not None:
                    started.set()
                log.info("started", extra={"port": settings.port, "database_connections": self.connections})
                stopping = group.create_task(stop.wait())
                await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                self.draining.set()  # readiness answers 503 from here on
                await asyncio.sleep(settings.unready_seconds)
                server.should_exit = True
                await serving
                for task in tasks:
                    task.cancel()
        finally:
            if self._rabbitmq is not None:
                await self._rabbitmq.close()
            await self.http.aclose()
            await self.database.dispose()
            log.info("stopped")

    async def _measure(self) -> None:
        while True:
            try:
                await self.database.set_clock()
                async with self.database.transaction() as session:
                    telemetry.parked_messages.labels(self.service.name).set(await count_parked(session))
                    telemetry.rows_set_aside.labels(self.service.name).set(await count_set_aside(session))
            except DATABASE_ERRORS as error:
                note_outage(log, error)
            await asyncio.sleep(30)


def run_loop(main: Coroutine[None, None, R]) -> R:
    """As asyncio.run, on the loop uvicorn would choose: uvloop, where there is one, serves a third more."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(main)


def settle() -> None:
    """Call once this process has become what it stays: the garbage collector passes over what is there now.

    Its full rounds would hold up the requests under way for a tenth of a second each.
    """
    gc.collect()
    gc.freeze()


async def _ending_when_cancelled(part: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a part; where its cancellation broke something (a statement cut off), it is a cancellation all the same.

    In a task of its own: Python 3.11 leaves a task that held a TaskGroup whose member failed as if cancelled
    (CPython issue 116720), so that the part's own count of cancellations cannot tell.
    """
    task = asyncio.create_task(part())
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()):
            log.info("ended while being cancelled", extra={"error": repr(error)})
        raise
    task.result()


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: several run in one process, and the process decides when they stop."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Also where it is cancelled, nothing is left open."""
        try:
            await super().serve(sockets)
        finally:
            for listening in getattr(self, "servers", ()):
                listening.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()


def housekeeping(due_times: Sequence[DueTime] = ()) -> Jobs:
    """What every service does by itself."""
    jobs = Jobs()
    jobs.every(3600, effect=REMOVES)(forget_old_records)

    @jobs.every(60)
    async def keep_event_log(work: Work) -> None:
        await event_log.keep_event_log(work.database)

    @jobs.every(60)
    async def bring_due_times_forward(work: Work) -> None:
        await bring_forward(work.database, [*EVERYWHERE, *due_times])

    return jobs


def build_api(process: Process) -> FastAPI:
    """The service's FastAPI application, guarded by its access table."""
    service = process.service
    app = FastAPI(
        title=service.title,
        description=service.description,
        version=service.settings.release,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # to whatever host the request names
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.database = process.database
    app.state.access = service.access
    app.state.verifier = process.verifier
    app.state.digests = process.digests
    app.state.resources = process.resources()
    app.state.registers = service.registers
    app.state.feed_secret = service.settings.feed_secret.get_secret_value()
    problems.install(app)
    # Not include_router: every request would look for its route in a router within the router, at twice the cost.
    for router in (*service.routers, feed.router, registers_router, _health(process)):
        app.router.routes.extend(router.routes)
    for router in service.webhooks:
        app.webhooks.routes.extend(router.routes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Telemetry, service=service.name)
    app.openapi = lambda: openapi.describe(app, service.name, service.access)
    _check_access(app, service)
    return app


def operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    """operationId -> (method, path) of everything in the OpenAPI document."""
    document = app.openapi()
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


def _check_access(app: FastAPI, service: Service) -> None:
    served, declared = set(operations(app)), set(service.access)
    if served != declared:
        message = (
            f"{service.name}: operations without an access row: {served - declared}; "
            f"rows without an operation: {declared - served}"
        )
        raise RuntimeError(message)


def _health(process: Process) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live(response: Response) -> dict[str, str]:
        """The loop turns and the relay beats; never asks the database."""
        beat = process.relay.last_beat if process.relay else None
        if beat is not None and asyncio.get_running_loop().time() - beat > STUCK_SECONDS:
            response.status_code = 503
            return {"status": "the relay is stuck"}
        return {"status": "live", "release": process.service.settings.release}

    @router.get("/health/ready")
    async def ready(response: Response) -> dict[str, str]:
        """Requests can be taken. A broker that is away does not matter here: events wait in the outbox."""
        if process.draining.is_set():
            response.status_code = 503
            return {"status": "draining"}
        try:
            async with asyncio.timeout(2):
                writes = await takes_writes(process.database.web)
                fits = await (await process.revisions()).fit(process.database.web)
        except Exception as error:
            if not is_database_down(error):
                raise
            response.status_code = 503
            response.headers["Retry-After"] = "2"
            return {"status": "the database is away"}
        if not (writes and fits):
            response.status_code = 503
            response.headers["Retry-After"] = "2"
            return {"status": "the database is behind this release" if writes else "the database only reads"}
        return {"status": "ready"}

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


@asynccontextmanager
async def stop_on_signals() -> AsyncGenerator[asyncio.Event]:
    """An event that is set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
