"""From a POST to the commit at whoever hears of it: a service in a process of its own, a broker, a consumer.

`python -m bench.posts` is that service.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from pydantic import Field
from sqlalchemy import event as orm_event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session as OrmSession

from bench.measuring import Bench, Limit, Result, percentile
from bench.programs import LOAD_CORE, SERVER_CORE, ourselves_on, running, tie
from bench.store import Effect, Refund, make_store, refund
from embedded import ports
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ as Broker
from shared.access import anyone
from shared.cli import main
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, publish
from shared.messaging.inbox import Receiver
from shared.messaging.rabbitmq import Consumer, connect, declare
from shared.service import Service
from shared.settings import ServiceSettings
from shared.web import Router, Session, View

PER_SECOND = 200
CONNECTIONS = 16
_REQUEST = b"POST /v1/refunds HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"


class RefundView(View):
    refund_id: str


class Settings(ServiceSettings):
    versions: Path = Field(description="Where the (empty) migrations of the store are")


router = Router()


@router.post("/v1/refunds", operation_id="request_refund", status_code=201)
async def request_refund(session: Session) -> RefundView:
    requested = refund()
    session.add(
        Refund(refund_id=requested.refund_id, learner_id=requested.learner_id, amount_minor=requested.amount_minor)
    )
    publish(session, requested)
    return RefundView(refund_id=str(requested.refund_id))


def build(settings: Settings) -> Service:
    return Service(
        name="payments",
        title="Refunds",
        description="The smallest service that writes and announces.",
        settings=settings,
        versions=settings.versions,
        routers=[router],
        access={"request_refund": anyone()},
        inbox=Inbox("payments"),
    )


async def measure(bench: Bench) -> list[Result]:
    port = ports.suggest(1)
    async with Postgres(bench.folder / "postgres") as server, Broker(bench.folder / "rabbitmq") as broker:
        tie(server, LOAD_CORE)
        payments = await make_store(server, bench.folder, "payments")
        enrolment = await make_store(server, bench.folder, "enrolment")
        await payments.dispose()
        environment = {
            "MC_DATABASE_URL": server.url("payments", "payments"),
            "MC_AMQP_URL": broker.url,
            "MC_FEED_SECRET": "bench",
            "MC_HOST": "127.0.0.1",
            "MC_PORT": str(port),
            "MC_VERSIONS": str(bench.folder / "versions"),
            "MC_MAIL_FOLDER": str(bench.folder / "mail"),
        }
        inbox, committed = Inbox("enrolment"), _Committed()
        inbox.on(RefundRequested)(committed.handle)
        async with await connect(broker.url, "bench") as connection:
            await declare(await connection.channel(), inbox)
        consumer = Consumer(broker.url, Receiver(inbox, enrolment))
        consuming = asyncio.create_task(consumer.run())
        command = [sys.executable, "-m", "bench.posts"]
        async with running(command, SERVER_CORE, bench.folder / "payments.log", port, environment):
            await consumer.consuming.wait()
            await _post(port, PER_SECOND)  # warms everything up
            with ourselves_on(LOAD_CORE):
                posted = await _post(port, PER_SECOND * (3 if bench.short else 20))
            async with asyncio.timeout(30):
                while not posted.keys() <= committed.at.keys():  # noqa: ASYNC110 - looked at once more than enough
                    await asyncio.sleep(0.05)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        await enrolment.dispose()
    way = [committed.at[refund_id] - began for refund_id, (began, _) in posted.items()]
    replies = percentile([ended - began for began, ended in posted.values()], 0.5)
    p50, p99 = percentile(way, 0.5), percentile(way, 0.99)
    name, detail = f"POST to consumer's commit, {PER_SECOND}/s", f"{len(way)} requests"
    return [
        Result(name, "p50 ms", p50 * 1000, Limit(8, 5, 4, at_most=True), detail),
        Result(
            name, "p50, of POST p50", p50 / replies, Limit(4, 3, 2.7, at_most=True), f"POST {replies * 1000:.1f} ms"
        ),
        Result(name, "p99 ms", p99 * 1000, Limit(20, 10, 8, at_most=True), detail),
    ]


class _Committed:
    """When the consumer had committed what it did about each refund."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def handle(self, session: AsyncSession, event: RefundRequested) -> None:
        session.add(Effect(effect_id=new_id(), refund_id=event.refund_id))

        def note(_: OrmSession) -> None:
            self.at[str(event.refund_id)] = time.perf_counter()

        orm_event.listen(session.sync_session, "after_commit", note)  # the last of several is the transaction's own


async def _post(port: int, count: int) -> dict[str, tuple[float, float]]:
    """At the fixed rate, whether or not the answers keep up: refund -> when it was due, when it was answered."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    answered: dict[str, tuple[float, float]] = {}

    async def post(due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        reader, writer = await idle.get()
        writer.write(_REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(maxsplit=1)[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 201"):
            raise RuntimeError(body.decode())
        answered[json.loads(body)["refund_id"]] = (due, time.perf_counter())
        idle.put_nowait((reader, writer))

    began = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(post(began + number / PER_SECOND))
    while not idle.empty():
        idle.get_nowait()[1].close()
    return answered


if __name__ == "__main__":
    main(Settings, build)
