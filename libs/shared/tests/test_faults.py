"""Delivery while brokers die: really stopped, frozen and killed -9."""

import asyncio
import contextlib
import struct

import aio_pika
import httpx
import pytest
from pamqp.commands import Basic

from embedded import ports
from shared import liveness, telemetry
from shared.events.payments import PaymentReversed
from shared.ids import new_id
from shared.messaging import rabbitmq
from shared.messaging.feed import read_page
from shared.messaging.rabbitmq import EXCHANGE, queue_arguments
from shared.messaging.reconciliation import Reconciler
from shared.messaging.relay import Relay, TransportDown
from shared.process import Process

from . import delivery
from .delivery import refund_of, reversed_, wrapped
from .messaging_nodes import JoinedNodes, all_had_their_effect, eventually, forget_topology
from .processes import running, service_of

pytestmark = [pytest.mark.slow, pytest.mark.broker]


@pytest.fixture
async def joined(broker, nodes):
    await forget_topology(broker.url)
    made = JoinedNodes(nodes, broker.url)
    try:
        yield made
    finally:
        await made.close()


class Local:
    def __init__(self, node):
        self.node = node

    async def read(self, types, after):
        return await read_page(self.node.database, types, after)


def reconcile(joined, *nodes):
    for node in nodes:
        feeds = {"payments": Local(joined.payments)}
        joined.go(Reconciler(node.receiver, node.database, feeds).run(every_seconds=0.5))


async def test_a_broker_that_was_stopped(joined, broker):
    await joined.consume()
    joined.relay()
    events = [refund_of() for _ in range(30)]
    await joined.payments.announce(*events[:10])
    await asyncio.sleep(2)  # see RabbitMQ.kill
    await broker.stop()
    await joined.payments.announce(*events[10:20])  # nobody who commits notices
    await asyncio.sleep(2)
    assert await joined.payments.one("select count(*) from outbox where sent_at is null") >= 10
    await broker.start()
    await joined.payments.announce(*events[20:])
    await all_had_their_effect(joined.enrolment, events)
    await joined.all_sent()


async def test_a_broker_that_was_frozen_for_longer_than_its_heartbeats(joined, broker, monkeypatch):
    monkeypatch.setattr(rabbitmq, "HEARTBEAT_SECONDS", 2)
    await joined.consume()
    liveness.begin(loops := liveness.Loops(), "tests")
    joined.relay()
    events = [refund_of() for _ in range(30)]
    await joined.payments.announce(*events[:10])
    await all_had_their_effect(joined.enrolment, events[:10])
    await broker.freeze()
    try:
        await joined.payments.announce(*events[10:20])
        await asyncio.sleep(14)
        beat = loops.due["tests: look"] - liveness.STUCK_SECONDS
        assert asyncio.get_running_loop().time() - beat < 12, "the relay hangs with the broker"
        assert await joined.payments.one("select count(*) from outbox where sent_at is null") == 10
    finally:
        await broker.thaw()
    await joined.payments.announce(*events[20:])
    await all_had_their_effect(joined.enrolment, events)
    await joined.all_sent()


async def test_a_broker_that_was_killed_and_lost_its_queue(joined, broker):
    """What the broker had confirmed is gone; the producers' logs still have it."""
    await joined.consume(joined.enrolment)
    for task in joined.tasks:
        task.cancel()  # the consumer is away, so that messages lie in the queue
    await asyncio.gather(*joined.tasks, return_exceptions=True)
    joined.tasks.clear()
    joined.relay()
    events = [refund_of() for _ in range(10)]
    await joined.payments.announce(*events)
    await joined.all_sent()
    await asyncio.sleep(2)
    await broker.kill()
    await broker.start()
    await broker.ctl("purge_queue", "enrolment.in")
    await joined.consume(joined.enrolment)
    await asyncio.sleep(1)
    assert await joined.enrolment.effects() == 0
    reconcile(joined, joined.enrolment)
    await all_had_their_effect(joined.enrolment, events)


async def test_a_broker_killed_in_the_middle_of_the_stream(joined, broker):
    await joined.consume()
    joined.relay()
    await asyncio.sleep(2)
    events = [refund_of() for _ in range(300)]

    async def stream():
        for event in events:
            await joined.payments.announce(event)

    streaming = asyncio.create_task(stream())
    await asyncio.sleep(0.3)
    await broker.kill()
    await streaming
    await broker.start()
    reconcile(joined, joined.enrolment)
    await all_had_their_effect(joined.enrolment, events)
    await joined.all_sent()


async def unbind(broker):
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("enrolment.in")
        await queue.unbind(EXCHANGE, PaymentReversed.type)


async def test_an_event_lost_to_a_binding_that_was_removed(joined, broker):
    """It still reaches the other service, so the publisher cannot see it."""
    await joined.consume()
    joined.relay()
    await unbind(broker)
    lost = reversed_(new_id())
    await joined.payments.announce(lost)
    await all_had_their_effect(joined.credentials, [lost])
    await joined.all_sent()
    assert await joined.enrolment.effects() == 0
    reconcile(joined, joined.enrolment)
    await all_had_their_effect(joined.enrolment, [lost])


async def test_a_binding_that_was_removed_comes_back(joined, broker):
    await joined.consume(joined.enrolment, rebind_seconds=0.5)
    await joined.consume(joined.credentials)
    joined.relay()
    await unbind(broker)

    async def bound_again():
        probe = reversed_(new_id())
        await joined.payments.announce(probe)
        await asyncio.sleep(0.5)
        return await joined.enrolment.effects(probe) == 1

    await eventually(bound_again, 30)


async def test_a_queue_that_an_operator_deleted(joined, broker):
    await joined.consume()
    joined.relay()
    await broker.ctl("delete_queue", "enrolment.in")
    events = [refund_of() for _ in range(10)]
    await joined.payments.announce(*events)
    reconcile(joined, joined.enrolment)
    await all_had_their_effect(joined.enrolment, events)
    await joined.all_sent()


async def test_sends_at_once_share_a_connection_and_survive_its_end(joined, broker):
    await joined.consume()
    transport, events = joined.transport(), [refund_of() for _ in range(32)]
    envelopes = [wrapped(delivery.body_of(event)) for event in events]

    async def send(envelope):
        outcomes = ["not sent"]
        while outcomes != [None]:
            with contextlib.suppress(TransportDown):
                outcomes = await transport.send([envelope])

    async def connections():
        return (await broker.ctl("list_connections", "client_properties")).count("payments relay")

    await asyncio.gather(*map(send, envelopes[:16]))
    assert await connections() == 1
    sending = asyncio.gather(*(transport.send([one]) for one in envelopes[16:]), return_exceptions=True)
    await broker.ctl("close_all_connections", "maintenance")
    await sending
    await asyncio.gather(*map(send, envelopes[16:]))
    assert await connections() == 1
    await all_had_their_effect(joined.enrolment, events)


async def test_connections_that_an_operator_closed(joined, broker):
    await joined.consume()
    joined.relay()
    events = [refund_of() for _ in range(20)]
    await joined.payments.announce(*events[:10])
    await broker.ctl("close_all_connections", "maintenance")
    await joined.payments.announce(*events[10:])
    await all_had_their_effect(joined.enrolment, events)


async def test_a_topology_with_other_arguments_is_logged_and_ends_nothing(nodes, broker, tmp_path, caplog):
    """The broker is an accelerator: the feed goes on, and so does the API; when a person has seen to it, all does."""
    await forget_topology(broker.url)
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        arguments = queue_arguments("enrolment") | {"x-max-length": 7}
        await channel.declare_queue("enrolment.in", durable=True, arguments=arguments)
    process = Process(
        service_of(
            "enrolment",
            nodes["enrolment"].url,
            port=ports.suggest(1),
            amqp_url=broker.url,
            mail_folder=str(tmp_path),
        )
    )

    async def logged():
        return any("x-max-length" in str(record.exc_info) for record in caplog.records)

    async def bound():
        async with await aio_pika.connect(broker.url) as connection:
            queue = await (await connection.channel()).declare_queue("enrolment.in", passive=True)
            return queue.declaration_result.consumer_count == 1

    async with running(process) as (task,):
        await eventually(logged)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.service.settings.port}") as client:
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.get("/health/live")).status_code == 200
        assert not task.done()
        async with await aio_pika.connect(broker.url) as connection:
            await (await connection.channel()).queue_delete("enrolment.in")
        await asyncio.sleep(5)
        await eventually(bound, 60)
    await forget_topology(broker.url)


async def largest_message(broker, size):
    """Limit the messages of channels opened from now on, as the broker's configuration does in each of its versions."""
    set_env = f"application:set_env(rabbit, max_message_size, {size})"
    await broker.ctl("eval", f"{set_env}, persistent_term:put(max_message_size, {size}).")


@pytest.mark.parametrize("handed", [False, True], ids=["found", "handed"])
@pytest.mark.parametrize("with_others", [True, False], ids=["among others", "alone"])
async def test_an_event_that_the_broker_takes_for_too_large_is_put_off_and_holds_up_no_other(
    joined, broker, with_others, handed
):
    """The broker closes the channel, with all that is under way on it; that does not say that it is away."""
    before = (await broker.ctl("eval", "{ok, Size} = application:get_env(rabbit, max_message_size), Size.")).strip()
    await largest_message(broker, "100000")
    try:
        await joined.consume()
        notifier = joined.payments.notifier if handed else None
        relay = Relay("payments", joined.payments.database, joined.transport(), notifier=notifier, poll_seconds=60)
        large = [refund_of(reason_code="x" * length) for length in (200_000, 150_000)]
        others = [refund_of() for _ in range(3)] if with_others else []
        events = others[:2] + large[:1] + others[2:] + large[1:]
        if handed:
            joined.go(relay.run())

            async def is_there():
                return joined.payments.notifier.lease(1) > 0

            await eventually(is_there)
            await joined.payments.announce(*events)
        else:
            await joined.payments.announce(*events)
            assert await relay.send_batch() == len(others)
        unsent = "select attempts > 0, last_error like '%TooLargeForBroker%' from outbox where sent_at is null"

        async def put_off():
            return await joined.payments.all(unsent) == [(True, True)] * 2

        await eventually(put_off)
        others.append(refund_of())
        await joined.payments.announce(others[-1])
        if not handed:
            assert await relay.send_batch() == 1
        await all_had_their_effect(joined.enrolment, others)
    finally:
        await largest_message(broker, before)
    if not handed:
        async with joined.payments.database.driver() as driver:
            await driver.execute("update outbox set next_attempt_at = now() where sent_at is null")
        assert await relay.send_batch() == 2
        await all_had_their_effect(joined.enrolment, [*others, *large])


async def test_whatever_the_library_raises_is_a_broker_that_is_away(joined, monkeypatch):
    """A broker that names no capabilities in its greeting: KeyError."""
    connect, odd = rabbitmq.connect, True

    async def greet(url, name):
        if odd:
            raise KeyError("capabilities")
        return await connect(url, name)

    monkeypatch.setattr(rabbitmq, "connect", greet)
    with pytest.raises(TransportDown):
        await rabbitmq.RabbitMQ(joined.amqp_url, "payments").send([])
    consuming = asyncio.create_task(rabbitmq.Consumer(joined.amqp_url, joined.enrolment.receiver).run())
    await asyncio.sleep(2)
    assert not consuming.done()
    odd = False
    joined.relay()
    event = refund_of()
    await joined.payments.announce(event)
    await all_had_their_effect(joined.enrolment, [event])
    consuming.cancel()
    await asyncio.wait([consuming])


async def test_a_dead_letter_waits_for_a_database_that_is_away(joined, broker, monkeypatch):
    """It is acknowledged when it stands in the database, and by nothing else."""
    down = True
    suspect_poison = joined.enrolment.receiver.suspect_poison

    async def away(bodies, why):
        if down:
            raise ConnectionRefusedError
        await suspect_poison(bodies, why)

    monkeypatch.setattr(joined.enrolment.receiver, "suspect_poison", away)
    await joined.consume(joined.enrolment)
    dead = refund_of()
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(delivery.body_of(dead)), "enrolment.dead")
        living = refund_of()
        await joined.transport().send([wrapped(delivery.body_of(living))])
        await all_had_their_effect(joined.enrolment, [living])  # acknowledges everything before it on its channel
    for task in joined.tasks:
        task.cancel()  # the process ends; the dead letter must still be there
    await asyncio.gather(*joined.tasks, return_exceptions=True)
    joined.tasks.clear()
    down = False
    await joined.consume(joined.enrolment)
    joined.retry(joined.enrolment)
    await all_had_their_effect(joined.enrolment, [living, dead])


ODD_PROPERTIES = {
    "a time after the year 9999": struct.pack(">HQ", Basic.Properties.flags["timestamp"], 2**62),
    "a time without end": struct.pack(">HQ", Basic.Properties.flags["timestamp"], 2**64 - 1),
    "a name that is no UTF-8": struct.pack(">HB2s", Basic.Properties.flags["message_type"], 2, b"\xff\xfe"),
}


class OddProperties(Basic.Properties):
    """They say what is above, whatever the library reads of it."""

    def __init__(self, marshalled):
        super().__init__(delivery_mode=2)
        self.marshalled = marshalled

    def marshal(self):
        return self.marshalled


@pytest.mark.parametrize("queue", ["enrolment.dead", "enrolment.in"])
async def test_properties_that_the_library_cannot_read_close_no_queue(joined, broker, queue):
    """The message is handled by its body, or stands where a person sees it; and those behind it are handled."""
    await joined.consume(joined.enrolment)
    joined.retry(joined.enrolment)
    counted = telemetry.message_properties_unreadable._value.get()
    events = [refund_of() for _ in ODD_PROPERTIES]
    behind = refund_of()
    async with await aio_pika.connect(broker.url) as connection:
        channel = await (await connection.channel()).get_underlay_channel()
        for event, odd in zip(events, ODD_PROPERTIES.values(), strict=True):
            for body in (delivery.body_of(event), b"nothing of ours"):
                await channel.basic_publish(body, routing_key=queue, properties=OddProperties(odd))
        await channel.basic_publish(delivery.body_of(behind), routing_key=queue)
    await all_had_their_effect(joined.enrolment, [*events, behind])
    assert await joined.enrolment.all("select reason, body from parked_messages") == [("malformed", b"nothing of ours")]
    assert telemetry.message_properties_unreadable._value.get() == counted + 2 * len(ODD_PROPERTIES)
