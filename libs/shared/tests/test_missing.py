"""What a person does about a feed, at the command line."""

import asyncio
import sys
import time
from uuid import UUID

import pytest

from shared import cli
from shared.ids import new_id
from shared.messaging import missing
from shared.messaging.dead_lettering import dead_letter
from shared.process import Process

from .delivery import refund_of
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
    found = [one async for one in missing.missing(enrolment.database, enrolment.receiver.inbox, feeds)]
    assert [(str(one.id) in bodies[2].decode(), one.id == old, one.forgotten) for one in found] == [
        (True, False, False),
        (False, True, True),
    ]
