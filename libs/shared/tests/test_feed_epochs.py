"""The feed of a database that was restored: from a dump, from a copy of its disk, to a moment; none skips an event."""

import asyncio
import os
import signal

import asyncpg
import pytest

from shared import telemetry
from shared.messaging import publish
from shared.messaging.epochs import START, HalfRestored, begin_epoch, keep_epoch
from shared.messaging.feed import FeedPage, read_page
from shared.messaging.outbox import write_announced
from shared.messaging.reconciliation import Reconciler
from shared.messaging.relay import Relay

from . import clusters
from .clusters import next_xid, spend_xids
from .delivery import refund_of
from .messaging_nodes import ServiceNode, eventually
from .relays import Recorder

REFUNDS = ["payments.refund.requested.v1"]

server, original = clusters.server, clusters.original


class Producer:
    """A feed of whichever database stands behind it; what it has given out."""

    def __init__(self, node):
        self.node, self.given = node, 0

    async def read(self, types, after) -> FeedPage:
        page = await read_page(self.node.database, types, after)
        self.given += len(page.bodies)
        return page


@pytest.fixture
async def other(tmp_path):
    async with clusters.cluster(tmp_path / "other") as running:
        yield running


async def effects_of(enrolment, events) -> list[int]:
    return [await enrolment.effects(event) for event in events]


async def test_a_dump_restored_in_a_fresh_cluster_shows_everything(server, original, other, enrolment, tmp_path):
    """Its transaction ids are of the fresh cluster's future; what is committed there is of the consumers' past."""
    await spend_xids(server, await next_xid(other) + 500)
    events = [refund_of() for _ in range(40)]
    await original.announce(*events[:20])
    behind = Producer(original)
    consumer = Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})
    await consumer.catch_up("payments")
    for event in events[20:]:
        await original.announce(event)
    await clusters.dump(server, "payments", tmp_path / "dump")
    lost = refund_of()
    await original.announce(lost)
    await consumer.catch_up("payments")  # the original lived on after the dump, and so did its readers

    restored = await clusters.restore(other, "payments", tmp_path / "dump")
    behind.node, behind.given = restored, 0
    new = refund_of()
    await restored.announce(new)
    relay = Relay("payments", restored.database, Recorder())
    await relay._measure()
    assert telemetry.outbox_hidden.labels("payments")._value.get() == 40
    assert await keep_epoch(restored.database) == 40
    await relay._measure()
    assert telemetry.outbox_hidden.labels("payments")._value.get() == 0
    await consumer.catch_up("payments")
    assert behind.given == 41, "it began anew"
    assert await effects_of(enrolment, [*events, lost, new]) == [1] * 42
    assert await enrolment.dead_letters() == []
    whole = await read_page(restored.database, REFUNDS, START)
    assert len(whole.bodies) == 41
    assert await keep_epoch(restored.database) == 0
    await consumer.catch_up("payments")
    assert behind.given == 41, "and is read on from there"
    await restored.database.dispose()


async def test_the_transaction_ids_of_the_future_are_mended_by_a_service_that_runs(server, original, other, tmp_path):
    """In batches, while commands write; nothing is given out twice to a reader that follows."""
    await spend_xids(server, await next_xid(other) + 3000)
    async with original.database.transaction() as session:
        for _ in range(2500):
            publish(session, refund_of())
    await clusters.dump(server, "payments", tmp_path / "dump")
    restored = await clusters.restore(other, "payments", tmp_path / "dump")
    cursor, seen = START, []

    async def read() -> bool:
        nonlocal cursor
        page = await read_page(restored.database, REFUNDS, cursor)
        cursor = page.cursor
        seen.extend(page.bodies)
        return len(seen) >= 2502

    async with restored.database.transaction() as open_one:
        publish(open_one, refund_of())
        await open_one.run_sync(write_announced)
        await restored.announce(refund_of())
        assert not await read()
        assert await keep_epoch(restored.database) == 2500
    await eventually(read)
    assert len(seen) == len(set(seen)) == 2502
    transactions = await restored.one("select count(distinct cast(xid as text)) from outbox")
    assert transactions >= 2502 / 1000, "each batch is a transaction of its own"
    await restored.database.dispose()


@pytest.mark.parametrize("how", ["a copy of its disk", "to a moment"])
async def test_a_database_set_back_gives_its_ids_out_again_and_skips_nothing(
    server, original, enrolment, tmp_path, how
):
    behind = Producer(original)
    consumer = Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})
    early = [refund_of() for _ in range(30)]
    await original.announce(*early)
    await keep_epoch(original.database)
    just_before = refund_of()
    await original.announce(just_before)
    await consumer.catch_up("payments")
    clusters.snapshot(server, tmp_path / "copy")
    lost = [refund_of() for _ in range(5)]
    for event in lost:
        await original.announce(event)
    await consumer.catch_up("payments")  # its cursor stands after what will never have been
    ahead = await next_xid(server)

    settings = {}
    if how == "to a moment":
        (tmp_path / "copy" / "cluster" / "recovery.signal").touch()
        settings = {"restore_command": "false", "hot_standby": "off"}
    async with clusters.cluster(tmp_path / "copy", settings) as copy:
        back = ServiceNode("payments", copy.url("payments", "payments"))
        timeline = await back.one("select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)")
        assert (timeline == "00000002") == (how == "to a moment")
        assert await next_xid(copy) < ahead
        new = [refund_of() for _ in range(3)]
        for event in new:
            await back.announce(event)
        await spend_xids(copy, ahead + 10)  # the counter passes the cursor before the feed is asked
        behind.node, behind.given = back, 0
        await consumer.catch_up("payments")
        assert await effects_of(enrolment, [*early, just_before, *lost, *new]) == [1] * 39
        assert behind.given == 4, "what came after the mark, and no more"
        await consumer.catch_up("payments")
        assert behind.given == 4
        await back.database.dispose()


@pytest.mark.parametrize("counted", [False, True], ids=["at once", "later"])
async def test_a_dump_restored_in_a_copy_of_its_cluster_that_is_behind_skips_nothing(
    server, original, enrolment, tmp_path, counted
):
    """The same system identifier (a base backup, an old standby), and a counter that stands below the mark."""
    behind = Producer(original)
    consumer = Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})
    await keep_epoch(original.database)
    clusters.snapshot(server, tmp_path / "copy")
    early = [refund_of() for _ in range(60)]
    for event in early[:30]:
        await original.announce(event)
    await spend_xids(server, await next_xid(server) + 400)
    for event in early[30:]:
        await original.announce(event)
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await original.database.dispose()
    await clusters.dump(server, "payments", tmp_path / "dump")
    ahead = await next_xid(server)
    async with clusters.cluster(tmp_path / "copy") as copy:
        await clusters.drop(copy)
        back = await clusters.restore(copy, "payments", tmp_path / "dump")
        new = [refund_of() for _ in range(5)]
        for event in new:
            await back.announce(event)
        assert await next_xid(copy) < ahead
        await keep_epoch(back.database)
        behind.node = back
        await consumer.catch_up("payments")
        if counted:
            more = [refund_of() for _ in range(20)]
            for event in more:
                await back.announce(event)
            new += more
        await spend_xids(copy, ahead + 100)
        await consumer.catch_up("payments")
        assert await effects_of(enrolment, [*early, *new]) == [1] * (60 + len(new))
        assert len((await read_page(back.database, REFUNDS, START)).bodies) == 60 + len(new)
        await back.database.dispose()


async def test_a_database_moved_to_another_server_and_back_skips_nothing(server, original, other, enrolment, tmp_path):
    """The first server ran all the while, and the reader was away meanwhile."""
    await spend_xids(server, await next_xid(other) + 1000)
    behind = Producer(original)
    consumer = Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})
    early = [refund_of() for _ in range(10)]
    await original.announce(*early)
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await original.database.dispose()
    await clusters.dump(server, "payments", tmp_path / "there")
    moved = await clusters.restore(other, "payments", tmp_path / "there")
    await keep_epoch(moved.database)
    there = [refund_of() for _ in range(20)]
    for event in there:
        await moved.announce(event)
    await keep_epoch(moved.database)
    await moved.database.dispose()
    await clusters.dump(other, "payments", tmp_path / "back")
    await clusters.drop(server)
    back = await clusters.restore(server, "payments", tmp_path / "back")
    await asyncio.gather(*(keep_epoch(back.database) for _ in range(3)))
    assert await back.one("select count(*) from feed_epochs") == 3
    new = [refund_of() for _ in range(5)]
    for event in new:
        await back.announce(event)
    behind.node, behind.given = back, 0
    await consumer.catch_up("payments")
    assert await effects_of(enrolment, [*early, *there, *new]) == [1] * 35
    assert behind.given == 35, "it began anew"
    await keep_epoch(back.database)
    await consumer.catch_up("payments")
    assert behind.given == 35, "and is read on from there"
    await back.database.dispose()


async def test_a_backend_that_was_killed_loses_ids_that_no_cursor_stands_after(server, original, enrolment):
    """PostgreSQL starts its parts anew by itself, with the time of its start as before; commits that waited for no disk
    are gone, and their ids given out again."""
    behind = Producer(original)
    consumer = Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})
    await original.announce(*(refund_of() for _ in range(10)))
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    relay, victim = await server.connect("payments", "payments"), await server.connect()
    started, pid = await victim.fetchrow("select pg_postmaster_start_time(), pg_backend_pid()")
    await relay.execute("set synchronous_commit to off")
    for _ in range(40):
        await relay.execute("update outbox set sent_at = now()")
    await consumer.catch_up("payments")
    before = await next_xid(server)
    os.kill(pid, signal.SIGKILL)

    async def answers() -> bool:
        try:
            connection = await server.connect()
        except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
            return False
        assert await connection.fetchval("select pg_postmaster_start_time()") == started
        await connection.close()
        return True

    await asyncio.sleep(0.5)
    await eventually(answers)
    await original.database.dispose()
    assert await next_xid(server) < before, "ids are given out again"
    new = [refund_of() for _ in range(5)]
    for event in new:
        await original.announce(event)
    await spend_xids(server, before + 5)
    behind.given = 0
    await consumer.catch_up("payments")
    assert await effects_of(enrolment, new) == [1] * 5
    assert behind.given == 5, "and nothing besides"


async def test_a_server_that_started_again_sends_its_readers_back_a_minute_and_no_more(server, original):
    await original.announce(*(refund_of() for _ in range(30)))
    await keep_epoch(original.database)
    page = await read_page(original.database, REFUNDS, START)
    await original.announce(refund_of())
    last = await read_page(original.database, REFUNDS, page.cursor)
    await original.database.dispose()
    await server.stop()
    await server.start()
    again = await read_page(original.database, REFUNDS, last.cursor)
    assert again.bodies == last.bodies
    assert (await read_page(original.database, REFUNDS, again.cursor)).bodies == []
    assert (await read_page(original.database, REFUNDS, page.cursor)).bodies == last.bodies


@pytest.mark.parametrize("foreign", ["5.5", "0123456789ab.0.1", "{epoch}.99999999.0"], ids=["old", "unknown", "future"])
async def test_a_cursor_that_is_not_of_this_history_begins_anew(payments, foreign):
    """Of a release whose order skipped events; of another history; of the future."""
    await payments.announce(*(refund_of() for _ in range(3)))
    page = await read_page(payments.database, REFUNDS, START)
    assert (await read_page(payments.database, REFUNDS, page.cursor)).bodies == []
    epoch = page.cursor.partition(".")[0]
    again = await read_page(payments.database, REFUNDS, foreign.format(epoch=epoch))
    assert again.bodies == page.bodies
    assert (await read_page(payments.database, REFUNDS, again.cursor)).bodies == []


async def test_no_epoch_begins_in_a_database_that_is_being_restored(server, original):
    """A dump's rows come first, then what their numbers are drawn from, then their keys."""
    await keep_epoch(original.database)
    async with original.database.messaging.begin() as connection:
        await connection.exec_driver_sql("alter table feed_epochs drop constraint pk_feed_epochs")
        await connection.exec_driver_sql("update feed_epochs set tables = 'of the dump'")
        await connection.exec_driver_sql("alter table feed_epochs alter number restart")
    with pytest.raises(HalfRestored):
        await begin_epoch(original.database)
    assert await original.one("select count(*) from feed_epochs") == 1
