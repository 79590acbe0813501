"""One service as one process: API, relay, inbox, reconciler, jobs and e-mail sender, under one TaskGroup.

A loop that fails is begun again: no row, reply or error that nobody thought of ends the others, or the process.
`python -m <service>` runs it; its other commands are in `shared.cli`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from shared import liveness, telemetry
from shared.access import IssuerUnreachable, TokenVerifier
from shared.clock import Clock
from shared.database import Database
from shared.digests import Digests
from shared.directory import Directory, HttpDirectory
from shared.due_rows import count_set_aside
from shared.due_times import EVERYWHERE, DueTime, bring_forward
from shared.emails import EmailSender, FolderMailer, Mailer, measure_emails
from shared.events import registry
from shared.health import health_router
from shared.jobs import REMOVES, Jobs, Work, forget_old_records
from shared.messaging import event_log, feed, reconciliation
from shared.messaging.dead_letters import count_dead_letters
from shared.messaging.history import History, lost
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import OutboxNotifier
from shared.messaging.rabbitmq import Consumer, RabbitMQ
from shared.messaging.receiver import Receiver
from shared.messaging.relay import Relay, Transport
from shared.messaging.retrying import RetryPolicy
from shared.migrate import Revisions
from shared.outages import is_being_cancelled, note_outage
from shared.peers import PeerAway, ask, json_of
from shared.running import Server
from shared.service import Service, build_api
from shared.smtp import SmtpMailer
from shared.storage import ObjectStorage
from shared.store_owner import guard_store

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""How long the loops may finish their work when the process is to end; then the database's connections are cut."""
KEYS_SECONDS = 10.0
"""Limit for the gateway's whole answer with its keys."""
BEGIN_AGAIN_SECONDS = 1.0
"""Pause before a loop that failed is begun again."""
MEASURE_SECONDS = 30.0
"""Pause between two measurements of the gauges, and of the database's clock."""


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
        self.api = build_api(
            service,
            database=self.database,
            verifier=self.verifier,
            digests=self.digests,
            resources=self.resources(),
            health=health_router(settings.release, self.loops, self.draining, self.database, self.revisions),
        )
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

    def feeds(self) -> dict[str, feed.HttpFeed]:
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
        reconciler = reconciliation.Reconciler(self.receiver, self.database, self.feeds(), history)
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
    """Run a loop, and begin it again where it failed with an error that the loop itself does not catch."""
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
