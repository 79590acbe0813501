"""The relay: what it claims, how it waits, what wakes it, and that no error ends it."""

import argparse
import asyncio
import time

import pytest
from sqlalchemy import text

from embedded import ports
from shared import cli, telemetry
from shared.database import Database
from shared.due_times import EVERYWHERE, bring_forward
from shared.messaging import outbox, publish
from shared.messaging.inprocess import InProcessBus
from shared.messaging.outbox import EventTooLarge, OutboxNotifier, write_announced
from shared.messaging.relay import Relay, TransportDown
from shared.process import Process

from .delivery import refund_in, refund_of
from .messaging_nodes import eventually
from .processes import running, service_of
from .relays import Crowded, Recorder, is_sent, unsent


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
    parts(payments.notifier.run())
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


async def test_a_commit_of_the_same_process_wakes_the_relay_without_a_notification(payments, parts):
    transport = Recorder()
    parts(Crowded("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=60).run())
    await asyncio.sleep(0.1)  # until it rests; nobody notifies, for the notifier does not run
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)


async def test_a_notice_of_another_process_wakes_a_relay_too_and_ones_own_does_not(payments, parts):
    transport, other = Recorder(), OutboxNotifier()
    beside = Database(payments.url, "payments", notifier=other)
    relay = Crowded("payments", payments.database, transport, notifier=payments.notifier, poll_seconds=60)
    parts(relay.run())
    parts(payments.notifier.run())
    parts(other.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1), 5)
    await asyncio.sleep(0.5)  # the notification of this commit comes, and is passed over
    before = relay.looks
    await payments.announce(refund_of())
    await asyncio.sleep(0.5)
    assert relay.looks == before + 1
    payments.database.messages.configure(info={**payments.database.messages.kw["info"], "notifier": other})
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 3), 5)
    await beside.dispose()


@pytest.mark.parametrize("undone", [False, True], ids=["kept", "undone"])
async def test_a_savepoint_does_not_swallow_the_wake_up(payments, parts, undone):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=60).run())
    parts(payments.notifier.run())
    await payments.announce(refund_of())
    await eventually(lambda: is_sent(transport, 1))
    async with payments.database.transaction() as session:
        publish(session, refund_of())
        savepoint = await session.begin_nested()
        await session.flush()
        await (savepoint.rollback() if undone else savepoint.commit())
        await asyncio.sleep(0.1)  # a notification too early finds nothing yet
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
    assert {refund_in(row[0]).refund_id for row in rows} == {one.refund_id for one in kept}


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
    assert refund_in(body).refund_id == again.refund_id


async def test_polling_is_the_net_when_no_wake_up_comes(payments, parts):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=0.2).run())
    await payments.announce(refund_of())  # nobody passes the notification on
    await eventually(lambda: is_sent(transport, 1), 5)


async def test_the_listener_comes_back_when_its_connection_is_cut(payments, parts, postgres):
    transport = Recorder()
    parts(Relay("payments", payments.database, transport, poll_seconds=60).run())
    parts(payments.notifier.run())
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


class Broken(InProcessBus):
    """A transport with a programmer's mistake in it, until that is mended."""

    def __init__(self):
        super().__init__()
        self.failures = 0
        self.mended = False

    async def send(self, envelopes):
        if self.mended:
            return await super().send(envelopes)
        self.failures += 1
        raise ZeroDivisionError


@pytest.mark.parametrize("handed", [False, True], ids=["found", "handed"])
async def test_a_mistake_in_the_transport_ends_neither_the_relay_nor_the_process(payments, nodes, tmp_path, handed):
    process = Process(
        service_of("payments", payments.url, port=ports.suggest(1), mail_folder=str(tmp_path)), bus=(bus := Broken())
    )
    for name in ("enrolment", "credentials"):
        bus.subscribe(nodes[name].receiver)
    payments.database.messages.configure(info={**payments.database.messages.kw["info"], "notifier": process.notifier})
    event = refund_of()

    async def is_there():
        return not handed or process.notifier.lease(1) > 0

    async def failed():
        return bus.failures >= 2

    async def arrived():
        return await nodes["enrolment"].effects(event) == 1

    async with running(process):
        await eventually(is_there)
        await payments.announce(event)
        await eventually(failed, 20)
        assert bus.failures < 20  # it rests between its tries
        bus.mended = True
        await eventually(arrived, 20)


async def test_an_event_larger_than_any_broker_takes_is_not_published(payments, monkeypatch):
    """In characters of any width; what is told beside it is lost with the transaction, as with any mistake of ours."""
    largest = len(refund_of(reason_code="").model_dump_json()) + 2000
    monkeypatch.setattr(outbox, "LARGEST_EVENT", largest)
    await payments.announce(refund_of(reason_code="x" * 1000))
    for letter, count in (("x", 2100), ("\N{HANGUL SYLLABLE GA}", 700)):
        with pytest.raises(EventTooLarge, match=refund_of().type):
            await payments.announce(refund_of(), refund_of(reason_code=letter * count))
    assert await unsent(payments) == 1


@pytest.mark.parametrize("with_others", [True, False], ids=["among others", "alone"])
async def test_an_event_whose_type_is_too_long_for_amqp_is_put_off_and_holds_up_no_other(joined, with_others):
    """It fits no frame: that is its own failure, and does not say that the broker is away."""
    await joined.consume()
    async with joined.payments.database.driver() as driver:
        for length in (256, 300, 100_000):
            await driver.execute(
                "insert into outbox (id, type, partition_key, body) values (gen_random_uuid(), $1, 'x', '{}')",
                "é" * length,
            )
    events = [refund_of() for _ in range(3)] if with_others else []
    if events:
        await joined.payments.announce(*events)
    relay = Relay("payments", joined.payments.database, joined.transport(), poll_seconds=60)
    assert await relay.send_batch() == len(events)
    unsent = "select attempts, last_error is not null, next_attempt_at > created_at from outbox where sent_at is null"
    assert await joined.payments.all(unsent) == [(1, True, True)] * 3
    events.append(refund_of())
    await joined.payments.announce(events[-1])
    assert await relay.send_batch() == 1

    async def arrived():
        return [await joined.enrolment.effects(event) for event in events] == [1] * len(events)

    await eventually(arrived)


class Refuses(Recorder):
    """A transport that keeps no event of one id."""

    refused = ""

    async def send(self, envelopes):
        await super().send(envelopes)
        return ["TooLargeForBroker()" if envelope.id == self.refused else None for envelope in envelopes]


async def test_the_pauses_of_a_refused_event_grow_to_hours_and_a_person_sees_and_ends_them(payments, capsys):
    service = service_of("payments", payments.url)
    transport = Refuses()
    relay = Relay("payments", payments.database, transport)
    await payments.announce(refund_of(reason_code="large"))
    transport.refused = str(await payments.one("select id from outbox"))
    async with payments.database.driver() as driver:
        await driver.execute("update outbox set attempts = 7")
    pauses = []
    for tried in range(1, 10):
        assert await relay.send_batch() == 0
        pauses += await payments.all("select round(extract(epoch from next_attempt_at - now()) / 60)::int from outbox")
        assert await relay.send_batch() == 0
        assert transport.sent == [transport.refused] * tried, "it waits"
        assert await bring_forward(payments.database, EVERYWHERE) == 0, "no clock stood ahead"
        await cli._outbox(service, argparse.Namespace(action="retry"))
    minutes = (2, 4, 9, 17, 34, 68, 137, 240, 240)
    assert [pause for (pause,) in pauses] == [pytest.approx(expected, abs=1) for expected in minutes]
    await payments.announce(refund_of())  # sent at once, whatever was refused
    assert await relay.send_batch() == 1
    capsys.readouterr()
    await cli._outbox(service, argparse.Namespace(action="refused"))
    [line, count] = capsys.readouterr().out.splitlines()
    assert count == "1 refused"
    for said in (transport.refused, refund_of().type, "17 times", "TooLargeForBroker()"):
        assert said in line
