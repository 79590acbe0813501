"""The services of the delivery suite in parts: a database and a receiver each, and what joins them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aio_pika
from sqlalchemy import text

from shared.database import Database
from shared.events import Event
from shared.messaging import dead_letters, publish
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import OutboxNotifier
from shared.messaging.rabbitmq import DEAD_EXCHANGE, EXCHANGE, Consumer, RabbitMQ
from shared.messaging.receiver import Receiver
from shared.messaging.relay import Relay, Transport
from shared.messaging.retrying import RetryPolicy

from .delivery import HASTY, INBOXES


class ServiceNode:
    """One service's database and receiver."""

    def __init__(self, name: str, url: str, policy: RetryPolicy = HASTY) -> None:
        self.name, self.url = name, url
        self.notifier = OutboxNotifier()
        self.database = Database(url, name, notifier=self.notifier)
        self.receiver = Receiver(INBOXES[name], self.database, policy)

    async def announce(self, *events: Event) -> None:
        async with self.database.transaction() as session:
            for event in events:
                publish(session, event)

    async def all(self, statement: str, **parameters: object) -> Sequence[tuple[Any, ...]]:
        async with self.database.messaging.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), parameters)]

    async def one(self, statement: str, **parameters: object) -> Any:
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

    async def dead_letters(self) -> list[str]:
        """Reasons of the messages that wait for a person."""
        rows = await self.all("select reason from parked_messages where resolved_at is null order by parked_at")
        return [str(row[0]) for row in rows]

    async def empty(self) -> None:
        async with self.database.messaging.begin() as connection:
            await connection.execute(text("set local lock_timeout to '10s'"))
            tables = await connection.scalar(
                text(
                    "select string_agg(quote_ident(tablename), ', ') from pg_tables "
                    "where schemaname = 'public' and tablename not in ('alembic_version', 'installation')"
                )
            )
            await connection.execute(text(f"truncate {tables} restart identity"))
            await connection.execute(
                text(
                    "update installation set history_lost_at = null, history_lost = null, lost_epochs = '{}', "
                    "store_claimed_at = null"
                )
            )


async def eventually(what: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait until it is so; fails when it is not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await what():
        assert loop.time() < deadline, f"not so after {seconds} s"
        await asyncio.sleep(0.02)


async def settle(node: ServiceNode, receiver: Receiver | None = None) -> None:
    """Retry until nothing waits any more."""
    trying = asyncio.create_task((receiver or node.receiver).run_retries(every_seconds=0.02))

    async def settled() -> bool:
        assert not trying.done(), trying
        return not await node.all("select 1 from inbox_retry")

    await eventually(settled)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)


class JoinedNodes:
    """payments, enrolment and credentials in parts, joined by one of the two transports."""

    def __init__(self, nodes: dict[str, ServiceNode], amqp_url: str | None) -> None:
        self.payments, self.enrolment, self.credentials = (
            nodes["payments"],
            nodes["enrolment"],
            nodes["credentials"],
        )
        self.nodes, self.amqp_url = nodes, amqp_url
        self.bus = InProcessBus()
        self.tasks: list[asyncio.Task[None]] = []
        self._rabbitmq: list[RabbitMQ] = []

    def transport(self) -> Transport:
        if self.amqp_url is None:
            return self.bus
        rabbitmq = RabbitMQ(self.amqp_url, "payments")
        self._rabbitmq.append(rabbitmq)
        return rabbitmq

    async def consume(self, *nodes: ServiceNode, rebind_seconds: float = 30.0) -> None:
        """Have these (or all) receive what is sent from now on."""
        for node in nodes or (self.enrolment, self.credentials):
            if self.amqp_url is None:
                self.bus.subscribe(node.receiver)
            else:
                consumer = Consumer(self.amqp_url, node.receiver, rebind_seconds=rebind_seconds)
                self.go(consumer.run())
                await asyncio.wait_for(consumer.consuming.wait(), 20)

    def relay(self, transport: Transport | None = None, **options: float) -> Relay:
        """A relay of payments that runs from now on."""
        payments = self.payments
        relay = Relay(
            "payments", payments.database, transport or self.transport(), notifier=payments.notifier, **options
        )
        self.go(relay.run())
        return relay

    def retry(self, *nodes: ServiceNode) -> None:
        for node in nodes or (self.enrolment, self.credentials):
            self.go(node.receiver.run_retries(every_seconds=0.05))

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


async def has(node, effects):
    return await node.effects() >= effects


async def all_had_their_effect(node, events):
    async def so():
        return await node.effects() >= len(events)

    await eventually(so, 60)
    assert [await node.effects(event) for event in events] == [1] * len(events)
    assert await node.effects() == len(events)


async def is_dead_lettered(node, reason):
    return reason in await node.dead_letters()


async def is_waiting(node):
    return bool(await node.all("select 1 from inbox_retry where waiting"))


async def nothing_left(node):
    return not await node.all("select 1 from inbox_retry")


async def redrive(node, dead_letter_id, body=None):
    return await dead_letters.redrive(
        node.database, node.receiver.inbox, dead_letter_id, by="finance", reason="mended", body=body
    )
