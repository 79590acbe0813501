"""E-mails: one per fact, written with it, tried again, failed where everybody sees."""

import asyncio
import email
from email.policy import default
from email.utils import parsedate_to_datetime

import pytest
from sqlalchemy import text

from shared import emails
from shared.emails import EmailSender, FolderMailer, MailServerAway, enqueue_email
from shared.messaging.inprocess import InProcessBus
from shared.messaging.relay import Relay
from shared.smtp import LONGEST_SECONDS, Trouble, Unsent

from .delivery import refund_of
from .messaging_nodes import eventually


async def write(node, about="order 1", *, kind="payment-confirmed", subject="Thank you", to="ann@example.org"):
    async with node.database.transaction() as session:
        await enqueue_email(session, kind=kind, about=about, to=to, subject=subject, body="Dear Änn,\n…")


def email_sender(node, mailer):
    return EmailSender(
        node.database,
        mailer,
        "Microcredentials <no-reply@example.org>",
        "payments",
        contact="help@example.org",
        home="https://learn.example",
    )


class Mailer:
    """Fails as often as it is set to, and keeps what it has sent."""

    def __init__(self, *failures):
        self.failures, self.sent = list(failures), []

    async def send(self, message):
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


async def hurry(node):
    async with node.database.messaging.begin() as connection:
        await connection.execute(text("update letters set due_at = now() where sent_at is null"))


async def test_an_email_per_fact_however_often_it_is_written(payments):
    await asyncio.gather(*(write(payments) for _ in range(10)))
    await write(payments, "order 2")
    await write(payments, kind="refund")
    mailer = Mailer()
    while await email_sender(payments, mailer).send_one():
        pass
    assert len(mailer.sent) == 3
    assert len({message["Message-ID"] for message in mailer.sent}) == 3
    written = {parsedate_to_datetime(message["Date"]) for message in mailer.sent}  # RFC 5322, 3.6: there must be one
    known = await payments.all("select date_trunc('second', created_at) from letters")
    assert written == {row[0] for row in known}
    assert await payments.all("select distinct text from letters") == [("",)]


async def test_every_email_says_where_to_ask_and_appeal(payments):
    await write(payments)
    mailer = Mailer()
    await email_sender(payments, mailer).send_one()
    [message] = mailer.sent
    text = message.get_content()
    assert message["Reply-To"] == "help@example.org"
    assert text.startswith("Dear Änn,\n…\n\n-- \n")
    assert "appeal against a decision, answer this e-mail or write to help@example.org" in text
    assert text.endswith("https://learn.example\n")


async def test_no_email_of_what_was_rolled_back(payments):
    with pytest.raises(ZeroDivisionError):
        async with payments.database.transaction() as session:
            await enqueue_email(session, kind="k", about="a", to="ann@example.org", subject="s", body="b")
            raise ZeroDivisionError
    assert not await email_sender(payments, Mailer()).send_one()


async def test_email_senders_at_once_send_each_email_once(payments):
    for n in range(10):
        await write(payments, f"order {n}")
    mailer = Mailer()

    async def work():
        while await email_sender(payments, mailer).send_one():
            pass

    await asyncio.gather(*(work() for _ in range(3)))
    assert len(mailer.sent) == 10


@pytest.mark.parametrize("failure", [OSError("no route"), Unsent(Trouble.SERVER)])
async def test_while_the_mail_server_is_away_emails_wait_however_long(payments, failure):
    await write(payments)
    mailer = Mailer(*[failure] * 100)
    worker = email_sender(payments, mailer)
    for _ in range(100):
        await hurry(payments)
        with pytest.raises(MailServerAway):
            await worker.send_one()
    assert not await worker.send_one()  # not at once
    assert await payments.all("select last_error, failed_at from letters") == [(repr(failure), None)]
    await hurry(payments)
    assert await worker.send_one()
    assert len(mailer.sent) == 1
    assert await payments.all("select attempts, last_error from letters where sent_at is not null") == [(1, None)]


async def test_an_outage_of_the_mail_server_is_asked_about_seldom_and_ends_for_all_emails(payments):
    for n in range(5):
        await write(payments, f"order {n}")
    mailer = Mailer(*[OSError("no route")] * 4)
    task = asyncio.create_task(email_sender(payments, mailer).run(every_seconds=0.02))
    await asyncio.sleep(0.1)

    async def all_sent():
        assert not task.done(), task
        await hurry(payments)
        return len(mailer.sent) == 5

    await eventually(all_sent)
    task.cancel()
    await asyncio.wait({task})


async def test_an_email_that_is_to_come_later_is_tried_for_days(payments):
    await write(payments)
    mailer = Mailer(*[Unsent(Trouble.DELAYED)] * emails.MOST_DELAYS)
    worker = email_sender(payments, mailer)
    for _ in range(20):
        await hurry(payments)
        assert await worker.send_one()
    longest = "extract(epoch from max(due_at) - now())"
    assert await payments.all(
        f"select {longest} < {emails.LONGEST_WAIT.total_seconds() + 1}, min(failed_at) from letters"
    ) == [(True, None)]
    async with payments.database.messaging.begin() as connection:
        await connection.execute(text(f"update letters set due_at = now(), attempts = {emails.MOST_DELAYS - 1}"))
    assert await worker.send_one()
    assert await payments.one("select count(*) from letters where failed_at is not null") == 1


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.UNCERTAIN])
async def test_an_email_that_can_never_be_sent_fails_visibly_and_the_others_go(payments, trouble):
    """And one that may have been sent is not sent again for ever."""
    await write(payments)
    mailer = Mailer(*[Unsent(trouble)] * emails.MOST_ATTEMPTS)
    worker = email_sender(payments, mailer)
    for _ in range(emails.MOST_ATTEMPTS):
        await hurry(payments)
        assert await worker.send_one()
    await hurry(payments)
    assert not await worker.send_one()
    assert (
        await payments.one("select count(*) from letters where failed_at is not null and last_error is not null") == 1
    )
    await write(payments, "order 2")
    assert await worker.send_one()
    assert len(mailer.sent) == 1
    async with payments.database.transaction() as session:
        assert list(await emails.measure_emails(session))[::2] == [0, 1]
        (failed,) = await emails.list_unsent(session)
        await emails.resend(session, failed.email_id)
    assert await worker.send_one()
    assert len(mailer.sent) == 2


async def test_what_was_sent_or_is_blank_is_not_sent_again(payments):
    await write(payments)
    async with payments.database.transaction() as session:
        (email_id,) = (await session.execute(text("select letter_id from letters"))).one()
        with pytest.raises(emails.NotFailed):
            await emails.resend(session, email_id)
        await session.execute(text("update letters set failed_at = now(), recipient = ''"))
        session.expire_all()
        with pytest.raises(emails.NotKept):
            await emails.resend(session, email_id)
        assert await emails.list_unsent(session) == []


async def test_unsent_emails_are_counted_with_the_age_of_the_oldest(payments):
    for n in range(3):
        await write(payments, f"order {n}")
    async with payments.database.transaction() as session:
        await session.execute(
            text("update letters set created_at = now() - interval '2 hours' where about = 'order 1'")
        )
        unsent, oldest, failed = await emails.measure_emails(session)
    assert (unsent, failed) == (3, 0)
    assert 7200 <= oldest < 7300


async def test_who_is_stopped_in_the_middle_of_an_email_finishes_it(payments):
    await write(payments)
    begun, end, sent = asyncio.Event(), asyncio.Event(), []

    class Slow:
        async def send(self, message):
            begun.set()
            await end.wait()
            sent.append(message)

    task = asyncio.create_task(email_sender(payments, Slow()).run())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0.1)
    end.set()
    await asyncio.wait({task})
    assert len(sent) == 1
    assert await payments.one("select count(*) from letters where sent_at is not null") == 1


async def test_a_mail_server_that_never_comes_to_an_end_keeps_no_email_longer_than_its_lease(payments, monkeypatch):
    monkeypatch.setattr(emails, "SEND_SECONDS", 0.1)
    await write(payments)

    class Tarpit:
        async def send(self, message):
            await asyncio.Event().wait()

    assert await email_sender(payments, Tarpit()).send_one()
    assert await payments.all("select attempts, sent_at from letters") == [(1, None)]  # it may have been taken


def test_an_email_is_leased_for_longer_than_its_sending_may_take():
    assert LONGEST_SECONDS < emails.SEND_SECONDS < emails.LEASE.total_seconds()


@pytest.mark.parametrize(
    "bad", [{"subject": "two\nlines"}, {"to": "ann@example.org\r\nBcc: eve@example.org"}], ids=["subject", "recipient"]
)
async def test_a_line_break_in_a_header_fails_that_email_alone(payments, bad):
    await write(payments, "order 1", **bad)
    await write(payments, "order 2")
    mailer = Mailer()
    task = asyncio.create_task(email_sender(payments, mailer).run(every_seconds=0.02))

    async def other_sent():
        assert not task.done(), task
        return len(mailer.sent) == 1

    await eventually(other_sent)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await payments.one("select last_error from letters where about = 'order 1'")


@pytest.mark.parametrize(
    "to", ["ada@[example.org", ".:@example.com", "=?utf-8?q??=@example.com", "me@example.org,boss"]
)
async def test_an_address_that_is_none_fails_its_email_and_the_email_sender_goes_on(payments, to):
    """Written by a release that took it at the door. It once ended the process, and each one after it."""
    await write(payments, "order 1", to=to)
    await write(payments, "order 2")
    mailer = Mailer()
    while await email_sender(payments, mailer).send_one():
        pass
    (sent,) = mailer.sent
    assert sent["To"] == "ann@example.org"


@pytest.mark.parametrize("failure", [AttributeError("no"), TypeError("no"), RuntimeError("no"), KeyError("no")])
async def test_no_failure_of_one_email_ends_the_email_sender(payments, failure):
    await write(payments, "order 1")
    await write(payments, "order 2")
    mailer = Mailer(failure)
    while await email_sender(payments, mailer).send_one():
        pass
    assert len(mailer.sent) == 1


async def test_an_email_sender_that_dies_with_the_email_leaves_it_to_the_next(payments):
    await write(payments)

    class Died(BaseException):
        pass

    with pytest.raises(Died):
        await email_sender(payments, Mailer(Died())).send_one()
    mailer = Mailer()
    assert not await email_sender(payments, mailer).send_one()  # his lease runs
    await hurry(payments)
    assert await email_sender(payments, mailer).send_one()
    assert len(mailer.sent) == 1


async def test_a_folder_holds_emails_a_person_can_open(payments, tmp_path):
    await write(payments, subject="Thänk you", to="ann/.x/x@example.org")
    assert await email_sender(payments, FolderMailer(tmp_path / "post")).send_one()
    (file,) = (tmp_path / "post").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=default)
    assert message["Subject"] == "Thänk you"
    assert "Änn" in message.get_content()


async def test_a_link_in_a_folders_email_is_on_one_line(payments, tmp_path):
    link = f"https://learn.example/receipts/{'0193e7a4-5b5c/' * 8}?order_id=1"
    async with payments.database.transaction() as session:
        await enqueue_email(
            session, kind="k", about="1", to="ann@example.org", subject="s", body=f"Dear Änn,\n{link}\n"
        )
    assert await email_sender(payments, FolderMailer(tmp_path)).send_one()
    (file,) = tmp_path.iterdir()
    assert link in file.read_text(encoding="utf-8").splitlines()


async def test_an_email_from_no_year_keeps_no_other_waiting(payments):
    """And a row that an operator wrote by hand is sent like any other."""
    await write(payments)
    await write(payments, "order 2")
    async with payments.database.messaging.begin() as connection:
        await connection.execute(text("update letters set created_at = '12000-01-01' where about = 'order 1'"))
    mailer = Mailer()
    while await email_sender(payments, mailer).send_one():
        pass
    assert len(mailer.sent) == 2


async def test_an_address_longer_than_a_file_name_is_written_to_all_the_same(payments, tmp_path):
    await write(payments, to=f"{'a' * 242}@example.org")
    await write(payments, "order 2")
    worker = email_sender(payments, FolderMailer(tmp_path))
    while await worker.send_one():
        pass
    assert len([*tmp_path.glob("*.eml")]) == 2


async def test_a_domain_beyond_ascii_is_written_as_every_mail_server_knows_it(payments):
    await write(payments, to="ann@b\u00fccher.example")
    mailer = Mailer()
    assert await email_sender(payments, mailer).send_one()
    assert mailer.sent[0]["To"] == "ann@xn--bcher-kva.example"


async def test_a_count_that_cannot_grow_keeps_no_email_and_no_event_waiting(payments, nodes):
    await write(payments)
    await payments.announce(event := refund_of())
    async with payments.database.messaging.begin() as connection:
        for table in ("letters", "outbox"):
            await connection.execute(text(f"update {table} set attempts = 2147483647"))
    mailer = Mailer()
    assert await email_sender(payments, mailer).send_one()
    bus = InProcessBus()
    for name in ("enrolment", "credentials"):
        bus.subscribe(nodes[name].receiver)
    relaying = asyncio.create_task(Relay("payments", payments.database, bus).run())

    async def arrived():
        return await nodes["enrolment"].effects(event) == 1

    await eventually(arrived)
    relaying.cancel()
    await asyncio.wait([relaying])
