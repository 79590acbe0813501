"""What a person does about a feed, at the command line; and that no odd row ends a listing there."""

import asyncio
import io
import json
import sys
import time
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Response

from shared import cli
from shared.errors import Unauthenticated
from shared.ids import new_id
from shared.messaging import event_log, feed, missing
from shared.messaging.dead_lettering import dead_letter
from shared.process import Process

from .delivery import body_of, refund_of
from .feeds import Local, OfAnyLoop, reconciler
from .processes import service_of


async def command(monkeypatch, capsys, enrolment, payments, tmp_path, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(Process, "feeds", lambda _: {"payments": OfAnyLoop(payments.url)})
    monkeypatch.setattr(sys, "argv", ["enrolment", *arguments])

    service = service_of("enrolment", enrolment.url, mail_folder=str(tmp_path))

    def run() -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main(lambda: service.settings, lambda _: service)
        return int(ended.value.code or 0)

    status = await asyncio.to_thread(run)
    return status, capsys.readouterr().out


async def test_what_never_arrived_is_listed_and_brought_by_a_reset(payments, enrolment, monkeypatch, capsys, tmp_path):
    events = [refund_of() for _ in range(8)]
    await payments.announce(*events)
    ids = [str(row[0]) for row in await payments.all("select id from outbox order by position")]
    await reconciler(enrolment, payments).catch_up("payments")

    async def ask(*arguments):
        return await command(monkeypatch, capsys, enrolment, payments, tmp_path, *arguments)

    assert await ask("feed", "missing") == (0, "0 missing\n")
    async with enrolment.database.messaging.begin() as connection:  # as the feed of an older release left it
        await connection.exec_driver_sql("delete from effects")
        await connection.exec_driver_sql(f"delete from inbox where id in ('{ids[2]}', '{ids[5]}')")
    assert await ask("feed", "missing") == (1, "".join(f"{events[0].type}  {ids[n]}\n" for n in (2, 5)) + "2 missing\n")
    assert await reconciler(enrolment, payments).catch_up("payments") == 0, "the position is past them"
    status, printed = await ask("feed", "list")
    assert status == 0
    assert printed.startswith("payments  ")
    assert await ask("feed", "reset", "catalogue") == (0, "0 to be read from the beginning\n")
    assert await ask("feed", "reset", "payments") == (0, "1 to be read from the beginning\n")
    await reconciler(enrolment, payments).catch_up("payments")
    assert [await enrolment.effects(event) for event in events] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert await ask("feed", "missing") == (0, "0 missing\n")


async def test_what_waits_or_is_dead_lettered_is_not_missing_and_the_old_may_have_been_forgotten(payments, enrolment):
    await payments.announce(*(refund_of() for _ in range(4)))
    bodies = [str(row[0]).encode() for row in await payments.all("select body from outbox order by position")]
    await enrolment.receiver.suspect_poison([bodies[0]], "in a test")
    async with enrolment.database.transaction() as session:
        await dead_letter(session, bodies[1], "handler_failed", "in a test")
    old = UUID(int=(int((time.time() - 91 * 86400) * 1000) << 80) | new_id().int & ((1 << 80) - 1))
    async with payments.database.messaging.begin() as connection:
        await connection.exec_driver_sql(
            f"update outbox set id = '{old}', body = replace(body, id::text, '{old}') where position = 4"
        )
    feeds = {"payments": Local(payments)}
    listed = [one async for one in missing.missing(enrolment.database, enrolment.receiver.inbox, feeds)]
    found = [one for one in listed if isinstance(one, missing.Missing)]
    assert found == listed
    assert [(str(one.id) in bodies[2].decode(), one.id == old, one.forgotten) for one in found] == [
        (True, False, False),
        (False, True, True),
    ]


NESTED = '{"a":' * 100_000 + "1" + "}" * 100_000


def with_member(**members) -> str:
    return json.dumps(json.loads(body_of(refund_of())) | members)


UNREADABLE = [
    "not json",
    NESTED,
    "xxx",
    "7",
    "[]",
    "{}",
    *(with_member(id=value) for value in (None, 7, "7", ["x"], {})),
    *(with_member(source=value) for value in (None, 7, "/services/a\0b", "/services/enrolment", ["x"], {"a": []})),
    *(with_member(type=value) for value in (None, 7, ["x"], {"a": []})),
    with_member(specversion="\ud800\n\x1b[2J"),
]


async def test_what_is_no_event_is_listed_as_unreadable_and_ends_no_listing(
    payments, enrolment, monkeypatch, capsys, tmp_path
):
    of_no_year = with_member(id="ffffffff-ffff-7fff-bfff-ffffffffffff")
    odd_type = with_member(type="\ud800\n\x1b[2J")
    event = refund_of()
    async with payments.database.driver() as driver:
        for body in [*UNREADABLE, of_no_year, odd_type]:
            await driver.execute(
                "insert into outbox (id, type, partition_key, body) values (gen_random_uuid(), $1, 'x', $2)",
                event.type,
                body,
            )
    await payments.announce(event)
    status, printed = await command(monkeypatch, capsys, enrolment, payments, tmp_path, "feed", "missing")
    assert status == 1
    lines = printed.splitlines()
    assert [line.startswith("unreadable: payments, entry ") for line in lines].count(True) == len(UNREADABLE)
    assert all(line.isprintable() for line in lines)
    assert lines[-2:] == ["3 missing", f"{len(UNREADABLE)} unreadable"]
    assert await payments.one("select id::text from outbox order by position desc limit 1") in lines[-3]
    stored = "select encode(sha256(convert_to(body, 'UTF8')), 'hex') from outbox order by position"
    for (digest,), line in zip(await payments.all(stored), lines[: len(UNREADABLE)], strict=False):
        assert digest in line


async def test_no_odd_row_ends_a_listing_or_takes_more_than_its_line(
    payments, enrolment, monkeypatch, capsys, tmp_path
):
    odd = "a\nb\x1b[2J\u2028é\ud800"
    async with enrolment.database.transaction() as session:
        for body in (b"not json", NESTED.encode(), with_member(type=odd, source={"a": odd}).encode()):
            await dead_letter(session, body, "malformed", odd)
    async with enrolment.database.driver() as driver:
        await driver.execute(
            "insert into set_aside_rows (job, row_key, failures, first_failed_at, failed_at, due_at, last_error)"
            " values ('a_job', $1, 1, now(), now(), now(), $1)",
            odd[:-1],
        )
        await driver.execute(
            "insert into letters (letter_id, kind, about, recipient, subject, text, failed_at, last_error)"
            " values (gen_random_uuid(), 'a kind', 'x', 'a@example.org', 'x', 'x', now(), $1)",
            odd[:-1],
        )
        await driver.execute("create table outbox_rest partition of outbox default")
    try:
        # The last line of the first three says how many there are.
        for what, rows in (("dead-letters", 3 + 1), ("set-aside", 1 + 1), ("emails", 1 + 1), ("outbox", None)):
            written = io.BytesIO()
            terminal = io.TextIOWrapper(written, "ascii")
            monkeypatch.setattr(sys, "stdout", terminal)
            status, _ = await command(monkeypatch, capsys, enrolment, payments, tmp_path, what, "list")
            terminal.flush()
            lines = written.getvalue().decode("ascii").splitlines()
            assert status == 0
            assert len(lines) == (rows or await enrolment.one(PARTS))
            assert all(line.isprintable() for line in lines), lines
        assert any(line.startswith("outbox_rest  to no end") for line in lines)
        with pytest.raises(event_log.StillKept):
            async with enrolment.database.transaction() as session:
                await event_log.detach(session, "outbox_rest", kept_years=1)
    finally:
        async with enrolment.database.driver() as driver:
            await driver.execute("drop table outbox_rest")


PARTS = "select count(*) from pg_inherits where inhparent = cast('outbox' as regclass)"


async def test_what_its_source_has_lost_is_listed_by_page_and_by_who_was_named(
    payments, enrolment, monkeypatch, capsys, tmp_path
):
    events = [refund_of() for _ in range(5)]
    await payments.announce(*events)
    ids = [str(row[0]) for row in await payments.all("select id from outbox order by position")]
    await reconciler(enrolment, payments).catch_up("payments")
    monkeypatch.setattr(missing, "MOST_IDS", 2)

    async def ask(*arguments):
        return await command(monkeypatch, capsys, enrolment, payments, tmp_path, "feed", "lost", *arguments)

    assert await ask() == (0, "0 lost\n")
    async with payments.database.messaging.begin() as connection:  # as after a copy was put back
        await connection.exec_driver_sql(f"delete from outbox where id in ('{ids[1]}', '{ids[4]}')")
    async with enrolment.database.messaging.begin() as connection:  # as the previous release took it in
        await connection.exec_driver_sql(f"update inbox set subject = null where id = '{ids[1]}'")
    status, printed = await ask("payments")
    assert status == 1
    assert [line.split("  ")[:3] for line in printed.splitlines()] == [
        [events[4].type, ids[4], f"about {events[4].aggregate_id}"],
        [events[1].type, ids[1], "about None"],
        ["2 lost"],
    ]
    assert await ask("catalog") == (1, "")


async def test_the_owner_of_a_log_is_asked_over_http_by_services_alone(payments):
    await payments.announce(refund_of())
    known, gone = await payments.one("select id from outbox"), new_id()
    app = FastAPI()
    app.include_router(feed.router)
    app.state.database, app.state.feed_secret = payments.database, "secret"
    app.add_exception_handler(Unauthenticated, lambda *_: Response(status_code=401))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        owner = feed.HttpFeed("http://payments", "secret", client, "enrolment")
        assert await owner.lacking([known, gone]) == [gone]
        with pytest.raises(feed.FeedAway, match="422"):
            await owner.lacking([gone] * (feed.MOST_IDS + 1))
        with pytest.raises(feed.FeedAway, match="401"):
            await feed.HttpFeed("http://payments", "guessed", client, "enrolment").lacking([gone])
        with pytest.raises(feed.FeedAway, match="404"):  # a release that cannot be asked so
            await feed.HttpFeed("http://payments/before", "secret", client, "enrolment").lacking([gone])
