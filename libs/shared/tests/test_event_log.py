"""The event log in a part a year: the release before works on beside it, and it is whole for whoever reads it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from alembic import command
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.database import Unknown
from shared.driver import connect_driver
from shared.ids import new_id
from shared.messaging import event_log
from shared.messaging.epochs import START
from shared.messaging.event_log import NotSent, StillKept
from shared.messaging.feed import read_page
from shared.messaging.missing import read_anew
from shared.messaging.relay import Relay
from shared.migrate import configuration, migrate

from . import delivery
from .clusters import cluster, part_from
from .delivery import refund_of
from .feeds import reconciler
from .messaging_nodes import ServiceNode, eventually

REFUNDS = ["payments.refund.requested.v1"]
WRITE = """
    insert into outbox (id, type, partition_key, body, next_attempt_at)
    select id, type, partition_key, body, now() + make_interval(secs => $5::float8)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
        with ordinality as announced (id, type, partition_key, body, place)
    order by place
"""
CLAIM = """
    update outbox set sent_at = now(), attempts = attempts + 1
    where position = any (array(
        select position from outbox where sent_at is null and next_attempt_at <= now() and id <> all ($2::uuid[])
        order by position limit $1 for update skip locked
    ))
    returning position, id, type, body
"""
UNSENT = "update outbox set sent_at = null, last_error = $1, next_attempt_at = now() where position = $2"
SENT = "update outbox set sent_at = now(), attempts = attempts + 1 where id = any($1::uuid[]) and sent_at is null"
READ = """
    select xid::text as xid, position, body from outbox where type = any($1::text[])
    and (xid, position) > ($2::text::xid8, $3::bigint) and xid < pg_snapshot_xmin(pg_current_snapshot())
    order by xid, position limit $4
"""
"""What the release before says to the database."""


async def upgrade_to(url: str, revision: str) -> None:
    def upgrade(connection):
        config = configuration(delivery.VERSIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        command.upgrade(config, "effects@head")

    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


async def test_the_release_before_works_on_while_the_outbox_is_parted(make_database):
    """It writes, sends, takes back and reads without one failure, on the connections and statements it has."""
    url = await make_database(f"parted_{new_id().hex[-12:]}")
    await upgrade_to(url, "messaging_7")
    stop, written, claimed, failures = asyncio.Event(), [], [], []

    async def work(part):
        driver = await connect_driver(url)
        try:
            while not stop.is_set():
                await part(driver)
        except Exception as error:  # whatever it is, it would be a failed request  # noqa: BLE001
            failures.append(error)
        finally:
            await driver.close()

    async def write(driver):
        ids = [new_id() for _ in range(3)]
        async with driver.transaction():
            await driver.execute(WRITE, ids, REFUNDS * 3, ["k"] * 3, ["{}"] * 3, 0.0)
        written.extend(ids)
        await driver.execute(SENT, ids[:1])

    async def send(driver):
        async with driver.transaction():
            rows = await driver.fetch(CLAIM, 50, [])
            for row in rows[:1]:
                await driver.execute(UNSENT, "not now", row["position"])
        claimed.extend(rows)

    async def read(driver):
        await driver.fetch(READ, REFUNDS, "0", 0, 500)

    working = [asyncio.create_task(work(part)) for part in (write, write, write, send, read)]
    await eventually(lambda: _are(written, 300))
    await migrate(url, delivery.VERSIONS)
    more = len(written) + 300
    await eventually(lambda: _are(written, more))
    stop.set()
    await asyncio.gather(*working)
    assert failures == []
    node = ServiceNode("payments", url)
    kept = await node.all("select id, position from outbox")
    assert {row[0] for row in kept} == set(written)
    assert len({row[1] for row in kept}) == len(written)
    assert await node.one("select count(*) from pg_inherits where inhparent = cast('outbox' as regclass)") >= 3
    assert claimed
    seen, cursor = [], START
    while (page := await read_page(node.database, REFUNDS, cursor)).bodies:
        seen, cursor = seen + page.bodies, page.cursor
    assert len(seen) == len(written)
    await node.database.dispose()


async def _are(found, count) -> bool:
    return len(found) >= count


async def test_there_is_a_part_for_the_years_to_come(payments):
    await event_log.keep_event_log(payments.database)
    async with payments.database.transaction() as session:
        years = [part.ends_at.year - 1 for part in await event_log.parts(session)]
    this = await payments.one("select cast(extract(year from now()) as integer)")
    assert years[-1] == this + event_log.YEARS_AHEAD
    assert years == list(range(years[0], years[-1] + 1))


async def test_years_that_nobody_served_are_one_part(payments):
    """A clock that stood far ahead once leaves no hundred parts that each statement looks into from then on."""
    undone = await connect_driver(payments.url)
    async with _rolled_back(undone):
        made = await undone.fetch("select add_outbox_parts(2999)")
        assert len(made) == 3
        await undone.execute(WRITE, [new_id()], REFUNDS, ["k"], ["{}"], 0.0)
        await undone.execute("update outbox set created_at = '2500-07-01'")
        assert await undone.fetchval("select tableoid::regclass::text from outbox") == made[0][0]
    await undone.close()


@asynccontextmanager
async def _rolled_back(driver):
    transaction = driver.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


@pytest.fixture
async def years(tmp_path):
    """A service whose log is of fourteen years, this one the last, on a server of its own: three events a year, all sent."""
    async with cluster(tmp_path / "postgres") as server:
        url = await server.create_role_and_database("payments")
        await migrate(url, delivery.VERSIONS)
        node = ServiceNode("payments", url)
        driver = await connect_driver(url)
        this = await driver.fetchval("select cast(extract(year from now()) as integer)")
        await part_from(driver, this - 13)
        await event_log.keep_event_log(node.database)
        for ago in range(13, -1, -1):
            await node.announce(*(refund_of() for _ in range(3)))
            await driver.execute(
                "update outbox set sent_at = now(), created_at = created_at - make_interval(years => $1) where sent_at is null",
                ago,
            )
        await driver.close()
        yield node
        await node.database.dispose()


async def test_who_subscribes_anew_gets_every_year(years, enrolment):
    """And the pages follow one another, though each is put together from many parts."""
    names = await years.all("select distinct cast(cast(tableoid as regclass) as text) from outbox order by 1")
    assert len(names) == 14
    assert await reconciler(enrolment, years).catch_up("payments") == 42
    assert await enrolment.effects() == 42


async def test_a_part_is_taken_away_when_it_is_old_enough_and_sent_and_can_be_put_back(years, enrolment):
    async def detach(name):
        async with years.database.transaction() as session:
            return await event_log.detach(session, name, kept_years=10)

    this = await years.one("select cast(extract(year from now()) as integer)")
    oldest, older, kept = f"outbox_{this - 13}", f"outbox_{this - 12}", f"outbox_{this - 10}"
    for foreign in ("inbox", "pg_class", "outbox", 'outbox"; drop table inbox; --'):
        with pytest.raises(Unknown):
            await detach(foreign)
    with pytest.raises(StillKept):
        await detach(kept)
    async with years.database.messaging.begin() as connection:
        await connection.exec_driver_sql(
            f"update {older} set sent_at = null where position = (select min(position) from {older})"
        )
    with pytest.raises(NotSent):
        await detach(older)
    assert (await detach(oldest)).name == oldest
    assert await years.one("select count(*) from outbox") == 39
    assert await years.one(f"select count(*) from {oldest}") == 3
    assert await reconciler(enrolment, years).catch_up("payments") == 39
    async with years.database.messaging.begin() as connection:
        await connection.exec_driver_sql(
            f"alter table outbox attach partition {oldest} "
            f"for values from ('{this - 13}-01-01 00:00Z') to ('{this - 12}-01-01 00:00Z')"
        )
    async with enrolment.database.transaction() as session:
        assert await read_anew(session, ["payments"]) == 1
    assert await reconciler(enrolment, years).catch_up("payments") == 42
    assert await enrolment.effects() == 42


async def test_a_relay_sends_what_waits_in_any_part(years):
    sent = []

    class Transport:
        at_once, batch = 1, 5

        async def send(self, envelopes) -> list[str | None]:
            sent.extend(envelope.id for envelope in envelopes)
            return [None for _ in envelopes]

    async with years.database.messaging.begin() as connection:
        await connection.exec_driver_sql("update outbox set sent_at = null, next_attempt_at = now()")
    relay = Relay("payments", years.database, Transport())
    while await relay.send_batch():
        pass
    await relay._connection.close()
    assert sent == [str(row[0]) for row in await years.all("select id from outbox order by position")]
    assert len(sent) == 42
