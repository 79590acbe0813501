"""Three small services for the delivery suite, whole or in parts, in this process or in one of their own.

payments asks for refunds over HTTP and announces them; enrolment and credentials hear what it announces.
`Apart` runs them in processes of their own, to be killed at will.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import reload
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from uuid import UUID

import aio_pika
import httpx
from fastapi import Response
from pydantic import SecretStr
from sqlalchemy import BigInteger, Identity, MetaData, Text, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from embedded import ports
from shared import crashes
from shared.access import Access, TokenVerifier, anyone, owner, staff
from shared.database import Database, TableBase, fetch, new_metadata, take_turns
from shared.events import Event
from shared.events.payments import Line, PaymentConfirmed, PaymentReversed, RefundRequested
from shared.ids import new_id
from shared.jobs import Jobs
from shared.messaging import Inbox, NotYet, publish
from shared.messaging.hot import HotWrite, LongWay
from shared.messaging.inbox import Receiver, RetryPolicy
from shared.messaging.inprocess import InProcessBus
from shared.messaging.message import envelope
from shared.messaging.outbox import Wakeup
from shared.messaging.rabbitmq import DEAD_EXCHANGE, EXCHANGE, Consumer, RabbitMQ
from shared.messaging.relay import Envelope, Relay, Transport
from shared.service import Process, Service, run_loop, stop_on_signals
from shared.settings import ServiceSettings
from shared.telemetry import log_as_json
from shared.testing import AUDIENCE, ISSUER, Issuer
from shared.web import Call, CallerOf, Content, Idempotent, Router, Session, View

VERSIONS = Path(__file__).parent / "versions"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASTY = RetryPolicy(delays_seconds=(0.05, 0.05, 0.05), waiting_seconds=0.1)
"""Retries as in production, but for the waits."""
HASTY_LEASE_SECONDS = 0.5
"""How soon what a killed process was handed is sent by its successor."""

# --- tables -------------------------------------------------------------------------------------------------


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Effect(Base):
    __tablename__ = "effects"

    effect_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    about: Mapped[UUID]


class Refund(Base):
    __tablename__ = "refunds"

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    learner_id: Mapped[UUID]
    amount_minor: Mapped[int]


class PaymentFact(Base):
    __tablename__ = "payment_facts"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(Text, primary_key=True)


class Standing(Base):
    __tablename__ = "standings"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    standing: Mapped[str] = mapped_column(Text)


# --- payments: HTTP in, events out --------------------------------------------------------------------------

router = Router()


class RefundWish(Content):
    amount_minor: int
    reason_code: str = "cooling_off"


class RefundView(View):
    refund_id: UUID
    amount_minor: int


@router.post("/v1/refunds", operation_id="request_refund", status_code=201, dependencies=[Idempotent])
async def request_refund(wish: RefundWish, session: Session, caller: CallerOf) -> RefundView:
    refund = Refund(refund_id=new_id(), learner_id=caller.own_id, amount_minor=wish.amount_minor)
    session.add(refund)
    publish(session, refund_of(refund.refund_id, reason_code=wish.reason_code, learner_id=refund.learner_id))
    await session.flush()
    return RefundView.model_validate(refund)


@router.post("/v1/hot-refunds", operation_id="request_refund_hot", status_code=201, dependencies=[Idempotent])
async def request_refund_long(wish: RefundWish, session: Session, caller: CallerOf) -> RefundView:
    return await request_refund(wish, session, caller)


ASK = HotWrite(
    Refund,
    looks=["held as (select from standings where order_id = :learner_id and standing = 'held' for update)"],
    condition="not exists (select from held)",
)


@router.hot("request_refund_hot")
async def request_refund_hot(call: Call) -> Response:
    wish = await call.content(RefundWish)
    if wish is None:
        raise LongWay
    refund = Refund(refund_id=new_id(), learner_id=call.caller.own_id, amount_minor=wish.amount_minor)
    response = Response(RefundView.model_validate(refund).model_dump_json(), 201, media_type="application/json")
    event = refund_of(refund.refund_id, reason_code=wish.reason_code, learner_id=refund.learner_id)
    await ASK.run(call.database, [refund], [event], reply=call.stored(response), learner_id=refund.learner_id)
    return response


@router.get("/v1/refunds/{refund_id}", operation_id="read_refund")
async def read_refund(refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    refund = await fetch(session, Refund, refund_id)
    caller.must_own(refund.learner_id)
    return RefundView.model_validate(refund)


@router.put("/v1/refunds/{refund_id}/amount", operation_id="change_refund")
async def change_refund(refund_id: UUID, wish: RefundWish, session: Session) -> RefundView:
    """Written by somebody who forgot to ask whose refund it is."""
    refund = await fetch(session, Refund, refund_id, lock=True)
    refund.amount_minor = wish.amount_minor
    return RefundView.model_validate(refund)


@router.get("/v1/refunds", operation_id="list_refunds")
async def list_refunds(session: Session) -> list[RefundView]:
    return [RefundView.model_validate(row) for row in await session.scalars(select(Refund))]


@router.get("/v1/terms", operation_id="read_terms")
async def read_terms() -> dict[str, str]:
    return {"terms": "money back within 14 days"}


ACCESS: Access = {
    "request_refund": owner("learner"),
    "request_refund_hot": owner("learner"),
    "read_refund": owner("learner", staff=("finance",)),
    "change_refund": owner("learner"),
    "list_refunds": staff("finance", scopes=("refunds:read",)),
    "read_terms": anyone(),
}

# --- enrolment and credentials: events in -------------------------------------------------------------------

enrolment, credentials = Inbox("enrolment"), Inbox("credentials")
mended: set[str] = set()
"""Misbehaviours a programmer has put right meanwhile."""


async def _bug(session: AsyncSession, requested: RefundRequested) -> None:
    raise ZeroDivisionError("a programmer's mistake")


async def _missing_file(session: AsyncSession, requested: RefundRequested) -> None:
    raise FileNotFoundError("an OSError, as the loss of a connection is one")


async def _time_out(session: AsyncSession, requested: RefundRequested) -> None:
    raise TimeoutError("of the handler's own")


async def _bad_statement(session: AsyncSession, requested: RefundRequested) -> None:
    await session.execute(text("select * from no_such_table"))


async def _swallowed_statement(session: AsyncSession, requested: RefundRequested) -> None:
    with contextlib.suppress(Exception):  # the mistake under test
        await session.execute(text("insert into refunds values (gen_random_uuid(), gen_random_uuid(), 0)"))


async def _hang(session: AsyncSession, requested: RefundRequested) -> None:
    await asyncio.sleep(3600)


async def _kill(session: AsyncSession, requested: RefundRequested) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _slow(session: AsyncSession, requested: RefundRequested) -> None:
    await asyncio.sleep(0.2)


async def _slower_than_a_lock(session: AsyncSession, requested: RefundRequested) -> None:
    """Longer than the role's lock_timeout of a second."""
    await asyncio.sleep(2)


async def _wait_for_payment(session: AsyncSession, requested: RefundRequested) -> None:
    if await session.get(PaymentFact, (requested.order_id, PaymentConfirmed.type)) is None:
        raise NotYet("the payment is not confirmed yet")


MISBEHAVIOUR = {
    "bug": _bug,
    "missing_file": _missing_file,
    "time_out": _time_out,
    "bad_statement": _bad_statement,
    "swallowed_statement": _swallowed_statement,
    "hang": _hang,
    "kill": _kill,
    "slow": _slow,
    "slower_than_a_lock": _slower_than_a_lock,
    "before_payment": _wait_for_payment,
}
"""What a handler does wrong, by the event's reason code."""


@enrolment.on(RefundRequested)
async def end_access(session: AsyncSession, requested: RefundRequested) -> None:
    session.add(Effect(type=requested.type, about=requested.refund_id))
    await session.flush()  # what a handler wrote before it fails must not stay
    if requested.reason_code in MISBEHAVIOUR and requested.reason_code not in mended:
        await MISBEHAVIOUR[requested.reason_code](session, requested)


@enrolment.on(PaymentConfirmed, PaymentReversed)
async def derive_standing(session: AsyncSession, event: PaymentConfirmed | PaymentReversed) -> None:
    """The fact is stored, the standing derived from all facts: whatever the order, it ends alike."""
    session.add(Effect(type=event.type, about=event.order_id))
    await take_turns(session, event.order_id)
    await session.execute(insert(PaymentFact).values(order_id=event.order_id, type=event.type).on_conflict_do_nothing())
    facts = set(await session.scalars(select(PaymentFact.type).where(PaymentFact.order_id == event.order_id)))
    standing = "suspended" if PaymentReversed.type in facts else "active"
    await session.merge(Standing(order_id=event.order_id, standing=standing))


@credentials.on(PaymentReversed)
async def hold_claims(session: AsyncSession, event: PaymentReversed) -> None:
    session.add(Effect(type=event.type, about=event.order_id))


INBOXES = {"payments": Inbox("payments"), "enrolment": enrolment, "credentials": credentials}

# --- events -------------------------------------------------------------------------------------------------


def refund_of(
    refund_id: UUID | None = None,
    *,
    reason_code: str = "cooling_off",
    learner_id: UUID | None = None,
    order_id: UUID | None = None,
) -> RefundRequested:
    return RefundRequested(
        refund_id=refund_id or new_id(),
        order_id=order_id or new_id(),
        learner_id=learner_id or new_id(),
        amount_minor=49500,
        currency="GBP",
        reason_code=reason_code,
        requested_at=NOON,
    )


def confirmed(order_id: UUID, learner_id: UUID | None = None) -> PaymentConfirmed:
    line = Line(
        order_line_id=order_id, course_id=order_id, course_version_id=order_id, list_minor=49500, due_minor=49500
    )
    return PaymentConfirmed(
        order_id=order_id,
        payment_id=order_id,
        learner_id=learner_id or order_id,
        amount_minor=49500,
        currency="GBP",
        method="card",
        lines=(line,),
        confirmed_at=NOON,
    )


def reversed_(order_id: UUID) -> PaymentReversed:
    return PaymentReversed(
        order_id=order_id,
        payment_id=order_id,
        learner_id=order_id,
        reason_code="chargeback",
        lines=(),
        reversed_at=NOON,
    )


def body_of(event: Event, id: UUID | None = None) -> bytes:
    """The bytes of an event as they travel."""
    written = envelope(event, id=id or new_id(), time=NOON, traceparent=None, request_id=None, causation=None)
    return written.encode()


def wrapped(body: bytes, type: str = RefundRequested.type) -> Envelope:
    """Bytes as a transport is handed them; the type is the routing key, whatever the body says."""
    return Envelope(id=str(new_id()), type=type, body=body, heard=True)


# --- services in parts --------------------------------------------------------------------------------------


class Station:
    """One service's database and receiver."""

    def __init__(self, name: str, url: str, policy: RetryPolicy = HASTY) -> None:
        self.name, self.url = name, url
        self.wakeup = Wakeup(url)
        self.database = Database(url, name, wakeup=self.wakeup)
        self.receiver = Receiver(INBOXES[name], self.database, policy)

    async def announce(self, *events: Event) -> None:
        async with self.database.transaction() as session:
            for event in events:
                publish(session, event)

    async def all(self, statement: str, **parameters: object) -> Sequence[tuple[object, ...]]:
        async with self.database.messaging.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]

    async def one(self, statement: str, **parameters: object) -> object:
        return (await self.all(statement, **parameters))[0][0]

    async def effects(self, event: Event | None = None) -> int:
        """How often something had an effect here: of this event, or at all."""
        if event is None:
            return int(str(await self.one("select count(*) from effects")))
        about = event.aggregate_id
        return int(
            str(
                await self.one(
                    "select count(*) from effects where type = :type and about = cast(:about as text)::uuid",
                    type=event.type,
                    about=about,
                )
            )
        )

    async def parked(self) -> list[str]:
        """Reasons of the messages that wait for a person."""
        rows = await self.all("select reason from parked_messages where resolved_at is null order by parked_at")
        return [str(row[0]) for row in rows]

    async def empty(self) -> None:
        async with self.database.messaging.begin() as connection:
            await connection.execute(text("set local lock_timeout to '10s'"))
            tables = await connection.scalar(
                text(
                    "select string_agg(quote_ident(tablename), ', ') from pg_tables "
                    "where schemaname = 'public' and tablename <> 'alembic_version'"
                )
            )
            await connection.execute(text(f"truncate {tables} restart identity"))


async def eventually(what: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait until it is so; fails when it is not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await what():
        assert loop.time() < deadline, f"not so after {seconds} s"
        await asyncio.sleep(0.02)


class World:
    """payments, enrolment and credentials in parts, joined by one of the two transports."""

    def __init__(self, stations: dict[str, Station], amqp_url: str | None) -> None:
        self.payments, self.enrolment, self.credentials = (
            stations["payments"],
            stations["enrolment"],
            stations["credentials"],
        )
        self.stations, self.amqp_url = stations, amqp_url
        self.bus = InProcessBus()
        self.tasks: list[asyncio.Task[None]] = []
        self._rabbitmq: list[RabbitMQ] = []

    def transport(self) -> Transport:
        if self.amqp_url is None:
            return self.bus
        rabbitmq = RabbitMQ(self.amqp_url, "payments")
        self._rabbitmq.append(rabbitmq)
        return rabbitmq

    async def hear(self, *stations: Station, rebind_seconds: float = 30.0) -> None:
        """Have these (or all) receive what is sent from now on."""
        for station in stations or (self.enrolment, self.credentials):
            if self.amqp_url is None:
                self.bus.subscribe(station.receiver)
            else:
                consumer = Consumer(self.amqp_url, station.receiver, rebind_seconds=rebind_seconds)
                self.go(consumer.run())
                await asyncio.wait_for(consumer.consuming.wait(), 20)

    def relay(self, transport: Transport | None = None, **options: float) -> Relay:
        """A relay of payments that runs from now on."""
        payments = self.payments
        relay = Relay("payments", payments.database, transport or self.transport(), wakeup=payments.wakeup, **options)
        self.go(relay.run())
        return relay

    def retry(self, *stations: Station) -> None:
        for station in stations or (self.enrolment, self.credentials):
            self.go(station.receiver.run_retries(every_seconds=0.05))

    def go(self, part: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(part)
        self.tasks.append(task)
        return task

    async def all_sent(self) -> None:
        async def sent() -> bool:
            return not await self.payments.one("select count(*) from outbox where sent_at is null")

        await eventually(sent)

    async def close(self) -> None:
        """End everything; fails if a part has died."""
        died = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for rabbitmq in self._rabbitmq:
            await rabbitmq.close()
        for task in died:
            task.result()
            raise AssertionError("a part ended by itself")


async def forget_topology(url: str) -> None:
    """Delete what the services have declared on this broker."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for inbox in INBOXES.values():
            for queue in (f"{inbox.service}.in", f"{inbox.service}.dead"):
                await channel.queue_delete(queue)
        for exchange in (EXCHANGE, DEAD_EXCHANGE):
            await channel.exchange_delete(exchange)


# --- services as processes ----------------------------------------------------------------------------------

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["shared.cli", "shared.testing", "uvicorn.protocols.http.httptools_impl", "httpx"])
"""Each process is a real one, forked from one that has only imported: reading the libraries anew takes seconds."""


def service_of(
    name: str, url: str, *, port: int = 0, verifier: TokenVerifier | None = None, **settings: object
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
class Apart:
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
    os.environ |= {"MC_ENV": "test", "MC_CRASH": crash}
    reload(crashes)  # reads the environment as it is loaded
    mock.patch("shared.messaging.outbox.LEASE_SECONDS", HASTY_LEASE_SECONDS).start()
    log_as_json("apart")
    run_loop(_run_apart(json.loads(settings.read_text()), settings.parent / "mail"))


async def _run_apart(given: dict[str, Any], mail: Path) -> None:

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
