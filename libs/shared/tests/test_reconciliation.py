"""The feeds of others: what the broker lost is brought, once; what was passed over is read anew."""

import asyncio

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared import telemetry
from shared.events.catalogue import CoursePublished
from shared.events.payments import PaymentConfirmed, PaymentReversed, RefundRequested
from shared.ids import new_id
from shared.leases import lease
from shared.messaging import Inbox, feed, reconciliation
from shared.messaging.epochs import START
from shared.messaging.feed import FeedAway, FeedPage, read_page
from shared.messaging.missing import missing
from shared.messaging.receiver import Receiver
from shared.messaging.reconciliation import FeedUnfinished, Reconciler

from . import delivery
from .delivery import HASTY, body_of, confirmed, refund_of, reversed_
from .feeds import Local, reconciler
from .messaging_nodes import ServiceNode, eventually

REFUNDS = [RefundRequested.type]


async def test_reconciliation_brings_what_is_missing_and_remembers_where_it_was(payments, enrolment):
    events = [refund_of() for _ in range(7)]
    await payments.announce(*events)
    await enrolment.receiver.take([(await body(payments, 1)).encode()])  # one came by the broker
    reconciling = reconciler(enrolment, payments)
    assert await reconciling.catch_up("payments") == 7
    assert [await enrolment.effects(event) for event in events] == [1] * 7
    assert await reconciling.catch_up("payments") == 0
    again = reconciler(enrolment, payments)
    await payments.announce(refund_of())
    assert await again.catch_up("payments") == 1


@pytest.mark.parametrize("cursor", ["", "garbage", "1.-2", "9" * 40 + ".0"])
async def test_a_kept_cursor_that_is_none_stops_neither_its_feed_nor_the_other_services(payments, enrolment, cursor):
    events = [refund_of() for _ in range(4)]
    await payments.announce(*events)
    reconciling = reconciler(enrolment, payments)
    await reconciling.catch_up("payments")
    kept = await enrolment.one("select cursor from feed_positions")
    async with enrolment.database.transaction() as session:
        await session.execute(text("update feed_positions set cursor = :cursor"), {"cursor": cursor})
    counted = telemetry.cursors_unreadable.labels("payments")._value.get()
    page = await feed.give_page(enrolment.database, ["nothing"], START, reader="payments")
    assert page.reader.cursor == START, "what payments is given, it can read"
    events.append(refund_of())
    await payments.announce(events[-1])
    await reconciling.catch_up("payments")
    assert [await enrolment.effects(event) for event in events] == [1] * 5
    assert telemetry.cursors_unreadable.labels("payments")._value.get() == counted + 2
    mended = await enrolment.one("select cursor from feed_positions")
    assert mended.partition(".")[0] == kept.partition(".")[0]
    assert await reconciling.catch_up("payments") == 0


async def test_what_a_new_release_consumes_besides_is_read_from_the_beginning(payments, enrolment):
    order_id = new_id()
    await payments.announce(refund_of(), reversed_(order_id), refund_of())
    before = Inbox("enrolment")
    before.on(RefundRequested)(delivery.end_access)
    await reconciler(enrolment, payments, Receiver(before, enrolment.database, HASTY)).catch_up("payments")
    assert await enrolment.effects() == 2
    feed = Local(payments)
    reconciling = Reconciler(enrolment.receiver, enrolment.database, {"payments": feed})
    await reconciling.catch_up("payments")
    assert await enrolment.effects(reversed_(order_id)) == 1
    assert await enrolment.effects() == 3
    news = tuple(sorted({PaymentConfirmed.type, PaymentReversed.type}))
    assert feed.asked[0] == (news, START)
    feed.asked.clear()
    await reconciling.catch_up("payments")
    assert [types for types, _ in feed.asked] == [tuple(sorted({*news, *REFUNDS}))]


def release(enrolment, *kinds):
    """A receiver that consumes these alone."""
    inbox = Inbox("enrolment")
    for kind in kinds:
        inbox.on(kind)(delivery.end_access if kind is RefundRequested else delivery.derive_access)
    return Receiver(inbox, enrolment.database, HASTY)


async def test_what_a_release_passed_over_that_did_not_consume_it_is_read_by_the_next_that_does(payments, enrolment):
    """Rolled back and forward again: the older release moved the position past it."""
    both = release(enrolment, RefundRequested, PaymentReversed)
    await reconciler(enrolment, payments, both).catch_up("payments")
    await payments.announce(reversed_(new_id()), refund_of())
    await reconciler(enrolment, payments, release(enrolment, RefundRequested)).catch_up("payments")
    assert await enrolment.effects() == 1
    await reconciler(enrolment, payments, both).catch_up("payments")
    assert await enrolment.effects() == 2


async def test_a_new_type_is_read_from_the_beginning_without_passing_over_the_others(payments, enrolment):
    """The producer was away since before the first page, and meanwhile another release came."""

    class Away(Local):
        async def read(self, types, after):
            raise httpx.ConnectError("away")

    one = release(enrolment, RefundRequested)
    with pytest.raises(httpx.ConnectError):
        await Reconciler(one, enrolment.database, {"payments": Away(payments)}).catch_up("payments")
    await payments.announce(refund_of(), reversed_(new_id()), refund_of())
    await reconciler(enrolment, payments, release(enrolment, RefundRequested, PaymentReversed)).catch_up("payments")
    assert await enrolment.effects() == 3


async def test_two_replicas_begin_at_once(payments, enrolment):
    await payments.announce(refund_of())
    for _ in range(10):
        await enrolment.empty()
        await asyncio.gather(*(reconciler(enrolment, payments).catch_up("payments") for _ in range(2)))
        assert await enrolment.effects() == 1


async def test_a_page_that_was_never_finished_is_taken_one_by_one(payments, enrolment, monkeypatch):
    await payments.announce(refund_of(), refund_of())
    reconciling = reconciler(enrolment, payments)

    class Died(BaseException):
        pass

    async def die(bodies):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(enrolment.receiver, "take", die)
        for _ in range(reconciliation.MOST_ATTEMPTS):
            with pytest.raises(Died):
                await reconciling.catch_up("payments")
        assert await reconciling.catch_up("payments") == 2
    assert await enrolment.one("select count(*) from inbox_retry") == 2
    assert await enrolment.all("select attempts from feed_positions") == [(0,)]
    while await enrolment.receiver.retry_one():
        pass
    assert await enrolment.effects() == 2


@pytest.mark.parametrize("way", ["refused", "away for longer", "stopped"])
async def test_a_page_is_not_suspected_for_an_outage_or_a_stop(payments, enrolment, monkeypatch, way):
    await payments.announce(refund_of(), refund_of())
    reconciling = reconciler(enrolment, payments)
    began = asyncio.Event()

    async def fail(bodies):
        assert await enrolment.all("select attempts from feed_positions") == [(1,)]
        began.set()
        if way == "stopped":
            await asyncio.sleep(3600)
        if way == "away for longer":
            patched.setattr(reconciling, "_take_back", away)
        raise asyncpg.TooManyConnectionsError

    async def away(position):
        raise OSError

    for _ in range(2 * reconciliation.MOST_ATTEMPTS):
        with monkeypatch.context() as patched:
            patched.setattr(enrolment.receiver, "take", fail)
            task = asyncio.create_task(reconciling.catch_up("payments"))
            await began.wait()
            if way == "stopped":
                task.cancel()
                reconciling = reconciler(enrolment, payments)  # another process
            with pytest.raises((asyncio.CancelledError, asyncpg.PostgresError)):
                await task
    assert await reconciling.catch_up("payments") == 2
    assert await enrolment.effects() == 2
    assert await enrolment.one("select count(*) from inbox_retry") == 0


async def test_a_slow_page_is_read_by_one_replica_at_a_time(payments, enrolment, monkeypatch):
    await payments.announce(refund_of(), refund_of())
    take, pages = enrolment.receiver.take, 0

    async def slow(bodies):
        nonlocal pages
        pages += 1
        await asyncio.sleep(0.5)
        await take(bodies)

    replicas = [ServiceNode("enrolment", enrolment.url) for _ in range(2 * reconciliation.MOST_ATTEMPTS)]
    for replica in replicas:
        monkeypatch.setattr(replica.receiver, "take", slow)
    read = await asyncio.gather(*(reconciler(replica, payments).catch_up("payments") for replica in replicas))
    for replica in replicas:
        await replica.database.dispose()
    assert sorted(read, key=bool) == [None] * (len(replicas) - 1) + [2]
    assert pages == 1
    assert await enrolment.effects() == 2


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("away"),
        httpx.HTTPStatusError("500", request=httpx.Request("GET", "http://p"), response=httpx.Response(500)),
        "<html>a proxy's error page</html>",
    ],
    ids=["away", "failing", "something else answers"],
)
async def test_a_feed_that_is_away_is_asked_again(payments, enrolment, failure):
    class Flaky(Local):
        def __init__(self, node):
            super().__init__(node)
            self.failed = 0

        async def read(self, types, after):
            if self.failed < 2:
                self.failed += 1
                if isinstance(failure, str):
                    return FeedPage.model_validate_json(failure)
                raise failure
            return await super().read(types, after)

    await payments.announce(refund_of())
    reconciling = Reconciler(enrolment.receiver, enrolment.database, {"payments": Flaky(payments)})
    task = asyncio.create_task(reconciling.run(every_seconds=0.05))

    async def arrived():
        assert not task.done(), task
        return await enrolment.effects() == 1

    await eventually(arrived)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Circle(Local):
    """Answers the first page for ever, with cursors that go round."""

    async def read(self, types, after):
        page = await super().read(types, "0.0")
        epoch, xid, position = page.cursor.split(".")
        return page.model_copy(update={"cursor": f"{epoch}.{int(xid) + len(self.asked) % 2}.{position}"})


async def test_a_feed_whose_pages_go_round_keeps_no_other_unread(payments, enrolment):
    await payments.announce(refund_of())
    circle = Circle(payments)
    reconciling = Reconciler(enrolment.receiver, enrolment.database, {"payments": circle})
    async with asyncio.timeout(20):
        with pytest.raises(FeedAway, match="circle"):
            await reconciling.catch_up("payments")
    assert len(circle.asked) < 6
    assert await enrolment.effects() == 1


async def test_a_listing_of_what_is_missing_ends_where_the_pages_go_round(payments, enrolment):
    await payments.announce(refund_of())
    async with asyncio.timeout(20):
        with pytest.raises(FeedAway, match="circle"):
            [one async for one in missing(enrolment.database, enrolment.receiver.inbox, {"payments": Circle(payments)})]


class Endless(Local):
    """Always has one event more, and a cursor further on."""

    def __init__(self, node, epoch):
        super().__init__(node)
        self.epoch = epoch

    async def read(self, types, after):
        self.asked.append((tuple(types), after))
        await asyncio.sleep(0.01)
        cursor = f"{self.epoch}.{int(after.split('.')[-2]) + 1}.0"
        return FeedPage(bodies=[body_of(refund_of()).decode()], cursor=cursor)


async def test_a_feed_that_never_ends_keeps_no_other_unread_and_goes_on_where_it_stood(
    payments, enrolment, monkeypatch
):
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.02)
    monkeypatch.setattr(reconciliation, "TURN_SECONDS", 0.1)
    endless = Endless(payments, (await read_page(payments.database, REFUNDS, START)).cursor.partition(".")[0])
    enrolment.receiver.inbox.on(CoursePublished)(nothing)
    feeds = {"payments": endless, "catalogue": Local(payments)}
    reconciling = Reconciler(enrolment.receiver, enrolment.database, feeds)
    task = asyncio.create_task(reconciling.run(every_seconds=60))

    async def other_was_read():
        return feeds["catalogue"].asked and len(endless.asked) > 30

    await eventually(other_was_read)
    assert telemetry.feeds_unfinished.labels("enrolment")._value.get() == 1
    assert telemetry.feeds_unread.labels("enrolment")._value.get() == 1
    assert not reconciling.caught_up.is_set()
    await stopped(task)
    places = [int(after.split(".")[-2]) for _, after in endless.asked]
    assert places == list(range(len(places))), "each page once, turn after turn"
    assert await enrolment.effects() >= len(places) - 1

    reconciling.feeds = {"payments": Local(payments), "catalogue": Local(payments)}
    task = asyncio.create_task(reconciling.run(every_seconds=60))
    await asyncio.wait_for(reconciling.caught_up.wait(), 10)
    assert telemetry.feeds_unfinished.labels("enrolment")._value.get() == 0
    await stopped(task)


async def test_what_a_new_release_consumes_besides_is_read_in_as_many_turns_as_it_takes(
    payments, enrolment, monkeypatch
):
    await reconciler(enrolment, payments, release(enrolment, PaymentReversed)).catch_up("payments")
    events = [refund_of() for _ in range(8)]
    await payments.announce(*events)
    monkeypatch.setattr(reconciliation, "TURN_SECONDS", 0.0)
    reconciling = reconciler(enrolment, payments, release(enrolment, PaymentReversed, RefundRequested))
    for turn in range(1, 4):
        with pytest.raises(FeedUnfinished):
            await reconciling.catch_up("payments")
        assert await enrolment.effects() == min(3 * turn, 8)
    while True:
        try:
            assert await reconciling.catch_up("payments") == 0
        except FeedUnfinished:
            continue
        break
    assert [await enrolment.effects(event) for event in events] == [1] * 8


async def nothing(session, event):
    pass


async def stopped(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def body(node, position):
    return await node.one("select body from outbox where position = :position", position=position)


class Held(Local):
    """A producer that is away until it is let through."""

    def __init__(self, node):
        super().__init__(node)
        self.there = asyncio.Event()

    async def read(self, types, after):
        if not self.there.is_set():
            raise httpx.ConnectError("away")
        return await super().read(types, after)


async def test_all_has_arrived_once_every_feed_was_read_and_what_waited_was_tried_again(
    payments, enrolment, monkeypatch
):
    """What ends something because nothing arrived about it goes by that."""
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.02)
    order_id = new_id()
    await payments.announce(
        refund_of(reason_code="before_payment", order_id=order_id), *(refund_of() for _ in range(9))
    )
    await payments.announce(confirmed(order_id))
    held = Held(payments)
    reconciling = Reconciler(enrolment.receiver, enrolment.database, {"payments": held, "catalogue": Local(payments)})
    task = asyncio.create_task(reconciling.run(every_seconds=60))

    async def unread(number):
        return telemetry.feeds_unread.labels("enrolment")._value.get() == number

    await eventually(lambda: unread(1))
    await asyncio.sleep(0.3)
    assert not reconciling.caught_up.is_set()

    held.there.set()
    await eventually(lambda: unread(0))
    await asyncio.sleep(0.3)
    assert await enrolment.all("select waiting from inbox_retry") == [(True,)]
    assert not reconciling.caught_up.is_set()

    retries = asyncio.create_task(enrolment.receiver.run_retries(every_seconds=0.02))
    await asyncio.wait_for(reconciling.caught_up.wait(), 10)
    assert await enrolment.effects() == 11
    for one in (task, retries):
        one.cancel()
    await asyncio.gather(task, retries, return_exceptions=True)


async def test_a_replica_waits_until_it_has_read_a_feed_that_another_one_reads(payments, enrolment, monkeypatch):
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.02)
    other = ServiceNode("enrolment", enrolment.url)
    reconciling = reconciler(enrolment, payments)
    async with lease(other.database, "feed payments"):
        task = asyncio.create_task(reconciling.run())
        await asyncio.sleep(0.3)
        assert not reconciling.caught_up.is_set()
    await asyncio.wait_for(reconciling.caught_up.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await other.database.dispose()


async def test_a_page_at_which_a_statement_of_ours_fails_is_suspected_in_the_end(payments, enrolment, monkeypatch):
    """And not taken for an outage, for ever: what follows it would never be read."""
    before, event = refund_of(), refund_of()
    await payments.announce(before, event)
    take = enrolment.receiver.take

    async def fail(bodies):
        if len(bodies) > 1:
            async with enrolment.database.transaction() as session:
                await session.execute(text("select 1 / 0"))
        await take(bodies)

    monkeypatch.setattr(enrolment.receiver, "take", fail)
    reconciling = reconciler(enrolment, payments)
    for _ in range(reconciliation.MOST_ATTEMPTS):
        with pytest.raises(DBAPIError):
            await reconciling.catch_up("payments")
    assert await reconciling.catch_up("payments") == 2
    while await enrolment.receiver.retry_one():
        pass
    assert [await enrolment.effects(one) for one in (before, event)] == [1, 1]
