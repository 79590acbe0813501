"""The relay: what it is handed and what it claims, how it waits, what wakes it, and that its death is seen."""

import asyncio
import time

import httpx
import pytest
from delivery import refund_of
from processes import running, service_of
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from stations import eventually

from embedded import ports
from shared import telemetry
from shared.database import Database
from shared.messaging import publish
from shared.messaging.message import read
from shared.messaging.outbox import Wakeup, write_announced
from shared.messaging.relay import Relay, TransportDown
from shared.service import Process


class Recorder:
    """A transport that keeps what it is sent."""

    at_once = 1

    def __init__(self, hold=0.0, batch=500):
        self.sent, self.bodies, self.batches, self.hold, self.batch = [], [], [], hold, batch

    async def send(self, envelopes):
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


async def unsent(station):
    return await station.one("select count(*) from outbox where sent_at is null")


async def test_a_batch_is_sent_oldest_first_and_marked(payments):
    transport = Recorder(batch=3)
    relay = Relay("payments", payments.database, transport)
    await payments.announce(*(refund_of() for _ in range(7)))
    assert [await relay.send_batch() for _ in range(4)] == [3, 3, 1, 0]
    ids = [str(row[0]) for row in await payments.all("select id from outbox order by position")]
    assert transport.sent == ids
    assert await payments.one("select count(*) from outbox where sent_at is not null and attempts = 1") == 7


async def test_two_relays_at_once_share_the_work_and_send_each_event_once(payments):
    transport = Recorder(hold=0.05, batch=10)
    relays = [Relay("payments", payments.database, transport) for _ in range(2)]
    await payments.announce(*(refund_of() for _ in range(40)))

    async def drain(relay):
        while await relay.send_batch():
            pass

    await asyncio.gather(*map(drain, relays))
    while await unsent(payments):
        await drain(relays[0])
    assert sorted(transport.sent) == sorted(set(transport.sent))
    assert len(transport.sent) == 40


async def test_a_commit_wakes_the_relay_long_before_its_poll(payments, parts):
    transport = Recorder()
    relay = Relay("payments", payments.database, transport, poll_seconds=60)
    parts(relay.run())
    parts(payments.wakeup.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1))  # the listeners are at work
    waits = []
    for n in range(2, 12):
        await asyncio.sleep(0.1)  # until the relay has looked once more and rests
        began = time.perf_counter()
        await payments.announce(refund_of())
        while len(transport.sent) < n:
            assert time.perf_counter() - began < 30
            await asyncio.sleep(0.001)
        waits.append(time.perf_counter() - began)
    assert sorted(waits)[len(waits) // 2] < 0.5, waits


class Crowded(Relay):
    """Has no room: it has to look for everything."""

    looks = 0

    def has_room(self, count):
        return False

    async def send_batch(self):
        self.looks += 1
        return await super().send_batch()


async def test_a_commit_of_the_same_process_wakes_the_relay_without_a_notice(payments, parts):
    transport = Recorder()
    parts(Crowded("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=60).run())
    await asyncio.sleep(0.1)  # until it rests; nobody notifies, for the wake-up does not run
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)


async def test_a_notice_of_another_process_wakes_a_relay_too_and_ones_own_does_not(payments, parts):
    transport, other = Recorder(), Wakeup()
    beside = Database(payments.url, "payments", wakeup=other)
    relay = Crowded("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=60)
    parts(relay.run())
    parts(payments.wakeup.run())
    parts(other.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)
    await asyncio.sleep(0.5)  # the notice of this commit comes, and is passed over
    before = relay.looks
    await payments.announce(refund_of())
    await asyncio.sleep(0.5)
    assert relay.looks == before + 1
    payments.database.messages.configure(info={**payments.database.messages.kw["info"], "wakeup": other})
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 3), 5)
    await beside.dispose()


@pytest.fixture
async def handed(payments, parts):
    """A transport whose relay is handed what payments commits, and finds nothing by itself."""
    transport = Recorder()
    await start(parts, Relay("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=60))
    return transport


async def start(parts, relay):
    task = parts(relay.run())

    async def looked():  # for what there was before
        return relay._connection is not None

    await eventually(looked)
    return task


def bodies(transport):
    return {read(body).event.refund_id for body in transport.bodies}


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
    relay = Relay("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=0.1)
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
    payments.wakeup.relay = Ended()
    await payments.announce(refund_of())
    payments.wakeup.relay = None
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

        async def send(self, envelopes):
            if self.well:
                return await super().send(envelopes)
            if away:
                raise TransportDown("no broker")
            return ["no queue" for _ in envelopes]

    transport = Moody()
    relay = Relay("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=60)
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
    relay = Relay("payments", payments.database, transport, wakeup=payments.wakeup, poll_seconds=60)
    await start(parts, relay)
    await payments.announce(*(refund_of() for _ in range(7)))
    await eventually(lambda: is_sent(transport, 7), 5)
    assert transport.batches == [3, 3, 1]
    assert relay.has_room(3)
    assert not relay.has_room(4)


async def test_what_was_sent_is_marked_when_the_relay_ends(payments, monkeypatch):
    monkeypatch.setattr("shared.messaging.relay.SETTLE_SECONDS", 60)
    transport = Recorder()
    task = await start(asyncio.ensure_future, Relay("payments", payments.database, transport, wakeup=payments.wakeup))
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)
    task.cancel()
    await asyncio.wait({task})
    assert await unsent(payments) == 0
    assert payments.wakeup.relay is None


async def test_what_was_sent_is_marked_when_the_database_is_back(payments, parts, monkeypatch):
    transport = Recorder()
    relay = Relay("payments", payments.database, transport, wakeup=payments.wakeup)
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


@pytest.mark.parametrize("undone", [False, True], ids=["kept", "undone"])
async def test_a_savepoint_does_not_swallow_the_wake_up(payments, parts, undone):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=60).run())
    parts(payments.wakeup.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1))
    async with payments.database.transaction() as session:
        publish(session, refund_of())
        savepoint = await session.begin_nested()
        await session.flush()
        await (savepoint.rollback() if undone else savepoint.commit())
        await asyncio.sleep(0.1)  # a wake-up too early finds nothing yet
    await eventually(lambda: is_sent(transport, 2), 5)


async def test_what_a_savepoint_announced_goes_with_it(payments):
    """Whatever is nested in what, and also where nothing else is done in the transaction."""
    kept = [refund_of() for _ in range(3)]
    async with payments.database.transaction() as session:
        publish(session, kept[0])
        undone = await session.begin_nested()
        publish(session, refund_of())
        async with session.begin_nested():
            publish(session, refund_of())
        await undone.rollback()
        async with session.begin_nested():
            publish(session, kept[1])
        publish(session, kept[2])
    with pytest.raises(ZeroDivisionError):
        async with payments.database.transaction() as session:
            publish(session, refund_of())
            await session.run_sync(write_announced)
            publish(session, refund_of())
            raise ZeroDivisionError
    rows = await payments.all("select body from outbox")
    assert {read(row[0].encode()).event.refund_id for row in rows} == {one.refund_id for one in kept}


async def test_a_session_used_again_after_a_rollback_forgets_what_it_announced_before(payments):
    again = refund_of()
    async with payments.database.messages() as session:
        publish(session, refund_of())
        await session.rollback()
        publish(session, refund_of())
        await session.close()
        publish(session, again)
        await session.commit()
    body = await payments.one("select string_agg(body, '') from outbox")  # one there is
    assert read(body.encode()).event.refund_id == again.refund_id


async def test_polling_is_the_net_when_no_wake_up_comes(payments, parts):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=0.2).run())
    await payments.announce(refund_of())  # nobody passes the wake-up on
    await eventually(lambda: is_sent(transport, 1), 5)


async def test_the_listener_comes_back_when_its_connection_is_cut(payments, parts, postgres):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=60).run())
    parts(payments.wakeup.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1))
    connection = await postgres.connect()
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'delivery_payments' "
        "and pid <> pg_backend_pid()"
    )
    await connection.close()
    await payments.database.messaging.dispose()

    async def sent_again():
        await payments.announce(refund_of())
        await asyncio.sleep(0.5)
        return len(transport.sent) > 1

    await eventually(sent_again)


async def test_a_held_lock_makes_the_relay_wait_not_die(payments, parts):
    """The role's lock_timeout is a second; a migration may hold a table for longer."""
    transport = Recorder()
    await payments.announce(refund_of())
    async with payments.database.web.begin() as migration:
        await migration.execute(text("lock table outbox in access exclusive mode"))
        parts(Relay("payments", payments.database, transport, poll_seconds=0.1).run())
        await asyncio.sleep(1.5)
        assert transport.sent == []
    await eventually(lambda: is_sent(transport, 1))


class Down:
    at_once, batch = 1, 500

    def subscribe(self, receiver):
        pass

    async def send(self, envelopes):
        raise TransportDown("no broker")


async def test_how_much_waits_is_measured_while_the_transport_is_down(payments, parts):
    await payments.announce(refund_of(), refund_of())
    async with payments.database.driver() as driver:
        await driver.execute("update outbox set created_at = now() - interval '1 minute'")
    telemetry.outbox_unsent.labels("payments").set(0)
    parts(Relay("payments", payments.database, Down(), poll_seconds=60).run())

    async def measured():
        return telemetry.outbox_unsent.labels("payments")._value.get() == 2

    await eventually(measured)
    assert telemetry.outbox_oldest_seconds.labels("payments")._value.get() >= 60


class Broken:
    """A transport with a programmer's mistake in it."""

    at_once, batch = 1, 500

    def subscribe(self, receiver):
        pass

    async def send(self, envelopes):
        raise ZeroDivisionError


@pytest.mark.parametrize("handed", [False, True], ids=["found", "handed"])
async def test_a_relay_that_dies_takes_the_process_with_it(payments, tmp_path, handed):
    process = Process(
        service_of(
            "payments", payments.url, port=ports.suggest(1), mail_folder=str(tmp_path), amqp_url="amqp://nobody/"
        ),
        bus=Broken(),
    )
    payments.database.messages.configure(info={**payments.database.messages.kw["info"], "wakeup": process.wakeup})

    async def announce_when_it_runs():
        await eventually(is_there)
        await payments.announce(refund_of())

    async def is_there():
        return not handed or process.wakeup.lease(1) > 0

    telling = asyncio.create_task(announce_when_it_runs())
    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.timeout(20):
            await process.run(asyncio.Event())
    await telling
    assert ended.group_contains(ZeroDivisionError)


async def test_a_stuck_relay_makes_the_process_unhealthy_and_a_database_away_does_not(payments, tmp_path):
    process = Process(
        service_of("payments", payments.url, port=ports.suggest(1), mail_folder=str(tmp_path)),
        bus=Down(),
    )
    async with running(process), httpx.AsyncClient() as client:
        live = f"http://127.0.0.1:{process.service.settings.port}/health/live"
        assert (await client.get(live)).status_code == 200
        process.relay._relay = None
        process.relay.last_beat -= 1000
        stuck = await client.get(live)
        assert (stuck.status_code, stuck.json()["status"]) == (503, "the relay is stuck")


async def is_sent(transport, count):
    return len(transport.sent) >= count
