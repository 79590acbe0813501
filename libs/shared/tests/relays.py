"""Relays at a test's hand: what they send, and parts that end with the test."""

import asyncio

import pytest

from shared.messaging.relay import Relay

from .delivery import refund_in
from .messaging_nodes import eventually


class Recorder:
    """A transport that keeps what it is sent."""

    at_once = 1

    def __init__(self, hold=0.0, batch=500):
        self.sent, self.bodies, self.batches, self.hold, self.batch = [], [], [], hold, batch

    async def send(self, envelopes) -> list[str | None]:
        await asyncio.sleep(self.hold)
        self.sent += [envelope.id for envelope in envelopes]
        self.bodies += [envelope.body for envelope in envelopes]
        self.batches.append(len(envelopes))
        return [None for _ in envelopes]


@pytest.fixture
async def parts():
    """Starts parts that end with the test; fails if one has died."""
    tasks = []

    def go(part):
        tasks.append(asyncio.ensure_future(part))
        return tasks[-1]

    yield go
    died = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in died:
        task.result()


async def unsent(node):
    return await node.one("select count(*) from outbox where sent_at is null")


class Crowded(Relay):
    """Has no room: it has to look for everything."""

    looks = 0

    def has_room(self, count):
        return False

    async def send_batch(self):
        self.looks += 1
        return await super().send_batch()


@pytest.fixture
async def handed(payments, parts):
    """A transport whose relay is handed what payments commits, and finds nothing by itself."""
    transport = Recorder()
    await start(parts, Relay("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=60))
    return transport


async def start(parts, relay):
    task = parts(relay.run())

    async def looked():  # for what there was before
        return relay._connection is not None

    await eventually(looked)
    return task


def bodies(transport):
    return {refund_in(body).refund_id for body in transport.bodies}


async def is_sent(transport, count):
    return len(transport.sent) >= count
