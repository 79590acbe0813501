"""What counts as the database being away, and that both ways to it read its address alike."""

import asyncio
import logging
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared import driver as drivers
from shared.clock import FIRST_DAY, FIRST_INSTANT, LAST_DAY, LAST_INSTANT
from shared.database import Database, RawStatement
from shared.driver import connect_driver
from shared.ids import new_id
from shared.jobs import Work, run_exclusively
from shared.messaging.outbox import OutboxNotifier
from shared.messaging.relay import Relay
from shared.migrate import migrate
from shared.outages import DATABASE_ERRORS, is_database_down, note_outage
from shared.process import Process
from shared.testing.refusing import refusing_database

from .delivery import VERSIONS, refund_of
from .messaging_nodes import ServiceNode, eventually
from .processes import service_of
from .refunds_api import PATHS, client

NOT_NOW = [
    "53300",
    "57P03",
    "57P01",
    "57P02",
    "28P01",
    "28000",
    "58030",
    "53200",
    "53100",
    "08006",
    "3D000",
    "55000",
    "42501",
    "0A000",
]
ONE = RawStatement("select 1")


@pytest.mark.parametrize("sqlstate", NOT_NOW)
async def test_whichever_way_a_refused_connection_was_asked_for_the_database_is_away(sqlstate):
    async def session(database):
        async with database.transaction() as session:
            await session.execute(text("select 1"))

    async def driver(database):
        await ONE.row(database)

    async def beside(database):
        async with database.side.driver():
            pass

    async with refusing_database(sqlstate) as url:
        database = Database(url, "tests", notifier=OutboxNotifier())
        for way in (session, driver, beside, lambda one: one.finds("select 1")):
            with pytest.raises(DATABASE_ERRORS) as refused:
                await way(database)
            assert is_database_down(refused.value), refused.value
        await database.dispose()


@pytest.mark.parametrize(
    ("sqlstate", "away"),
    [
        *((state, True) for state in ("3F000", "42501", "42703", "42704", "42883", "42P01")),  # empty or half restored
        *((state, True) for state in ("25006", "25P03", "40001", "40P01", "53200", "55P03", "57P01", "F0000", "XX001")),
        *(
            (state, False)
            for state in ("22003", "22P02", "23505", "23514", "25P02", "42601", "42804", "57014", "P0001")
        ),
    ],
)
async def test_what_a_statement_is_refused_with_tells_an_outage_from_a_fault(payments, sqlstate, away):
    refuse = f"do $$ begin raise exception 'x' using errcode = '{sqlstate}'; end $$"

    async def session():
        async with payments.database.transaction() as session:
            await session.execute(text(refuse))

    for way in (session, lambda: payments.database.finds(refuse)):
        with pytest.raises(DATABASE_ERRORS) as wrong:
            await way()
        assert is_database_down(wrong.value) == away


@pytest.mark.parametrize(
    ("sqlstate", "says"),
    [
        *((state, "others are at the same rows") for state in ("55P03", "40001", "40P01")),
        *((state, "the database is not ready: ") for state in ("3F000", "42501", "42703", "42704", "42883", "42P01")),
        ("25006", "the database only reads"),
        *((state, "the database is down") for state in ("53200", "57P01", "XX001", "25P03")),
        ("42601", "the database refused a statement"),
    ],
)
async def test_the_log_says_what_a_round_met(payments, sqlstate, says, caplog):
    """A lock that others hold sends nobody to look for a server that is gone."""
    with pytest.raises(DATABASE_ERRORS) as met:
        await payments.database.finds(f"do $$ begin raise exception 'x' using errcode = '{sqlstate}'; end $$")
    note_outage(logging.getLogger(__name__), met.value)
    assert caplog.records[-1].getMessage().startswith(says)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("update alembic_version set version_num = 'messaging_1' where version_num like 'messaging%'", "behind"),
        ("delete from alembic_version", "behind"),
        ("drop table inbox", "away"),
        ("drop table alembic_version", "behind"),
        ("revoke insert on outbox from current_user", "only reads"),
    ],
)
async def test_a_database_that_is_not_whole_or_not_ours_takes_no_requests(make_database, tmp_path, spoil, says):
    url = await make_database(f"spoiled_{new_id().hex[-12:]}")
    await migrate(url, VERSIONS)
    process = Process(service_of("payments", url, mail_folder=str(tmp_path)))
    transport = httpx.ASGITransport(process.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://payments") as caller:
        assert (await caller.get("/health/ready")).status_code == 200
        async with process.database.transaction() as session:
            await session.execute(text(spoil))
        ready = await caller.get("/health/ready")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "2")
    assert says in ready.json()["status"]
    await process.http.aclose()
    await process.database.dispose()


async def test_a_statement_of_ours_at_fault_is_no_outage(payments):
    with pytest.raises(DATABASE_ERRORS) as wrong:
        await RawStatement("select :number::int").row(payments.database, number="one")
    assert not is_database_down(wrong.value)
    async with payments.database.transaction() as session:
        with pytest.raises(DBAPIError, match="invalid input") as wrong:
            await session.run_sync(lambda s: s.connection().exec_driver_sql("select $1::int", ("one",)))
        assert not is_database_down(wrong.value)
        await session.rollback()


async def test_a_database_that_only_reads_is_503_for_what_writes_and_ends_nothing(api, payments, parts):
    relay = Relay("payments", payments.database, sink := Sink())
    loops = (relay.run, payments.notifier.run, lambda: payments.receiver.run_retries(every_seconds=0.05))
    running = [parts(loop()) for loop in loops]
    async with client(api) as caller:
        await only_read(payments, "on")
        try:
            read = await caller.get("/v1/terms")
            answers = [
                await caller.post(path, json={"amount_minor": 2}, headers={"Idempotency-Key": path})
                for path in (PATHS["session"], PATHS["fast"])
            ]
            await asyncio.sleep(1)
        finally:
            await only_read(payments, "off")
        assert read.status_code == 200
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
            assert answer.headers["retry-after"]
        assert not any(one.done() for one in running)
        await payments.announce(refund_of())

        async def sent():
            return len(sink.sent) == 1

        await eventually(sent)


class Sink:
    at_once, batch = 1, 100

    def __init__(self) -> None:
        self.sent = []

    async def send(self, envelopes) -> list[str | None]:
        self.sent += envelopes
        return [None] * len(envelopes)


async def only_read(node: ServiceNode, word: str) -> None:
    """As after a failover to a standby: for all connections, those that are open too."""
    admin = await connect_driver(node.url, default_transaction_read_only="off")
    await admin.execute(f"alter role current_user set default_transaction_read_only = {word}")
    others = "from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()"
    cut = await admin.fetch(f"select pid, pg_terminate_backend(pid) {others}")

    async def gone():  # a request on one that is cut while it is asked would be answered with 503
        return not await admin.fetchval(f"select count(*) {others} and pid = any($1)", [row["pid"] for row in cut])

    await eventually(gone)
    await admin.close()


@pytest.mark.parametrize(
    "query",
    ["host=/run/one&port=6543", "host=one:1&host=two:2&target_session_attrs=primary", "host=one&ssl=verify-full"],
)
async def test_both_ways_to_the_database_read_all_of_its_address(query, monkeypatch):
    asked = []

    async def note(**options):
        asked.append({name: value for name, value in options.items() if name not in {"server_settings", "timeout"}})
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncpg, "connect", note)
    url = f"postgresql+asyncpg://ada:secret@/registry?{query}"
    database = Database(url, "tests", notifier=OutboxNotifier())
    with pytest.raises(OSError):  # noqa: PT011 - the connection that is refused
        await ONE.row(database)
    with pytest.raises(ConnectionRefusedError):
        await connect_driver(url)
    through_the_pool, alone = ({n: v for n, v in one.items() if v is not None} for one in asked)
    assert alone == {name: through_the_pool[name] for name in alone}
    assert {"host", "user", "password", "database"} <= set(alone)


async def test_a_replica_opens_no_more_connections_than_it_says(api: Process, payments):
    settings = api.service.settings
    database = api.database

    async def use(engine):
        async with engine.connect() as connection:
            await connection.execute(text("select pg_sleep(0.2)"))

    async def job(work):
        await asyncio.sleep(0.2)

    most, counting = 0, True

    async def count():
        nonlocal most
        watching = await connect_driver(payments.url)
        while counting:
            found = await watching.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
            most = max(most, found)
            await asyncio.sleep(0.01)
        await watching.close()

    await payments.database.dispose()
    watch = asyncio.create_task(count())
    relay = asyncio.create_task(Relay("payments", database, Sink()).run())
    api.notifier.notify()
    notifying = asyncio.create_task(api.notifier.run())
    await asyncio.gather(
        *(use(database.web) for _ in range(settings.pool_size)),
        *(use(database.messaging) for _ in range(30)),
        *(run_exclusively(f"job {number}", job, Work(database, {})) for number in range(10)),
    )
    counting = False
    await watch
    for task in (relay, notifying):
        task.cancel()
    await asyncio.wait([relay, notifying])
    assert most == api.connections == settings.pool_size + settings.messaging_pool_size + 2


ENDS = {
    "infinity": (LAST_INSTANT, LAST_DAY),
    "-infinity": (FIRST_INSTANT, FIRST_DAY),
    "12000-01-01": (LAST_INSTANT, LAST_DAY),
    "0044-03-15 BC": (FIRST_INSTANT, FIRST_DAY),
    "1999-12-31": (datetime(1999, 12, 31, tzinfo=UTC), date(1999, 12, 31)),
    "2026-11-30": (datetime(2026, 11, 30, tzinfo=UTC), date(2026, 11, 30)),
}


@pytest.mark.parametrize("written", ENDS)
async def test_an_instant_that_python_does_not_know_makes_no_row_unreadable(payments, written):
    """By whoever it was written: read as the calendar's end, and in every zone there is."""
    statement = f"select timestamptz '{written}' as instant, date '{written}' as day, array[timestamptz '{written}']"
    async with payments.database.transaction() as session:
        by_session = tuple((await session.execute(text(statement))).one())
    async with payments.database.driver() as driver:
        by_driver = tuple(await driver.fetchrow(statement))
    bare = await connect_driver(payments.url)
    by_bare = tuple(await bare.fetchrow(statement))
    await bare.close()
    instant, day = ENDS[written]
    assert by_session == by_driver == by_bare == (instant, day, [instant])
    assert by_session[0].astimezone(ZoneInfo("Pacific/Kiritimati")) == by_session[0]
    assert by_session[0].astimezone(ZoneInfo("America/Los_Angeles")) == by_session[0]


@settings(deadline=None)
@given(
    # No zone is further than a day from UTC.
    instant=st.datetimes(
        min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the zone is drawn, too
        max_value=datetime(9999, 12, 29),  # noqa: DTZ001 - likewise
        timezones=st.timezones(),
        allow_imaginary=False,
    ),
    day=st.dates(FIRST_DAY, LAST_DAY),
)
def test_every_instant_and_day_comes_back_as_it_went(instant, day):
    # Compared in UTC: Python calls an hour that comes twice unequal to itself in another zone.
    assert drivers._decode_instant(drivers._encode_instant(instant)) == instant.astimezone(UTC)
    assert drivers._decode_day(drivers._encode_day(day)) == day


@pytest.mark.parametrize("sqlstate", ["57014", "54000", "22000", "XX000"])
async def test_whatever_the_database_says_to_the_question_a_service_is_not_ready(sqlstate, tmp_path):
    async with refusing_database(sqlstate) as url:
        process = Process(service_of("payments", url, mail_folder=str(tmp_path)))
        transport = httpx.ASGITransport(process.api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            assert (await client.get("/health/ready")).status_code == 503
        await process.http.aclose()
        await process.database.dispose()


async def test_a_connection_whose_answer_the_driver_could_not_read_is_not_used_again(payments):
    """Bytes out of step: what it answers next would be to another question."""
    database = Database(payments.url, "tests", notifier=OutboxNotifier(), pool_size=1)

    async def backend():
        async with database.requests() as session:
            return (await session.execute(text("select pg_backend_pid()"))).scalar_one()

    before = await backend()
    with pytest.raises(IndexError):
        async with database.requests() as session:
            connection = await session.connection()
            raw = (await connection.get_raw_connection()).driver_connection
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(raw), "prepare", _out_of_step)
                await session.execute(text("select 'another'"))
    assert await backend() != before
    await database.dispose()


async def _out_of_step(*_, **__):
    raise IndexError("tuple index out of range")
