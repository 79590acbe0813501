"""Relay, consumer and the way between them, against bare aio-pika with the same bodies on the same broker."""

import asyncio
import statistics
import time

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from bench.measuring import Bench, Limit, Result, alternate, percentile, rate, stolen
from bench.store import Effect, make_store, refund
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ as Broker
from shared.database import Database
from shared.events.payments import RefundRequested
from shared.ids import new_id
from shared.messaging import Inbox, publish
from shared.messaging.message import envelope
from shared.messaging.rabbitmq import BATCH, EXCHANGE, PREFETCH, Consumer, RabbitMQ, connect, declare
from shared.messaging.receiver import Receiver
from shared.messaging.relay import Relay

WINDOW = 1000


async def measure(bench: Bench) -> list[Result]:
    async with Postgres(bench.folder / "postgres") as server, Broker(bench.folder / "rabbitmq") as broker:
        payments = await make_store(server, bench.folder, "payments")
        enrolment = await make_store(server, bench.folder, "enrolment")
        try:
            links = Links(payments, enrolment, broker.url, bench.size(10_000))
            await links.declare()
            sending = await alternate(bench.rounds, {"raw": links.publish_raw, "relay": links.publish_relay})
            taking = await alternate(bench.rounds, {"raw": links.consume_raw, "inbox": links.consume_inbox})
            rounds: list[tuple[float, list[float]]] = []
            for _ in range(3 * bench.rounds):
                before = stolen()
                waits = await links.latencies(per_second=50, seconds=1 if bench.short else 5)
                taken, whole = (after - was for after, was in zip(stolen(), before, strict=True))
                rounds.append((taken / max(whole, 1), waits))
        finally:
            await payments.dispose()
            await enrolment.dispose()
    quiet = sorted(rounds)[: bench.rounds]  # those in which the host took the least of our time
    p50, p99 = (statistics.median(percentile(waits, part) for _, waits in quiet) * 1000 for part in (0.5, 0.99))
    events = f"in the {len(quiet)} quietest of {len(rounds)} x {len(quiet[0][1])} events"
    return [
        Result(
            "relay",
            "events/s of raw aio-pika publish",
            sending["relay"] / sending["raw"],
            Limit(0.85, 1.0, 2.5),
            f"{sending['relay']:,.0f} of {sending['raw']:,.0f}",
        ),
        Result(
            "consumer with inbox",
            "events/s of raw aio-pika consume",
            taking["inbox"] / taking["raw"],
            Limit(0.30, 0.60, 0.70),
            f"{taking['inbox']:,.0f} of {taking['raw']:,.0f}",
        ),
        Result("commit to consumer, 50/s", "p50 ms", p50, Limit(10, 2, 1.5, at_most=True), events),
        Result("commit to consumer, 50/s", "p99 ms", p99, Limit(20, 5, 2.5, at_most=True), events),
    ]


class Links:
    def __init__(self, payments: Database, enrolment: Database, amqp_url: str, count: int) -> None:
        self.payments, self.enrolment, self.url, self.count = payments, enrolment, amqp_url, count
        self.inbox = Inbox("enrolment")
        self.inbox.on(RefundRequested)(self._handle)
        self.arrived: dict[str, float] = {}
        self.handled = 0
        self.done = asyncio.Event()

    async def _handle(self, session: AsyncSession, event: RefundRequested) -> None:
        session.add(Effect(effect_id=new_id(), refund_id=event.refund_id))
        self.arrived[event.aggregate_id] = time.perf_counter()
        self.handled += 1
        if self.handled == self.count:
            self.done.set()

    async def declare(self) -> None:
        async with await connect(self.url, "bench") as connection:
            await declare(await connection.channel(), self.inbox)

    async def _purge(self) -> None:
        async with await connect(self.url, "bench") as connection:
            await (await (await connection.channel()).get_queue("enrolment.in")).purge()

    def _bodies(self) -> list[bytes]:
        return [
            envelope(
                event, id=new_id(), time=event.requested_at, traceparent=None, request_id=None, causation=None
            ).encode()
            for event in (refund() for _ in range(self.count))
        ]

    async def publish_raw(self) -> float:
        """Persistent, confirmed, a thousand at a time: as good as the relay's, without a table."""
        bodies = self._bodies()
        async with await connect(self.url, "bench") as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(EXCHANGE)

            async def send(body: bytes) -> None:
                message = aio_pika.Message(
                    body,
                    message_id=body[7:43].decode(),
                    type=RefundRequested.type,
                    content_type="application/cloudevents+json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await exchange.publish(message, RefundRequested.type, mandatory=True)

            async def send_all() -> None:
                for start in range(0, self.count, WINDOW):
                    await asyncio.gather(*map(send, bodies[start : start + WINDOW]))

            sent = await rate(self.count, send_all())
        await self._purge()
        return sent

    async def publish_relay(self) -> float:
        async with self.payments.messaging.begin() as connection:
            await connection.execute(text("truncate outbox"))
        for start in range(0, self.count, WINDOW):
            async with self.payments.transaction() as session:
                for _ in range(min(WINDOW, self.count - start)):
                    publish(session, refund())
        transport = RabbitMQ(self.url, "payments")
        relay = Relay("payments", self.payments, transport)
        await transport.send([])  # connects

        async def drain() -> None:
            while await relay.send_batch():
                pass

        sent = await rate(self.count, drain())
        await transport.close()
        await self._purge()
        return sent

    async def _fill(self) -> None:
        bodies = self._bodies()
        async with await connect(self.url, "bench") as connection:
            exchange = await (await connection.channel(publisher_confirms=True)).get_exchange(EXCHANGE)
            for start in range(0, self.count, WINDOW):
                messages = [aio_pika.Message(body, delivery_mode=2) for body in bodies[start : start + WINDOW]]
                await asyncio.gather(*(exchange.publish(message, RefundRequested.type) for message in messages))

    async def consume_raw(self) -> float:
        """One acknowledgement for a batch, and nothing done with the messages."""
        await self._fill()
        async with await connect(self.url, "bench") as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue("enrolment.in")
            seen, done = 0, asyncio.Event()

            async def take(message: AbstractIncomingMessage) -> None:
                nonlocal seen
                seen += 1
                if seen % BATCH == 0 or seen == self.count:
                    await message.ack(multiple=True)
                if seen == self.count:
                    done.set()

            async def drain() -> None:
                await queue.consume(take)
                await done.wait()

            return await rate(self.count, drain())

    async def consume_inbox(self) -> float:
        await self._fill()
        self.handled = 0
        self.done.clear()
        consumer = Consumer(self.url, Receiver(self.inbox, self.enrolment))

        async def drain() -> None:
            consuming = asyncio.create_task(consumer.run())
            await self.done.wait()
            while await self._queued():  # until the last batch is acknowledged  # noqa: ASYNC110 - the table is asked
                await asyncio.sleep(0.005)
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)

        async with await connect(self.url, "bench") as connection:
            self._channel = await connection.channel()
            return await rate(self.count, drain())

    async def _queued(self) -> bool:
        async with self.enrolment.messaging.connect() as connection:
            effects = await connection.scalar(text("select count(*) from effects"))
        return bool(effects is not None and effects % self.count)

    async def latencies(self, *, per_second: int, seconds: int) -> list[float]:
        """Seconds from the commit's return to the handler, at a fixed rate, with every part at work."""
        self.handled, self.count = 0, per_second * seconds
        self.done.clear()
        self.arrived.clear()
        notifier = self.payments.requests.kw["info"]["notifier"]
        transport = RabbitMQ(self.url, "payments")
        consumer = Consumer(self.url, Receiver(self.inbox, self.enrolment))
        async with self.payments.messaging.begin() as connection:
            await connection.execute(text("truncate outbox"))
        parts = [
            asyncio.create_task(part)
            for part in (
                Relay("payments", self.payments, transport, notifier=notifier).run(),
                notifier.run(),
                consumer.run(),
            )
        ]
        await consumer.consuming.wait()
        await asyncio.sleep(1)
        committed: dict[str, float] = {}
        began = time.perf_counter()
        for number in range(self.count):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            event = refund()
            async with self.payments.transaction() as session:
                publish(session, event)
            committed[event.aggregate_id] = time.perf_counter()
        async with asyncio.timeout(60):
            while not committed.keys() <= self.arrived.keys():  # noqa: ASYNC110 - handlers run many times a look
                await asyncio.sleep(0.05)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await transport.close()
        return [self.arrived[about] - at for about, at in committed.items()]
