"""The transport between separately running services: RabbitMQ with quorum queues, publisher confirms and manual acks.

The broker is an accelerator: events it loses (a purged queue, a removed binding) the feed brings back. Every queue
argument is explicit, so that RabbitMQ 3.10 and 4.x act alike.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import AMQPException, ChannelPreconditionFailed

from shared import liveness
from shared.failpoints import failpoint
from shared.messaging.inbox import Inbox
from shared.messaging.installations import Delivery
from shared.messaging.properties import read_without_odd_properties
from shared.messaging.receiver import Receiver
from shared.messaging.relay import Envelope, TransportDown
from shared.outages import DATABASE_ERRORS, is_being_cancelled, is_database_down, note_outage

log = logging.getLogger(__name__)

EXCHANGE: Final = "mc.events"
DEAD_EXCHANGE: Final = "mc.dlx"
HEARTBEAT_SECONDS: Final = 10
DELIVERY_LIMIT: Final = 5
PREFETCH: Final = 1000
BATCH: Final = 500

CONNECT_SECONDS: Final = 3.0
PUBLISH_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
"""Together less than the ten seconds after which PostgreSQL ends the relay's idle transaction."""

FIRST_WAIT: Final = 1.0
"""Before the broker is tried again, in seconds."""

_BROKER_DOWN = (AMQPException, OSError, TimeoutError, RuntimeError)
"""RuntimeError: what aio-pika raises on a connection or channel that is closed already."""


class TooLargeForBroker(Exception):
    """The broker's `max_message_size` is less than an event has; a person must raise it. The other events go on."""


class WrongTopology(Exception):
    """The broker has an exchange or queue of ours with other arguments; a person must see to it. Until then events go
    by the feed alone."""


def queue_arguments(service: str) -> dict[str, Any]:  # Any: AMQP field table
    """Return the arguments of a service's queue; a broker that has the queue with others refuses to declare it."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_EXCHANGE,
        "x-dead-letter-routing-key": f"{service}.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length": 100_000,
    }


DEAD_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum"}  # Any: AMQP field table


async def connect(url: str, name: str) -> AbstractConnection:
    """Open a connection to the broker, which lists it by this name."""
    read_without_odd_properties()
    connection = await aio_pika.connect(
        url, heartbeat=HEARTBEAT_SECONDS, timeout=10, client_properties={"connection_name": name}
    )
    return connection


async def declare(channel: AbstractChannel, inbox: Inbox) -> tuple[AbstractQueue, AbstractQueue]:
    """Declare the exchanges, the service's queue, bound to the types it subscribes to, and its dead-letter queue.

    Returns the two queues. Raises WrongTopology: the broker has one with other arguments, and nothing is consumed from
    such a queue.
    """
    name, arguments = inbox.service, queue_arguments(inbox.service)
    try:
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        dead_exchange = await channel.declare_exchange(DEAD_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        dead = await channel.declare_queue(f"{name}.dead", durable=True, arguments=DEAD_ARGUMENTS)
        await dead.bind(dead_exchange, routing_key=f"{name}.dead")
        queue = await channel.declare_queue(f"{name}.in", durable=True, arguments=arguments)
    except ChannelPreconditionFailed as error:
        raise WrongTopology(str(error)) from error
    for type_ in sorted(inbox.types):
        await queue.bind(exchange, routing_key=type_)
    return queue, dead


class RabbitMQ:
    """Transport that publishes with confirms on a channel of its own; every failure is an unknown outcome, never a
    success."""

    at_once = 16
    batch = BATCH

    def __init__(self, url: str, service: str, *, timeout_seconds: float = PUBLISH_SECONDS) -> None:
        self._url, self._service, self._timeout = url, service, timeout_seconds
        self._connection: AbstractConnection | None = None
        self._channel: aiormq.abc.AbstractChannel | None = None
        self._connecting = asyncio.Lock()

    async def _ready(self) -> aiormq.abc.AbstractChannel:
        async with self._connecting:
            if self._channel is not None and self._connection is not None and not self._connection.is_closed:
                return self._channel
            await self.close()
            self._connection = await connect(self._url, f"{self._service} relay")
            # Without on_return_raises an unroutable message returns as if it were kept.
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            try:
                await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
            except ChannelPreconditionFailed as error:
                raise WrongTopology(str(error)) from error
            # The layer below: it takes the bytes as they are, where aio-pika would build an object around each.
            self._channel = await channel.get_underlay_channel()
            return self._channel

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                channel = await self._ready()
        except WrongTopology:
            raise
        except (Exception, asyncio.CancelledError) as error:  # the library raises KeyError for an odd greeting
            if is_being_cancelled():
                raise
            raise TransportDown(repr(error)) from error
        ends = asyncio.get_running_loop().time() + self._timeout
        outcomes = await self._publish_all(channel, envelopes, ends)
        if any(isinstance(outcome, ChannelPreconditionFailed) for outcome in outcomes):
            await self._tell_apart(envelopes, outcomes, ends)
        failpoint("relay_published")
        errors = [None if outcome is None else repr(outcome) for outcome in outcomes]
        if outcomes and all(map(_in_doubt, outcomes)):
            raise TransportDown(str(errors[0]))
        return errors

    async def _publish_all(
        self, channel: aiormq.abc.AbstractChannel, envelopes: Sequence[Envelope], ends: float
    ) -> list[BaseException | None]:
        """Publish each envelope; return for each its error, None where the broker confirmed it.

        One time-out for all, at `ends` by the loop's clock: one each would cost a tenth of the publishing.
        """
        tasks = [asyncio.ensure_future(self._publish(channel, envelope)) for envelope in envelopes]
        try:
            async with asyncio.timeout_at(ends):
                await asyncio.gather(*tasks, return_exceptions=True)
        except TimeoutError:  # gather has cancelled those that were not confirmed
            await asyncio.gather(*tasks, return_exceptions=True)
        outcomes = [TimeoutError() if task.cancelled() else task.exception() for task in tasks]
        # A confirm that never came leaves the channel in doubt; the next batch gets a new one.
        if self._channel is channel and (channel.is_closed or any(map(_in_doubt, outcomes))):
            self._channel = None
        return outcomes

    async def _tell_apart(
        self, envelopes: Sequence[Envelope], outcomes: list[BaseException | None], ends: float
    ) -> None:
        """Put into the outcomes which of the events in doubt are too large for the broker, and what becomes of the
        others, until `ends`.

        The broker refuses a message for its size by closing the channel, with all that is under way on it. So the
        largest are sent alone, one after another, until one is kept, and then the others.
        """
        doubtful = [number for number, outcome in enumerate(outcomes) if _in_doubt(outcome)]
        doubtful.sort(key=lambda number: len(envelopes[number].body))
        while doubtful:
            largest = doubtful.pop()
            try:
                async with asyncio.timeout_at(ends):
                    channel = await self._ready()
            except (*_BROKER_DOWN, asyncio.CancelledError):
                if is_being_cancelled():
                    raise
                return
            [outcome] = await self._publish_all(channel, [envelopes[largest]], ends)
            if isinstance(outcome, ChannelPreconditionFailed):
                outcomes[largest] = TooLargeForBroker(str(outcome))
                continue
            outcomes[largest] = outcome
            if outcome is None:
                rest = await self._publish_all(channel, [envelopes[number] for number in doubtful], ends)
                for number, one in zip(doubtful, rest, strict=True):
                    outcomes[number] = one
            return

    async def _publish(self, channel: aiormq.abc.AbstractChannel, envelope: Envelope) -> None:
        await channel.basic_publish(
            envelope.body,
            exchange=EXCHANGE,
            routing_key=envelope.type,
            properties=aiormq.spec.Basic.Properties(
                message_id=envelope.id,
                message_type=envelope.type,
                app_id=None if envelope.installation is None else str(envelope.installation),
                content_type="application/cloudevents+json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            ),
            mandatory=envelope.has_consumers,
        )

    async def close(self) -> None:
        """Close the connection, within CLOSE_SECONDS."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()
        except (*_BROKER_DOWN, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            log.info("the broker connection did not close in time", extra={"error": repr(error)})


_OF_ONE_MESSAGE = (aio_pika.exceptions.DeliveryError, TooLargeForBroker, ValueError, TypeError)
"""What is raised for one message, and says nothing about the channel: the broker did not keep it (returned as
unroutable, nacked, or too large), or it fits no frame of AMQP, and nothing of it was sent (a type of more than 255
bytes)."""


def _in_doubt(outcome: BaseException | None) -> bool:
    """Whether it is unknown if the broker keeps the message, so that the channel is in doubt, too."""
    return outcome is not None and not isinstance(outcome, _OF_ONE_MESSAGE)


async def _let_arrive() -> None:
    """Yield to the event loop often enough for messages already in the socket to reach us.

    It waits for no more: that would delay a message that comes alone.
    """
    for _ in range(4):
        await asyncio.sleep(0)


Take = Callable[[Sequence[bytes]], Awaitable[None]]
Arrivals = asyncio.Queue[aiormq.abc.DeliveredMessage]


async def _arrivals(channel: aiormq.abc.AbstractChannel, queue: AbstractQueue) -> Arrivals:
    """Consume from the queue; return where its messages arrive, in order."""
    arrived: Arrivals = asyncio.Queue()
    await channel.basic_consume(queue.name, arrived.put)
    return arrived


def _tag(message: aiormq.abc.DeliveredMessage) -> int:
    assert message.delivery_tag is not None, "whatever is delivered has one"
    return message.delivery_tag


def _delivery(message: aiormq.abc.DeliveredMessage) -> Delivery:
    properties = message.header.properties
    try:
        installation = UUID(properties.app_id or "")
    except ValueError:
        installation = None
    return Delivery(message.body, properties.message_type or "", installation)


class Consumer:
    """Takes messages from the service's queue in batches to its Receiver, and acknowledges them after the commit."""

    def __init__(self, url: str, receiver: Receiver, *, batch: int = BATCH, rebind_seconds: float = 30.0) -> None:
        self._url, self._receiver, self._batch, self._rebind_seconds = url, receiver, batch, rebind_seconds
        self.consuming = asyncio.Event()

    async def run(self) -> None:
        """Consume for ever, reconnecting whenever the broker was away; dead letters have a connection of their own."""
        liveness.rest()
        async with asyncio.TaskGroup() as group:
            for name in ("living", "dead"):
                group.create_task(liveness.part(name, self._keep_consuming(dead=name == "dead")))

    async def _keep_consuming(self, *, dead: bool) -> None:
        """Consume, and connect anew after every error: each second where the broker was away, less and less often after
        an error of another kind, which a person is to see to."""
        wait = FIRST_WAIT
        while True:
            liveness.beat(self._rebind_seconds)
            odd: Exception | None = None
            try:
                # In a task of its own: a task that held a TaskGroup whose member failed counts as cancelled for ever.
                await asyncio.create_task(self._consume(dead=dead))
            except BaseExceptionGroup as group:
                down, fault = group.split((*_BROKER_DOWN, asyncio.CancelledError))
                if isinstance(fault, Exception):  # the broker counts deliveries that are not acknowledged
                    odd = fault
                elif fault is not None:
                    raise fault from None
                else:
                    log.warning("the broker is away", extra={"error": repr(down)})
            except (*_BROKER_DOWN, asyncio.CancelledError) as error:
                if is_being_cancelled():
                    raise
                log.warning("the broker is away", extra={"error": repr(error)})
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                odd = error
            if odd is not None:
                note_outage(log, odd)
            wait = FIRST_WAIT if odd is None else min(2 * wait, self._rebind_seconds)
            await asyncio.sleep(wait)

    async def _consume(self, *, dead: bool) -> None:
        service = self._receiver.service
        connection = await connect(self._url, f"{service} dead letters" if dead else f"{service} inbox")
        try:
            lost = asyncio.Event()

            def lose(*_: object) -> None:
                lost.set()

            connection.close_callbacks.add(lose)
            async with connection.channel() as channel:
                living, deceased = await declare(channel, self._receiver.inbox)
            consuming = await self._channel(connection, lose)
            arrived = await _arrivals(consuming, deceased if dead else living)
            draining = self._drain(consuming, arrived, self._suspect_poison if dead else self._receiver.take)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(liveness.part("drain", draining)),
                    group.create_task(self._watch(connection)),
                ]
                if not dead:
                    self.consuming.set()
                await lost.wait()
                for task in tasks:
                    task.cancel()
            raise ConnectionError("the broker closed the connection")
        finally:
            if not dead:
                self.consuming.clear()
            async with asyncio.timeout(2):
                await connection.close()

    async def _channel(self, connection: AbstractConnection, lose: Callable[..., None]) -> aiormq.abc.AbstractChannel:
        """Open a channel to consume on; `lose` is called when it or its consumer ends (an operator deletes the queue).

        It is the layer below aio-pika, which would start two tasks and build an object for each message.
        """
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(lose)
        await channel.set_qos(prefetch_count=max(PREFETCH, 2 * self._batch))
        below = await channel.get_underlay_channel()
        below.on_consumer_cancel_callbacks.add(lose)
        return below

    async def _drain(self, channel: aiormq.abc.AbstractChannel, arrived: Arrivals, take: Take) -> None:
        while True:
            liveness.rest()
            batch = [await arrived.get()]
            liveness.beat()
            while len(batch) < self._batch:
                if arrived.empty():
                    await _let_arrive()
                if arrived.empty():
                    break
                batch.append(arrived.get_nowait())
            failpoint("inbox_received")
            await self._patiently([_delivery(message) for message in batch], take)
            # One ack for the whole batch: deliveries come in order of their tags.
            await channel.basic_ack(_tag(batch[-1]), multiple=True)

    async def _patiently(self, deliveries: Sequence[Delivery], take: Take) -> None:
        """Pass messages on to `take`, and try again for as long as the database is away.

        They stay unacknowledged meanwhile, and are never nacked in a loop. After any other error the broker delivers
        them again, and counts how often.
        """
        wait = 0.1
        while True:
            liveness.beat()
            try:
                await take(await self._receiver.installations.of_this_installation(deliveries))
            except DATABASE_ERRORS as error:
                if not is_database_down(error):
                    raise
                note_outage(log, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 5)
            else:
                return

    async def _suspect_poison(self, bodies: Sequence[bytes]) -> None:
        await self._receiver.suspect_poison(bodies, "dead-lettered: it was never acknowledged")

    async def _watch(self, connection: AbstractConnection) -> None:
        """Declare queue and bindings again and again, since an operator may have removed them.

        Raises ConnectionError: the queue has no consumer any more.
        """
        while True:
            liveness.beat(self._rebind_seconds)
            await asyncio.sleep(self._rebind_seconds)
            async with asyncio.timeout(10):
                channel = await connection.channel()
                queue, _ = await declare(channel, self._receiver.inbox)
                await channel.close()
            if not queue.declaration_result.consumer_count:
                raise ConnectionError("our consumer is gone")
