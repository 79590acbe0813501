"""A database that was restored from an older copy, or is another one: the others know, and nothing is ended by it."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from shared import jobs as jobs_module
from shared import restored
from shared.ids import new_id
from shared.jobs import Effect, Jobs, Work
from shared.messaging import history, missing, reconciliation
from shared.messaging.epochs import START, keep_epoch
from shared.messaging.feed import FeedPage, give_page
from shared.messaging.history import History, NotThisDatabase
from shared.messaging.missing import read_anew
from shared.messaging.reconciliation import ForeignFeed, Reconciler

from . import clusters
from .delivery import refund_of
from .messaging_nodes import eventually

server, original = clusters.server, clusters.original


class Feed:
    """Of whichever database stands behind it, as another service reads it."""

    def __init__(self, node, reader):
        self.node, self.reader = node, reader

    async def read(self, types, after) -> FeedPage:
        return await give_page(self.node.database, types, after, reader=self.reader)

    async def lacking(self, ids):
        return await history.lacking(self.node.database, ids)


class Away:
    async def read(self, types, after):
        raise httpx.ConnectError("away")


async def lost(node) -> bool:
    return (await history.state_of(node.database)).lost_at is not None


async def whole(node) -> bool:
    async with node.database.transaction() as session:
        return await history.is_whole(session)


def reading(enrolment, payments) -> tuple[Feed, Reconciler]:
    behind = Feed(payments, "enrolment")
    return behind, Reconciler(enrolment.receiver, enrolment.database, {"payments": behind})


async def test_a_first_start_a_restart_and_a_move_without_loss_raise_nothing(server, original, enrolment, tmp_path):
    behind, consumer = reading(enrolment, original)
    await consumer.catch_up("payments")
    await original.announce(refund_of(), refund_of())
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await original.announce(refund_of())
    await consumer.catch_up("payments")
    await original.database.dispose()
    await server.stop()
    await server.start()
    await original.announce(refund_of())
    await consumer.catch_up("payments")
    await original.database.dispose()
    await clusters.dump(server, "payments", tmp_path / "dump")
    async with clusters.cluster(tmp_path / "other") as other:
        moved = await clusters.restore(other, "payments", tmp_path / "dump")
        behind.node = moved
        await moved.announce(refund_of())
        await keep_epoch(moved.database)
        await consumer.catch_up("payments")
        await consumer.catch_up("payments")
        assert await enrolment.effects() == 5
        assert not await lost(moved)
        await moved.database.dispose()


@pytest.mark.parametrize("announced", [True, False], ids=["events lost", "only time passed"])
async def test_a_dump_put_back_under_a_process_that_runs_stops_its_endings_until_a_person_accepts(
    server, original, enrolment, tmp_path, monkeypatch, announced
):
    """In the same server, whose counters go on: nothing but the tables tells it from a database that was never away."""
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    monkeypatch.setattr(jobs_module, "UNSETTLED_SECONDS", 0.05)
    _, consumer = reading(enrolment, original)
    own = Reconciler(original.receiver, original.database, {"enrolment": Feed(enrolment, "payments")})
    await original.announce(refund_of())
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await clusters.dump(server, "payments", tmp_path / "dump")
    body = {"installation": None, "by": "ann", "reason": "no younger copy"}
    with pytest.raises(restored.NothingLost):
        await restored.accept(original.database, {"enrolment": Feed(enrolment, "payments")}, **body)
    if announced:
        await original.announce(refund_of())
    await keep_epoch(original.database)
    await consumer.catch_up("payments")

    jobs, rounds = Jobs(), 0

    @jobs.every(0.05, effect=Effect.ENDS)
    async def end(work):
        nonlocal rounds
        rounds += 1

    tasks = [
        asyncio.create_task(part)
        for part in (own.run(every_seconds=0.05), jobs.run(Work(original.database, {}, own.history)))
    ]

    async def ends() -> bool:
        return rounds > 0

    await eventually(ends)
    await clusters.drop(server)
    back = await clusters.restore(server, "payments", tmp_path / "dump")
    rounds = 0
    await back.announce(refund_of())  # somebody goes on working before anybody has asked

    async def noticed() -> bool:
        return await lost(back)

    await eventually(noticed)
    await asyncio.sleep(0.5)
    assert rounds == 0
    lines, is_lost = await restored.show(back.database, {"enrolment": Feed(enrolment, "payments")})
    assert is_lost
    assert any("NOT of this database's history" in line for line in lines)
    feeds = {"enrolment": Feed(enrolment, "payments")}
    await restored.accept(back.database, feeds, **body)
    await eventually(ends)
    await consumer.catch_up("payments")  # with a cursor of what was lost, as was accepted
    assert not await lost(back)
    assert not (await restored.show(back.database, feeds))[1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await back.database.dispose()


async def test_a_database_is_whole_once_all_were_asked_in_its_present_epoch(
    server, original, enrolment, tmp_path, monkeypatch
):
    """Which is looked at every few seconds, however long the next round of reading is away."""
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    _, consumer = reading(enrolment, original)
    asked = {"enrolment": Feed(enrolment, "payments"), "credentials": Away()}
    task = asyncio.create_task(Reconciler(original.receiver, original.database, asked).run(every_seconds=60))
    await original.announce(refund_of())
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await asyncio.sleep(0.5)
    assert not await whole(original), "one of them could not be asked"
    asked["credentials"] = Feed(enrolment, "payments")
    await eventually(lambda: whole(original))
    await clusters.dump(server, "payments", tmp_path / "dump")
    await original.announce(refund_of())
    await consumer.catch_up("payments")
    await clusters.drop(server)
    back = await clusters.restore(server, "payments", tmp_path / "dump")
    assert not await whole(back)
    await eventually(lambda: lost(back))
    assert not await whole(back)
    await restored.accept(back.database, asked, installation=None, by="ann", reason="no younger copy")
    await eventually(lambda: whole(back))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await back.database.dispose()


async def test_an_empty_database_is_noticed_and_read_by_nobody_until_it_is_named(server, original, enrolment, tmp_path):
    behind, consumer = reading(enrolment, original)
    await original.announce(refund_of())
    await consumer.catch_up("payments")
    known = (await history.state_of(original.database)).installation
    async with clusters.cluster(tmp_path / "other") as other:
        empty = await clusters.producer(other)
        behind.node = empty
        await empty.announce(refund_of(), refund_of())
        with pytest.raises(ForeignFeed, match=str(known)):
            await consumer.catch_up("payments")
        assert await enrolment.effects() == 1
        assert await lost(empty)
        feeds = {"enrolment": Feed(enrolment, "payments")}
        with pytest.raises(NotThisDatabase, match=str(known)):
            await restored.accept(empty.database, feeds, installation=None, by="ann", reason="all is gone")
        await restored.accept(empty.database, feeds, installation=known, by="ann", reason="all is gone")
        await consumer.catch_up("payments")
        assert await enrolment.effects() == 3
        assert not await lost(empty)
        await empty.database.dispose()


async def test_what_is_accepted_before_anybody_noticed_is_accepted(server, original, enrolment, tmp_path):
    """The epoch of before it was put back is of those that lack something, though none has begun since."""
    _, consumer = reading(enrolment, original)
    await original.announce(refund_of())
    await keep_epoch(original.database)
    await clusters.dump(server, "payments", tmp_path / "dump")
    await original.announce(refund_of())
    await consumer.catch_up("payments")
    await clusters.drop(server)
    back = await clusters.restore(server, "payments", tmp_path / "dump")
    feeds = {"enrolment": Feed(enrolment, "payments")}
    lines = await restored.accept(back.database, feeds, installation=None, by="ann", reason="no younger copy")
    assert lines == "accepted"
    await consumer.catch_up("payments")
    assert not await lost(back)
    await back.database.dispose()


async def test_who_has_read_an_empty_database_by_its_own_name_reads_it_by_the_one_it_takes(
    server, original, enrolment, nodes, tmp_path
):
    credentials = nodes["credentials"]
    behind, consumer = reading(enrolment, original)
    await consumer.catch_up("payments")
    known = (await history.state_of(original.database)).installation
    async with clusters.cluster(tmp_path / "other") as other:
        empty = await clusters.producer(other)
        hasty = Reconciler(credentials.receiver, credentials.database, {"payments": Feed(empty, "credentials")})
        await hasty.catch_up("payments")
        await empty.announce(refund_of())
        feeds = {"enrolment": Feed(enrolment, "payments"), "credentials": Feed(credentials, "payments")}
        lines = await restored.accept(empty.database, feeds, installation=known, by="ann", reason="all is gone")
        assert lines.endswith(f"`feed reset --installation {known}` in credentials")
        behind.node = empty
        await consumer.catch_up("payments")
        with pytest.raises(ForeignFeed, match="feed reset payments --installation"):
            await hasty.catch_up("payments")
        async with credentials.database.transaction() as session:
            await read_anew(session, ["payments"], known)
        assert await hasty.catch_up("payments") is not None
        assert await enrolment.effects() == 1
        await empty.database.dispose()


async def test_of_two_names_by_which_a_database_is_known_either_may_be_kept(payments, enrolment):
    readers = [history.Reader(name, START, new_id()) for name in ("enrolment", "credentials")]
    decided = {"by": "ann", "reason": "known by two names"}
    async with payments.database.transaction() as session:
        with pytest.raises(NotThisDatabase, match=f"credentials has read {readers[1].installation}"):
            await history.accept(session, readers, installation=None, **decided)
        with pytest.raises(NotThisDatabase):
            await history.accept(session, readers, installation=new_id(), **decided)
        await history.accept(session, readers, installation=readers[0].installation, **decided)
    assert (await history.state_of(payments.database)).installation == readers[0].installation


async def test_a_foreign_feed_is_logged_and_nothing_ends_by_it(
    server, original, enrolment, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    behind, consumer = reading(enrolment, original)
    await consumer.catch_up("payments")
    async with clusters.cluster(tmp_path / "other") as other:
        behind.node = foreign = await clusters.producer(other)
        task = asyncio.create_task(consumer.run())

        async def lines() -> bool:
            return "the feed is not read" in caplog.text

        await eventually(lines)
        await asyncio.sleep(0.2)
        assert not consumer.caught_up.is_set()
        behind.node = original
        await asyncio.wait_for(consumer.caught_up.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await foreign.database.dispose()


@pytest.mark.parametrize("cursor", ["0123456789ab.7.3", "{epoch}.99999999.3"], ids=["unknown", "future"])
async def test_a_cursor_this_database_never_gave_is_noticed_once(payments, cursor, caplog):
    page = await give_page(payments.database, ["t"], START, reader="enrolment")
    asked = cursor.format(epoch=page.cursor.partition(".")[0])
    for _ in range(2):
        await give_page(payments.database, ["t"], asked, reader="enrolment")
    assert await lost(payments)
    assert caplog.text.count("this database has lost history") == 1
    settled = History(payments.database)
    await settled.look()
    settled.caught_up.set()
    assert not await settled.settled()


async def test_a_cursor_of_the_release_before_raises_nothing(payments):
    await give_page(payments.database, ["t"], "5.5", reader="enrolment")
    assert not await lost(payments)


async def test_what_a_foreign_database_announces_is_not_adopted_by_the_broker_either(joined, caplog):
    """Handed over by its process, or found by its relay: both say whose it is."""
    enrolment, payments = joined.enrolment, joined.payments
    _, consumer = reading(enrolment, payments)
    await consumer.catch_up("payments")
    ours = (await history.state_of(payments.database)).installation
    async with enrolment.database.messaging.begin() as connection:
        await connection.execute(text("update feed_positions set installation = gen_random_uuid()"))
    await joined.consume(enrolment)
    payments.notifier.relay = None
    await payments.announce(refund_of())
    joined.relay()
    await joined.all_sent()
    handed = refund_of()
    await payments.announce(handed)
    await joined.all_sent()

    async def lines() -> bool:
        return caplog.text.count("events of another installation are passed over") == 2

    await eventually(lines)
    assert (await enrolment.effects(), await enrolment.dead_letters()) == (0, [])
    with pytest.raises(ForeignFeed):
        await consumer.catch_up("payments")
    async with enrolment.database.transaction() as session:
        await read_anew(session, ["payments"], ours)
    await consumer.catch_up("payments")
    assert await enrolment.effects() == 2, "they were only put off until somebody said whose log it is"
    await payments.announce(refund_of())

    async def taken() -> bool:
        return await enrolment.effects() == 3

    await eventually(taken)


async def took_in(original, enrolment, *events) -> None:
    """What the broker brought of them, and no feed was read."""
    await original.announce(*events)
    bodies = await original.all("select body from outbox order by position")
    await enrolment.receiver.take([body.encode() for (body,) in bodies])


async def test_what_only_the_broker_brought_to_others_is_known_to_be_lost_and_is_listed(
    server, original, enrolment, tmp_path, monkeypatch
):
    """A failover loses seconds, and a feed is read each minute."""
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    _, consumer = reading(enrolment, original)
    asked = {"enrolment": Feed(enrolment, "payments")}
    task = asyncio.create_task(Reconciler(original.receiver, original.database, asked).run(every_seconds=60))
    await took_in(original, enrolment, refund_of())
    await keep_epoch(original.database)
    await consumer.catch_up("payments")
    await eventually(lambda: whole(original))
    await clusters.dump(server, "payments", tmp_path / "dump")
    gone = refund_of(), refund_of()
    await took_in(original, enrolment, *gone)
    assert (await restored.show(original.database, asked))[1] is False
    await clusters.drop(server)
    back = await clusters.restore(server, "payments", tmp_path / "dump")
    assert not await whole(back), "nothing that is counted is given out before it is known"
    await eventually(lambda: lost(back))
    await asyncio.sleep(0.2)
    assert not await whole(back)
    lines, is_lost = await restored.show(back.database, asked)
    assert is_lost
    assert any("enrolment took in 3 events last, 2 NOT here" in line for line in lines)
    assert any("`feed lost <this service>`" in line for line in lines)
    listed = [one async for one in missing.lost(enrolment.database, {"payments": Feed(back, "enrolment")})]
    assert [(one.type, one.subject) for one in listed] == [(one.type, one.aggregate_id) for one in reversed(gone)]
    await restored.accept(back.database, asked, installation=None, by="ann", reason="no younger copy")
    await eventually(lambda: whole(back))
    assert not (await restored.show(back.database, asked))[1], "what was accepted is not noticed again"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await back.database.dispose()


async def test_what_is_lost_again_after_a_loss_was_accepted_is_noticed(payments, enrolment):
    asked = {"enrolment": Feed(enrolment, "payments")}
    decided = {"installation": None, "by": "ann", "reason": "no younger copy"}
    for _ in range(2):
        await took_in(payments, enrolment, refund_of())
        async with payments.database.messaging.begin() as connection:
            await connection.execute(text("delete from outbox"))
        assert (await restored.show(payments.database, asked))[1]
        await restored.accept(payments.database, asked, **decided)
        assert not (await restored.show(payments.database, asked))[1]


async def test_what_is_put_off_counts_as_taken_in(payments, enrolment):
    event = refund_of()
    await payments.announce(event)
    body = (await payments.one("select body from outbox")).encode()
    await enrolment.receiver.suspect_poison([body], "in a test")
    async with payments.database.messaging.begin() as connection:
        await connection.execute(text("delete from outbox"))
    listed = [one async for one in missing.lost(enrolment.database, {"payments": Feed(payments, "enrolment")})]
    assert [(one.type, one.subject) for one in listed] == [(event.type, event.aggregate_id)]
    assert (await restored.show(payments.database, {"enrolment": Feed(enrolment, "payments")}))[1]


async def test_an_event_of_a_part_that_may_be_detached_and_an_id_that_is_no_time_are_not_called_lost(payments):
    now = int(datetime.now(UTC).timestamp() * 1000)
    low = new_id().int & ((1 << 80) - 1)
    old, odd, gone = (UUID(int=at << 80 | low) for at in (now - 91 * 86_400_000, now + 2 * 86_400_000, now - 1000))
    assert await history.lacking(payments.database, [old, odd, gone]) == [gone]
    assert await history.lacking(payments.database, []) == []


async def test_no_more_than_the_last_events_are_compared_each_by_an_index(payments, enrolment):
    async with enrolment.database.messaging.begin() as connection:
        await connection.execute(
            text(
                "insert into inbox (source, id, type, body_sha256) "
                "select '/services/payments', cast(lpad(to_hex(n), 32, '0') as uuid), 't', '' "
                "from generate_series(1, 1200) n"
            )
        )
    reader = await history.reader_of(enrolment.database, "payments")
    assert reader is not None
    assert [one.int for one in reader.taken] == list(range(1200, 700, -1))
    assert (await history.reader_of(enrolment.database, "catalogue")) is None


async def test_a_reader_of_the_previous_release_says_nothing_of_what_it_took_in():
    page = FeedPage.model_validate_json(
        '{"bodies": [], "cursor": "0.0", "reader": {"service": "enrolment", "cursor": "0.0", "installation": null}}'
    )
    assert page.reader == history.Reader("enrolment", START, None, ())
