"""One service as one process: API, relay, inbox, reconciler, jobs and e-mail sender, under one TaskGroup.

A loop that fails is begun again: no row, reply or error that nobody thought of ends the others, or the process.
`python -m <service>` runs it; its other commands are in `shared.cli`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp

from shared import liveness, telemetry
from shared.access import Access, IssuerUnreachable, TokenVerifier
from shared.clock import Clock
from shared.database import Database, takes_writes
from shared.digests import Digests
from shared.directory import Directory, DirectoryEntry, HttpDirectory, Reader
from shared.directory import router as directory_router
from shared.due_rows import count_set_aside
from shared.due_times import EVERYWHERE, DueTime, bring_forward
from shared.emails import EmailSender, FolderMailer, Mailer, measure_emails
from shared.events import registry
from shared.jobs import REMOVES, Jobs, Work, forget_old_records
from shared.messaging import event_log, feed
from shared.messaging.dead_letters import count_dead_letters
from shared.messaging.history import History, lost
from shared.messaging.inbox import Inbox, Receiver
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import OutboxNotifier
from shared.messaging.rabbitmq import Consumer, RabbitMQ
from shared.messaging.relay import Relay, Transport
from shared.messaging.retrying import RetryPolicy
from shared.migrate import Revisions
from shared.outages import DATABASE_ERRORS, is_being_cancelled, note_outage
from shared.peers import PeerAway, ask, json_of
from shared.running import Server
from shared.settings import ServiceSettings
from shared.smtp import SmtpMailer
from shared.storage import ObjectStorage
from shared.store_owner import guard_store
from shared.web import openapi, problems
from shared.web.middleware import HeadAsGet, Telemetry

log = logging.getLogger(__name__)

R = TypeVar("R")

STOP_SECONDS = 10.0
"""How long the loops may finish their work when the process is to end; then the database's connections are cut."""
KEYS_SECONDS = 10.0
"""Limit for the gateway's whole answer with its keys."""
BEGIN_AGAIN_SECONDS = 1.0
"""Pause before a loop that failed is begun again."""
MEASURE_SECONDS = 30.0
"""Pause between two measurements of the gauges, and of the database's clock."""


@dataclass(frozen=True)
class Service:
    """The parts of a service, which its app.py puts together."""

    name: str
    title: str
    description: str
    settings: ServiceSettings
    versions: Path
    """The folder of its migrations."""
    routers: Sequence[APIRouter]
    access: Access
    inbox: Inbox
    jobs: Jobs = field(default_factory=Jobs)
    due_times: Sequence[DueTime] = ()
    """The service's own columns by which rows wait."""
    resources: Mapping[type, Any] = field(default_factory=dict[type, Any])
    """What routes and jobs need beyond the database, by type. Any: each is its own type."""
    directory: Mapping[type[DirectoryEntry], Reader] = field(default_factory=dict[type[DirectoryEntry], Reader])
    """The directory entries that the other services may read from it by key."""
    webhooks: Sequence[APIRouter] = ()
    """The messages it posts to others, for its OpenAPI document."""
    wrap: Callable[["Process", FastAPI], ASGIApp] | None = None
    """Puts another ASGI application around the API (the gateway's proxy)."""
    also: Callable[["Process"], Mapping[str, Callable[[], Coroutine[Any, Any, None]]]] | None = None
    """Further loops to run under the same TaskGroup, by name; each reports its liveness (`shared.liveness`)."""
    further_connections: int = 0
    """How many connections to the database those loops keep open."""
    protocol: type[asyncio.Protocol] | Literal["httptools"] = "httptools"
    """Reads HTTP from the socket (the gateway's bounds a request's head in bytes and in time)."""
    verifier: Callable[["Process"], TokenVerifier] | None = None
    """Makes the token verifier of the gateway, which has its keys; every other service fetches them from it."""


class Process:
    """A service at run time; in embedded mode (`bus` given) its relay and inbox meet the others' in this process.

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
        self.notifier = OutboxNotifier()
        self.database = Database(
            settings.database_url,
            service.name,
            notifier=self.notifier,
            clock=clock,
            pool_size=settings.pool_size,
            messaging_pool_size=settings.messaging_pool_size,
            pool_timeout_seconds=settings.pool_timeout_seconds,
        )
        self.digests = Digests(settings.feed_secret.get_secret_value(), service.name)
        self._sockets = sockets or {}
        # Not by the environment's proxies: they are for the world outside, and must not see the feeds' secret.
        self.http = httpx.AsyncClient(timeout=10, trust_env=False)
        self.receiver = Receiver(service.inbox, self.database, policy)
        self.draining = asyncio.Event()
        self.lost: str | None = None
        """How it was noticed that the database has lost history; None where it has not."""
        self.loops = liveness.Loops()
        self._gauges = [
            gauge.labels(service.name)
            for gauge in (
                telemetry.dead_letters,
                telemetry.rows_set_aside,
                telemetry.emails_unsent,
                telemetry.emails_oldest_seconds,
                telemetry.emails_failed,
                telemetry.history_lost,
            )
        ]
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
            answer = await ask(self.http, "GET", self.service.settings.jwks_url, within=KEYS_SECONDS)
            return json_of(answer)
        except PeerAway as error:
            raise IssuerUnreachable(
                "who you are cannot be checked at the moment", headers={"Retry-After": "1"}
            ) from error

    @property
    def transport(self) -> Transport:
        """The bus in embedded mode, else RabbitMQ."""
        transport = self.bus or self._rabbitmq
        if transport is None:
            message = "MC_AMQP_URL is not set, and this is not the embedded platform"
            raise RuntimeError(message)
        return transport

    def sockets_of(self, port: int | None) -> list[socket.socket] | None:
        """Return the sockets that listen on this port already, as uvicorn takes them."""
        found = None if port is None else self._sockets.get(port)
        return None if found is None else [*found]

    def feeds(self) -> dict[str, feed.Feed]:
        """Return the feeds of the other services, by name."""
        secret = self.service.settings.feed_secret.get_secret_value()
        return {
            source: feed.HttpFeed(url, secret, self.http, self.service.name)
            for source, url in self.service.settings.feeds.items()
            if source != self.service.name
        }

    def resources(self) -> dict[type, Any]:  # Any: each is its own type
        """Return what routes and jobs may ask for, by type: the service's own resources and those every service has."""
        settings = self.service.settings
        directory = HttpDirectory(settings.feeds, settings.feed_secret.get_secret_value(), self.http)
        return {Directory: directory, Digests: self.digests, **self.service.resources, Process: self}

    @property
    def connections(self) -> int:
        """How many connections to the database one replica opens at most: those of two pools, the relay's, the side
        connection, and those that further loops of the service keep open."""
        settings = self.service.settings
        return settings.pool_size + settings.messaging_pool_size + 2 + self.service.further_connections

    async def revisions(self) -> Revisions:
        """Return the revisions of this release's schema; they are read once."""
        if self._revisions is None:
            self._revisions = await asyncio.to_thread(Revisions, self.service.versions)
        return self._revisions

    async def run(self, stop: asyncio.Event, *, started: asyncio.Event | None = None) -> None:
        """Run until `stop` is set, then finish what is under way.

        Raises RuntimeError: the database is behind this release; and whatever ends the server.
        """
        settings = self.service.settings
        if not await (await self.revisions()).fit(self.database.messaging):
            message = f"{self.service.name}: the database is behind this release; run `migrate` first"
            raise RuntimeError(message)
        await self.database.set_clock()
        registry()  # it imports every event: now, and not while the first one waits
        history = History(self.database)
        reconciler = feed.Reconciler(self.receiver, self.database, self.feeds(), history)
        work = Work(self.database, self.resources(), history)
        self.relay = Relay(self.service.name, self.database, self.transport, notifier=self.notifier)
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
        email_sender = EmailSender(
            self.database,
            self.mailer,
            settings.mail_from,
            self.service.name,
            contact=settings.contact,
            home=settings.public_url,
        )
        background: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
            ("relay", self.relay.run),
            ("outbox notifier", self.notifier.run),
            ("retries", self.receiver.run_retries),
            ("reconciler", reconciler.run),
            ("email sender", email_sender.run),
            ("jobs", lambda: self.service.jobs.run(work)),
            ("housekeeping", lambda: housekeeping(self.service.due_times).run(work)),
            ("gauges", self._measure),
        ]
        if self._rabbitmq is not None and settings.amqp_url:
            background.append(("consumer", Consumer(settings.amqp_url, self.receiver).run))
        background += self.service.also(self).items() if self.service.also else ()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_for_ever(name, self._watched(name, part)), name=name)
                    for name, part in background
                ]
                serving = group.create_task(
                    self._watched("server", partial(server.serve, self.sockets_of(settings.port)))()
                )
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
                await self._see_ended(tasks)
        finally:
            if self._rabbitmq is not None:
                await self._rabbitmq.close()
            await self.http.aclose()
            await self.database.dispose()
            log.info("stopped")

    def _watched(
        self, name: str, part: Callable[[], Coroutine[Any, Any, None]]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            liveness.begin(self.loops, name)
            await part()

        return run

    async def _see_ended(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Wait until the loops have ended; after STOP_SECONDS cut the connections that they wait on."""
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if late:
            log.error("loops do not end", extra={"loops": sorted(task.get_name() for task in late)})
            self.database.terminate()

    async def _measure(self) -> None:
        telemetry.set_unknown(*self._gauges)
        while True:
            liveness.beat(MEASURE_SECONDS)
            try:
                await self.database.set_clock()
                async with self.database.transaction() as session:
                    counts = await count_dead_letters(session), await count_set_aside(session)
                    emails = await measure_emails(session)
                    self.lost = await lost(session)
                measured = (*counts, *emails, self.lost is not None)
                for gauge, value in zip(self._gauges, measured, strict=True):
                    gauge.set(value)
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                telemetry.set_unknown(*self._gauges)
                note_outage(log, error)
            await asyncio.sleep(MEASURE_SECONDS)


async def _for_ever(name: str, part: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a loop, and begin it again where it failed: the last net, for errors that the loop itself does not catch."""
    while True:
        try:
            await _ending_when_cancelled(part)
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            telemetry.loops_failed.labels(name).inc()
            log.critical("a loop failed and is begun again", extra={"loop": name}, exc_info=error)
        else:
            return
        await asyncio.sleep(BEGIN_AGAIN_SECONDS)


async def _ending_when_cancelled(part: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a part; when it is cancelled, raise CancelledError whatever error that caused in it (a statement cut off).

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


def housekeeping(due_times: Sequence[DueTime] = ()) -> Jobs:
    """Return the jobs that every service has."""
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
    """Build the service's FastAPI application, guarded by its access table."""
    service = process.service
    app = FastAPI(
        title=service.title,
        description=service.description,
        version=service.settings.release,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would lead to whatever host the request names
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.database = process.database
    app.state.access = service.access
    app.state.verifier = process.verifier
    app.state.digests = process.digests
    app.state.resources = process.resources()
    app.state.directory = service.directory
    app.state.feed_secret = service.settings.feed_secret.get_secret_value()
    problems.install(app)
    # Not include_router: every request would look for its route in a router within the router, at twice the cost.
    for router in (*service.routers, feed.router, directory_router, _health(process)):
        app.router.routes.extend(router.routes)
    for router in service.webhooks:
        app.webhooks.routes.extend(router.routes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Telemetry, service=service.name)
    app.openapi = lambda: openapi.describe(app, service.name, service.access)
    _check_access(app, service)
    return app


def operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    """Return the method and path of every operation in the OpenAPI document, by operationId."""
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
    for operation, (method, _) in operations(app).items():
        rule = service.access[operation]
        if method != "GET" and rule.staff and rule.own is None:
            message = f"{service.name}: {operation} does not say what staff get who would decide about themselves"
            raise RuntimeError(message)


def _health(process: Process) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live(response: Response) -> dict[str, str]:
        """Every loop turns; never asks the database."""
        if stuck := process.loops.stuck():
            response.status_code = 503
            return {"status": f"stuck: {', '.join(stuck)}"}
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
        except DATABASE_ERRORS:  # whatever it says, it does not serve us
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
