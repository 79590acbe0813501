"""Committed means delivered, in effect once, in whatever order: on the in-process bus and on a real RabbitMQ."""

import asyncio
import itertools
import json
import logging
import random

import httpx
import pytest

from embedded import ports
from shared import telemetry
from shared.access import TokenVerifier
from shared.events.payments import OrderExpired, PaymentConfirmed
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.feed import read_page
from shared.messaging.outbox import write_announced
from shared.messaging.reconciliation import Reconciler
from shared.messaging.relay import TransportDown
from shared.process import Process
from shared.testing.services import AUDIENCE, ISSUER, Issuer

from . import delivery
from .delivery import body_of, confirmed, refund_of, reversed_, wrapped
from .messaging_nodes import (
    JoinedNodes,
    ServiceNode,
    eventually,
    has,
    is_dead_lettered,
    is_waiting,
    nothing_left,
)
from .processes import running, service_of


async def test_what_is_committed_is_delivered(joined):
    await joined.consume()
    joined.relay()
    events = [refund_of() for _ in range(20)]
    await joined.payments.announce(*events)
    await eventually(lambda: has(joined.enrolment, 20))
    for event in events:
        assert await joined.enrolment.effects(event) == 1
    await joined.all_sent()


async def test_what_is_rolled_back_is_never_sent(joined):
    await joined.consume()
    joined.relay()
    with pytest.raises(ZeroDivisionError):
        async with joined.payments.database.transaction() as session:
            publish(session, refund_of())
            await session.run_sync(write_announced)
            raise ZeroDivisionError
    after = refund_of()
    await joined.payments.announce(after)
    await eventually(lambda: has(joined.enrolment, 1))
    assert await joined.payments.one("select count(*) from outbox") == 1
    assert await joined.enrolment.effects(after) == 1


async def test_what_a_savepoint_rolled_back_is_never_sent_and_the_rest_is(joined):
    await joined.consume()
    joined.relay(poll_seconds=60)
    kept, dropped = refund_of(), refund_of()
    async with joined.payments.database.transaction() as session:
        publish(session, kept)
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                publish(session, dropped)
                await session.run_sync(write_announced)
                raise ZeroDivisionError
    joined.go(joined.payments.notifier.run())
    joined.payments.notifier.notify()
    await eventually(lambda: has(joined.enrolment, 1))
    assert await joined.enrolment.effects(kept) == 1


async def test_an_event_that_commits_late_is_not_skipped(joined):
    await joined.consume()
    joined.relay()
    late, early = refund_of(), refund_of()
    async with joined.payments.database.transaction() as session:
        publish(session, late)
        await session.run_sync(write_announced)  # takes the lower position
        await joined.payments.announce(early)
        await eventually(lambda: has(joined.enrolment, 1))
        seen = await joined.payments.one("select max(position) from outbox where sent_at is not null")
    await eventually(lambda: has(joined.enrolment, 2))
    assert await joined.enrolment.effects(late) == 1
    # What a cursor of positions would have done: nothing stands after the last one it had seen.
    assert await joined.payments.all("select id from outbox where position > :seen", seen=seen) == []


@pytest.mark.parametrize("pace", ["slow", "slower_than_a_lock"])
async def test_ten_duplicates_on_two_consumers_at_once_have_one_effect_and_no_error_is_logged(joined, caplog, pace):
    """The loser waits for the winner; where that takes long, it comes back later. Neither is a fault."""
    replica = ServiceNode("enrolment", joined.enrolment.url)
    event = refund_of(reason_code=pace)
    body = body_of(event)
    if joined.amqp_url:
        await joined.consume(joined.enrolment, replica)
        sender = joined.transport()
        await sender.send([wrapped(body) for _ in range(10)])
    else:
        other = JoinedNodes(joined.nodes, None)
        await joined.consume(joined.enrolment)
        await other.consume(replica)
        await asyncio.gather(*(bus.send([wrapped(body)]) for _ in range(5) for bus in (joined.bus, other.bus)))
        sender = joined.bus
    last = refund_of()
    await sender.send([wrapped(body_of(last))])
    await eventually(lambda: has(joined.enrolment, 2))
    joined.retry(joined.enrolment)
    await eventually(lambda: nothing_left(joined.enrolment))
    assert await joined.enrolment.effects(event) == 1
    assert await joined.enrolment.one("select count(*) from inbox") == 2
    assert await joined.enrolment.dead_letters() == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    await replica.database.dispose()


async def test_two_receivers_that_claim_at_once_let_one_through(nodes):
    """The first holds its transaction open; the second waits for it and then finds the key taken."""
    one, other = nodes["enrolment"], ServiceNode("enrolment", nodes["enrolment"].url)
    event = refund_of(reason_code="slow")
    bodies = [body_of(event)]
    await asyncio.gather(*(node.receiver.take(bodies) for node in (one, other) * 5))
    assert await one.effects(event) == 1
    await other.database.dispose()


async def test_any_order_and_any_duplicates_end_in_the_same_state(joined):
    await joined.consume()
    sender = joined.transport()
    chance = random.Random(20261123)  # noqa: S311 - to be repeatable
    orders = []
    for permutation in itertools.permutations(range(3)):
        order_id = new_id()
        orders.append(order_id)
        kinds = [confirmed(order_id), reversed_(order_id), refund_of(order_id=order_id, reason_code="before_payment")]
        bodies = [(event.type, body_of(event)) for event in kinds]
        chosen = [bodies[i] for i in permutation]
        chosen += chance.choices(bodies, k=5)
        for type_, body in chosen:
            await sender.send([wrapped(body, type_)])
    joined.retry()

    async def settled():
        rows = await joined.enrolment.all("select order_id, standing from standings")
        return len(rows) == len(orders) and await joined.enrolment.effects() == 3 * len(orders)

    await eventually(settled)
    await eventually(lambda: nothing_left(joined.enrolment))
    assert dict(await joined.enrolment.all("select order_id, standing from standings")) == dict.fromkeys(
        orders, "suspended"
    )
    assert await joined.enrolment.effects() == 3 * len(orders)
    assert await joined.credentials.effects() == len(orders)
    assert await joined.enrolment.dead_letters() == []


async def test_an_event_that_came_too_early_waits_and_then_succeeds(joined):
    await joined.consume()
    joined.retry()
    sender = joined.transport()
    order_id = new_id()
    early = refund_of(order_id=order_id, reason_code="before_payment")
    await sender.send([wrapped(body_of(early))])
    await eventually(lambda: is_waiting(joined.enrolment))
    await asyncio.sleep(1)  # many more tries than a failing handler is given
    assert await joined.enrolment.effects(early) == 0
    assert await joined.enrolment.dead_letters() == []
    await sender.send([wrapped(body_of(confirmed(order_id)), PaymentConfirmed.type)])
    await eventually(lambda: has(joined.enrolment, 2))
    assert await joined.enrolment.effects(early) == 1
    await eventually(lambda: nothing_left(joined.enrolment))


async def test_an_event_nobody_can_take_is_kept_and_sent_when_somebody_can(joined):
    if joined.amqp_url:
        await joined.consume(joined.credentials)  # the exchange is there, enrolment's queue is not
    event = refund_of()
    joined.relay(poll_seconds=0.1)
    await joined.payments.announce(event)

    async def noticed():
        return bool(await joined.payments.all("select 1 from outbox where sent_at is null and last_error is not null"))

    await eventually(noticed)
    await joined.consume(joined.enrolment)
    await eventually(lambda: has(joined.enrolment, 1))
    await joined.all_sent()


async def test_an_event_nobody_consumes_needs_no_queue(joined):
    await joined.consume()
    joined.relay()
    order_id = new_id()
    await joined.payments.announce(OrderExpired(order_id=order_id, learner_id=order_id, expired_at=delivery.NOON))
    await joined.all_sent()


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_the_same_id_with_another_body_is_dead_lettered_and_the_first_has_its_effect(joined, together):
    await joined.consume()
    sender = joined.transport()
    id_, first, second = new_id(), refund_of(), refund_of()
    envelopes = [wrapped(body_of(first, id_)), wrapped(body_of(second, id_))]
    if together:
        await sender.send(envelopes)
    else:
        for one in envelopes:
            await sender.send([one])
    await eventually(lambda: is_dead_lettered(joined.enrolment, "same_id_other_body"))
    await eventually(lambda: has(joined.enrolment, 1))
    assert await joined.enrolment.effects(first) + await joined.enrolment.effects(second) == 1
    for one in envelopes:
        await sender.send([one])
    await sender.send([wrapped(body_of(refund_of()))])
    await eventually(lambda: has(joined.enrolment, 2))
    assert await joined.enrolment.dead_letters() == ["same_id_other_body"]


class Doubtful:
    """A transport whose confirms are lost: everything is sent, nothing is known."""

    at_once, batch = 1, 500

    def __init__(self, inner, failure, times=3):
        self.inner, self.failure, self.times, self.calls = inner, failure, times, 0

    async def send(self, envelopes):
        outcomes = await self.inner.send(envelopes)
        self.calls += 1
        if self.calls <= self.times:
            raise self.failure
        return outcomes


@pytest.mark.parametrize("failure", [TransportDown("no confirm"), TimeoutError(), asyncio.CancelledError()], ids=repr)
async def test_an_unknown_outcome_is_sent_again_and_has_one_effect(joined, failure):
    await joined.consume()
    transport = Doubtful(joined.transport(), failure)
    joined.relay(transport, longest_wait_seconds=0.1)
    event = refund_of()
    await joined.payments.announce(event)
    await eventually(lambda: has(joined.enrolment, 1))
    await joined.all_sent()
    assert transport.calls == 4
    assert await joined.enrolment.effects(event) == 1
    assert await joined.enrolment.one("select count(*) from inbox") == 1


class Forgetful:
    """A broker that confirms and loses, as a purged queue or a restored backup does."""

    at_once, batch = 1, 500

    async def send(self, envelopes):
        return [None for _ in envelopes]


async def test_what_the_transport_lost_comes_by_the_feed(joined):
    class Local:
        async def read(self, types, after):
            return await read_page(joined.payments.database, types, after)

    await joined.consume()
    joined.relay(Forgetful())
    lost = [refund_of() for _ in range(5)]
    await joined.payments.announce(*lost)
    await joined.all_sent()
    assert await joined.enrolment.effects() == 0
    reconciler = Reconciler(joined.enrolment.receiver, joined.enrolment.database, {"payments": Local()})
    joined.go(reconciler.run(every_seconds=0.1))
    await eventually(lambda: has(joined.enrolment, 5))
    for event in lost:
        assert await joined.enrolment.effects(event) == 1


async def test_trace_and_request_id_travel_from_the_request_to_the_consumers_log(bus, joined, tmp_path):
    issuer = Issuer()
    options = {"amqp_url": joined.amqp_url, "mail_folder": str(tmp_path)}
    payments = Process(
        service_of(
            "payments",
            joined.payments.url,
            port=ports.suggest(1),
            verifier=TokenVerifier(ISSUER, AUDIENCE, issuer.keys),
            **options,
        ),
        bus=None if joined.amqp_url else joined.bus,
    )
    enrolment = Process(
        service_of("enrolment", joined.enrolment.url, port=ports.suggest(1), **options),
        bus=None if joined.amqp_url else joined.bus,
    )
    lines = Lines()
    logging.root.addHandler(lines)
    before = logging.root.level
    logging.root.setLevel(logging.INFO)
    try:
        async with running(enrolment, payments), httpx.AsyncClient() as client:
            trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            answer = await client.post(
                f"http://127.0.0.1:{payments.service.settings.port}/v1/refunds",
                json={"amount_minor": 49500},
                headers={
                    "Authorization": f"Bearer {issuer.token('learner')}",
                    "Idempotency-Key": "k1",
                    "X-Request-Id": "request-of-mine",
                    "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
                },
            )
            assert answer.status_code == 201
            await eventually(lambda: has(joined.enrolment, 1))
            await eventually(lambda: lines.has("event handled"))
    finally:
        logging.root.removeHandler(lines)
        logging.root.setLevel(before)
    (handled,) = [line for line in lines.read if line["message"] == "event handled"]
    assert handled["request_id"] == "request-of-mine"
    assert handled["traceparent"].split("-")[1] == trace
    assert str(await joined.payments.one("select id from outbox")) == handled["event"]
    # What the consumer does next is no longer that request.
    assert all(line["request_id"] != "request-of-mine" for line in lines.read if line["message"] == "stopped")


class Lines(logging.Handler):
    """Log lines as they would be written."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.setFormatter(telemetry.JsonFormatter("tests", "1"))

    def emit(self, record):
        self.read.append(json.loads(self.format(record)))

    async def has(self, message):
        return any(line["message"] == message for line in self.read)
