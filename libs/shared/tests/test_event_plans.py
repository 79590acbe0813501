"""What feed, relay and inbox read of large tables: by the page and not by the table. Rows and buffers, not seconds."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from shared.batches import BATCH
from shared.driver import connect_driver
from shared.ids import new_id
from shared.messaging import deduplication, epochs, feed, history, relay
from shared.migrate import migrate

from . import delivery
from .clusters import cluster, part_from

EVENTS, KEYS = 240_000, 200_000
YEARS = (2023, 2024, 2025, 2026)
TYPES = [f"payments.thing{number}.done.v1" for number in range(30)]
RARE = "payments.rarity.seen.v1"
SENT = datetime(2026, 6, 1, tzinfo=UTC)


numbers = itertools.count()


class Explained:
    """A statement as it was run by PostgreSQL."""

    def __init__(self, plan):
        self.plan = plan["Plan"]
        self.buffers = self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"]
        self.nodes = list(self._all(self.plan))
        self.rows = sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in self.nodes
            if "Relation Name" in node
        )
        self.seq_scans = {
            node["Relation Name"]
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Shared Hit Blocks"] + node["Shared Read Blocks"] > 0
        }
        """Of tables that hold anything: of a part for a year to come there is nothing to read."""

    def _all(self, node):
        yield node
        for inner in node.get("Plans", ()):
            yield from self._all(inner)


@pytest.fixture(scope="module")
async def large(tmp_path_factory):
    """An event log of four years and an inbox, loaded by COPY: all sent but the last ten."""
    async with cluster(tmp_path_factory.mktemp("plans") / "postgres") as server:
        url = await server.create_role_and_database("payments")
        await migrate(url, delivery.VERSIONS)
        driver = await connect_driver(url, answer_seconds=3600, statement_timeout="0", timezone="UTC")
        await part_from(driver, YEARS[0])
        base = int(await driver.fetchval("select pg_current_xact_id()::text")) - 700
        each = EVENTS // len(YEARS)
        rows = []
        for number in range(EVENTS):
            year = YEARS[min(number // each, len(YEARS) - 1)]
            at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=(number % each) * 2)
            kind = RARE if number % 40_000 == 7 else TYPES[number % len(TYPES)]
            waits = number >= EVENTS - 10
            rows.append((new_id(), kind, "k", "b" * 400, at, None if waits else SENT, number))
        await driver.execute(
            "create table loaded (id uuid, type text, key text, body text, at timestamptz, sent timestamptz, n int)"
        )
        await driver.copy_records_to_table("loaded", records=rows)
        await driver.execute(
            "insert into outbox (id, type, partition_key, body, created_at, sent_at, next_attempt_at, xid) "
            "select id, type, key, body, at, sent, at, cast(cast($1 + n / $2 as text) as xid8) from loaded order by n",
            base,
            EVENTS // 600,
        )
        keys = [
            ("/services/payments", new_id(), TYPES[0], b"x" * 32, SENT - timedelta(days=200) + timedelta(minutes=n))
            for n in range(KEYS)
        ]
        columns = ["source", "id", "type", "body_sha256", "handled_at"]
        await driver.copy_records_to_table("inbox", records=keys, columns=columns)
        await driver.execute("vacuum (analyze) inbox")
        for (part,) in await driver.fetch(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'outbox'::regclass"
        ):
            await driver.execute(f"vacuum (analyze) {part}")  # as autovacuum does, which passes over the whole
        yield driver, base, keys
        await driver.close()


def compiled(statement):
    """As SQLAlchemy hands it to the driver, and the order of its parameters."""
    done = statement.compile(dialect=dialect.dialect())
    return str(done), lambda **values: [values[name] for name in done.positiontup]


async def explain(driver, statement, *arguments, generic=False, before=()):
    """As it is run after these statements; nothing stays."""
    literals = []
    for argument in arguments:
        if isinstance(argument, list):
            literals.append(
                "'{"
                + ",".join(f'"{one}"' if not isinstance(one, bytes) else f'"\\\\x{one.hex()}"' for one in argument)
                + "}'"
            )
        else:
            literals.append(str(argument) if isinstance(argument, int | float) else f"'{argument}'")
    await driver.execute(f"set plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
    undone = driver.transaction()
    await undone.start()
    try:
        for one in before:
            await driver.execute(one)
        name = f"asked_{next(numbers)}"
        await driver.execute(f"prepare {name} as {statement}")
        call = f"execute {name}({', '.join(literals)})" if literals else f"execute {name}"
        found = json.loads(await driver.fetchval(f"explain (analyze, buffers, timing off, format json) {call}"))
    finally:
        await undone.rollback()
    return Explained(found[0])


FORGET = [
    f"select pg_clear_attribute_stats('public', inhrelid::regclass::text, '{column}', false) from pg_inherits "
    "where inhparent = 'outbox'::regclass"
    for column in ("type", "xid", "position", "created_at")
]
"""The statistics of the event log."""
both_plans = pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])


@both_plans
@pytest.mark.parametrize("known", [True, False], ids=["analyzed", "just restored"])
@pytest.mark.parametrize(
    "where", ["at the beginning", "in the middle", "at the end", "rare, from the beginning", "rare, at the end"]
)
async def test_a_page_of_the_feed(large, where, known, generic):
    driver, base, _ = large
    statement, order = compiled(feed._PAGE)
    xid = {"in the middle": base + 300, "at the end": base + 605, "rare, at the end": base + 605}.get(where, 0)
    types = [RARE] if where.startswith("rare") else TYPES
    values = order(types=types, xid=str(xid), position=0, limit=feed.PAGE, bytes=feed.PAGE_BYTES)
    before = [f"select {epochs.BY_INDEX}", *([] if known else FORGET)]
    found = await explain(driver, statement, *values, generic=generic, before=before)
    given = found.plan["Actual Rows"]
    assert given == {"rare, from the beginning": 6, "rare, at the end": 1, "at the end": 1}.get(where, feed.PAGE)
    assert found.seq_scans == set()
    # Of each type so many index entries as a page may hold, at the most; of the page itself its rows.
    assert found.rows <= len(types) * feed.PAGE * 1.1 + 3 * feed.PAGE
    assert found.buffers <= (100 + 4 * len(types) * 2 * len(YEARS) if given < feed.PAGE else 6000)


@both_plans
async def test_what_the_relay_looks_for_and_claims(large, generic):
    driver, _, _ = large
    some = [row["id"] for row in await driver.fetch("select id from outbox order by position desc limit 100")]
    for statement, arguments in (
        (relay._WAITING, ()),
        (relay._CLAIM, (500, [])),
        (str(relay._MEASURE), ()),
        (relay._SENT, (some,)),
        (relay._RELEASE, (some,)),
        (relay._UNSENT, ("refused", 5)),
    ):
        found = await explain(driver, statement, *arguments, generic=generic)
        assert found.seq_scans <= {"installation"}, statement  # which has one row
        assert found.rows <= 200, statement
        assert found.buffers <= 1000, statement


@both_plans
async def test_what_the_feed_keeps_in_order(large, generic):
    driver, _, _ = large
    statement, order = compiled(text(epochs._TO_THE_PRESENT))
    found = await explain(driver, statement, *order(most=BATCH), generic=generic)
    assert found.seq_scans == set()
    assert found.rows == 0
    assert found.buffers <= 100


@both_plans
async def test_what_the_inbox_claims_and_knows_and_forgets(large, generic):
    driver, _, keys = large
    taken = keys[1000:1400]
    some = [list(column) for column in zip(*((*key[:4],) for key in taken), strict=True)]
    known, order = compiled(deduplication._KNOWN)
    forget = f"select ctid from inbox where handled_at < now() - interval '{deduplication.KEPT_DAYS} days' order by handled_at limit {BATCH}"
    taken_in, ordered = compiled(text(history._TAKEN))
    for statement, arguments in (
        (deduplication.CLAIM_FREE._statement, [*some, some[2]]),
        (deduplication._CLAIM_ANY._statement, [*some, some[2]]),
        (taken_in, ordered(source="/services/payments", most=history.TAKEN)),
        (deduplication._UNCLAIM._statement, some[:2]),
        (known, order(sources=some[0], ids=some[1])),
        (f"delete from inbox where ctid = any(array({forget}))", ()),
    ):
        found = await explain(driver, statement, *arguments, generic=generic)
        assert "inbox" not in found.seq_scans, statement
        assert found.rows <= 4 * BATCH, statement
        assert found.buffers <= 20 * BATCH, statement
