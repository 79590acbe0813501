"""What a process commits is handed to its own relay: no other looks for it, and none of it is lost."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.messaging import publish
from shared.messaging.outbox import write_announced
from shared.messaging.relay import Relay, TransportDown

from .delivery import refund_of
from .messaging_nodes import eventually
from .relays import Recorder, bodies, is_sent, start, unsent


async def test_what_is_committed_is_handed_over_and_no_other_relay_looks_for_it(payments, handed, monkeypatch):
    monkeypatch.setattr("shared.messaging.relay.SETTLE_SECONDS", 0.5)
    handed.hold = 0.3
    event = refund_of()
    await payments.announce(event)
    other = Relay("payments", payments.database, Recorder())
    assert await other.send_batch() == 0
    await eventually(lambda: is_sent(handed, 1), 5)
    assert await other.send_batch() == 0
    assert bodies(handed) == {event.refund_id}

    async def marked():
        return not await unsent(payments)

    await eventually(marked)
    assert await payments.one("select attempts from outbox") == 1


@pytest.mark.parametrize(("confirm", "mark"), [(1.0, 0.05), (0.0, 1.0)], ids=["to confirm", "to mark"])
async def test_what_takes_longer_than_its_lease_is_not_looked_for_by_the_relay_that_has_it(
    payments, parts, monkeypatch, confirm, mark
):
    monkeypatch.setattr("shared.messaging.outbox.LEASE_SECONDS", 0.2)
    monkeypatch.setattr("shared.messaging.relay.SETTLE_SECONDS", mark)
    transport = Recorder(hold=confirm)
    relay = Relay("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=0.1)
    await start(parts, relay)
    await payments.announce(refund_of())

    async def marked():
        return not await unsent(payments)

    await eventually(marked)  # long after the lease, and the relay has looked several times since
    assert len(transport.sent) == 1
    async with payments.database.driver() as driver:  # as after a restored backup
        await driver.execute("update outbox set sent_at = null, next_attempt_at = now()")
    await eventually(lambda: is_sent(transport, 2), 5)


async def test_what_was_handed_to_a_process_that_ended_is_found_when_the_lease_is_over(payments, monkeypatch):
    class Ended:
        def has_room(self, count):
            return True

        def take(self, rows):
            pass

    monkeypatch.setattr("shared.messaging.outbox.LEASE_SECONDS", 0.5)
    payments.notifier.relay = Ended()
    await payments.announce(refund_of())
    payments.notifier.relay = None
    survivor = Relay("payments", payments.database, Recorder())
    assert await survivor.send_batch() == 0
    await asyncio.sleep(0.6)
    assert await survivor.send_batch() == 1


async def test_what_is_not_committed_is_not_handed_over(payments, handed):
    """Neither with its transaction nor with its savepoint, and also where it was written already."""
    kept = refund_of()
    async with payments.database.messages() as session:
        publish(session, refund_of())
        await session.run_sync(write_announced)
        await session.rollback()
        publish(session, kept)
        around = await session.begin_nested()
        async with session.begin_nested():
            publish(session, refund_of())
        await around.rollback()
        await session.commit()
        publish(session, refund_of())
        await session.run_sync(write_announced)
        await session.close()
        await session.commit()
    await asyncio.sleep(0.3)
    assert bodies(handed) == {kept.refund_id}


async def test_what_a_savepoint_wrote_is_looked_for(payments, handed):
    async with payments.database.transaction() as session:
        publish(session, refund_of())
        async with session.begin_nested():
            publish(session, refund_of())
    await eventually(lambda: is_sent(handed, 2), 5)


async def test_a_commit_that_fails_hands_nothing_over(payments, handed):
    make = """
        create function refuse() returns trigger as $$ begin raise 'not today'; end $$ language plpgsql;
        create constraint trigger refusing after insert on outbox deferrable initially deferred
            for each row execute function refuse()
    """
    async with payments.database.driver() as driver:
        await driver.execute(make)
        try:
            with pytest.raises(DBAPIError, match="not today"):
                await payments.announce(refund_of())
        finally:
            await driver.execute("drop function refuse cascade")
    await asyncio.sleep(0.3)
    assert handed.sent == []


@pytest.mark.parametrize("away", [True, False], ids=["away", "refuses"])
async def test_what_the_transport_does_not_take_is_looked_for(payments, parts, away):
    class Moody(Recorder):
        well = False

        async def send(self, envelopes) -> list[str | None]:
            if self.well:
                return await super().send(envelopes)
            if away:
                raise TransportDown("no broker")
            return ["no queue" for _ in envelopes]

    transport = Moody()
    relay = Relay("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=60)
    await start(parts, relay)
    await payments.announce(refund_of())

    async def put_down():
        return bool(await payments.one("select count(*) from outbox where next_attempt_at > now() or last_error <> ''"))

    await (eventually(put_down) if not away else asyncio.sleep(0.5))
    assert not relay.has_room(1)
    transport.well = True
    await payments.announce(refund_of())
    if not away:
        async with payments.database.driver() as driver:
            await driver.execute("update outbox set next_attempt_at = now()")
    await eventually(lambda: is_sent(transport, 2), 10)
    assert relay.has_room(1)


async def test_more_than_a_batch_at_once_is_looked_for(payments, parts):
    transport = Recorder(batch=3)
    relay = Relay("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=60)
    await start(parts, relay)
    await payments.announce(*(refund_of() for _ in range(7)))
    await eventually(lambda: is_sent(transport, 7), 5)
    assert transport.batches == [3, 3, 1]
    assert relay.has_room(3)
    assert not relay.has_room(4)


async def test_what_was_sent_is_marked_when_the_relay_ends(payments, monkeypatch):
    monkeypatch.setattr("shared.messaging.relay.SETTLE_SECONDS", 60)
    transport = Recorder()
    task = await start(
        asyncio.ensure_future, Relay("payments", payments.database, transport, notifier=payments.notifier)
    )
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)
    task.cancel()
    await asyncio.wait({task})
    assert await unsent(payments) == 0
    assert payments.notifier.relay is None


async def test_what_was_sent_is_marked_when_the_database_is_back(payments, parts, monkeypatch):
    transport = Recorder()
    relay = Relay("payments", payments.database, transport, notifier=payments.notifier)
    await start(parts, relay)
    async with payments.database.web.begin() as migration:
        await payments.announce(refund_of())
        await migration.execute(text("lock table outbox in access exclusive mode"))  # longer than the lock time-out
        await asyncio.sleep(1.5)
        assert len(transport.sent) == 1

    async def marked():
        return not await unsent(payments)

    await eventually(marked)
    assert await payments.one("select attempts from outbox") == 1
