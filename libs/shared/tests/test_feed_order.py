"""The feed gives out every event once, whatever transaction ids its log runs through, and never too much at once."""

import random
from contextlib import AsyncExitStack

import pytest

from shared.database import Database
from shared.events.payments import PaymentReversed, RefundRequested
from shared.ids import new_id
from shared.messaging import feed, publish
from shared.messaging.epochs import START, keep_epoch
from shared.messaging.feed import read_page
from shared.messaging.outbox import write_announced

from . import clusters
from .delivery import refund_of, reversed_

TYPES = [PaymentReversed.type, RefundRequested.type]
TRANSACTIONS, EACH = 80, 14


@pytest.fixture(scope="module")
async def server(tmp_path_factory):
    async with clusters.cluster(tmp_path_factory.mktemp("order") / "postgres") as running:
        yield running


@pytest.fixture(scope="module")
async def node(server):
    made = await clusters.producer(server)
    made.database = Database(
        made.url, "payments", notifier=made.notifier, messaging_pool_size=8
    )  # for all that is open
    yield made
    await made.database.dispose()


class Reader:
    def __init__(self, node, size, types=TYPES):
        self.node, self.size, self.types = node, size, types
        self.cursor, self.seen = START, []

    async def read(self):
        page = await read_page(self.node.database, self.types, self.cursor, self.size)
        assert len(page.bodies) <= self.size
        self.cursor = page.cursor
        self.seen += page.bodies
        return len(page.bodies)

    async def to_the_end(self):
        while await self.read():
            pass


async def test_no_event_is_skipped_where_transaction_ids_grow_by_a_digit(server, node):
    """Concurrent transactions that commit late and out of their order, over the boundary, read in pages of several
    sizes meanwhile."""
    chance = random.Random(20)  # noqa: S311 - the same each time
    boundary = 10 ** len(str(await clusters.next_xid(server)))
    await clusters.spend_xids(server, boundary - TRANSACTIONS // 2)
    readers = [Reader(node, size) for size in (1, 3, 14, 200, 500)]
    async with AsyncExitStack() as all_of_them:
        under_way = []
        for _ in range(TRANSACTIONS):
            transaction = AsyncExitStack()
            session = await transaction.enter_async_context(node.database.transaction())
            for _ in range(EACH):
                publish(session, chance.choice([refund_of(), reversed_(new_id())]))
            await session.run_sync(write_announced)  # takes positions and the transaction id, and commits later
            under_way.append(await all_of_them.enter_async_context(transaction))
            while len(under_way) > 4 or (under_way and chance.random() < 0.4):
                await under_way.pop(chance.randrange(len(under_way))).aclose()
            for reader in readers:
                await reader.read()
    xids = await node.all("select distinct cast(cast(xid as text) as bigint) from outbox order by 1")
    assert xids[0][0] < boundary <= xids[-1][0], "the boundary was crossed"
    written = sorted(row[0] for row in await node.all("select body from outbox"))
    assert len(written) == TRANSACTIONS * EACH
    late = [Reader(node, size) for size in (7, 500)]
    for reader in [*readers, *late]:
        await reader.to_the_end()
        assert sorted(reader.seen) == written, f"pages of {reader.size}"


async def test_a_cursor_moves_to_the_fence_where_nothing_matched(node):
    """As it stood when it was marked, which is done each minute."""
    rare = Reader(node, 500, ["payments.nothing.of_that_kind.v1"])
    await keep_epoch(node.database)
    assert await rare.read() == 0
    await node.announce(refund_of())
    await keep_epoch(node.database)
    before = rare.cursor
    assert await rare.read() == 0
    assert int(rare.cursor.split(".")[1]) > int(before.split(".")[1]) > 0
    newest = await node.one("select max(cast(cast(xid as text) as bigint)) from outbox")
    assert int(rare.cursor.split(".")[1]) > newest


async def test_a_page_is_no_longer_than_its_bytes_and_always_goes_on(node, monkeypatch):
    await node.announce(*(refund_of() for _ in range(5)))
    whole = Reader(node, 500)
    await whole.to_the_end()
    length = max(len(body.encode()) for body in whole.seen)
    for most in (1, 3 * length):
        monkeypatch.setattr(feed, "PAGE_BYTES", most)
        reader = Reader(node, 500)
        while count := await reader.read():
            page = reader.seen[-count:]
            assert sum(len(body.encode()) for body in page[:-1]) < most
        assert reader.seen == whole.seen
