"""Letters: one per fact, written with it, tried again, failed where everybody sees."""

import asyncio
import email
from email.policy import default

import aiosmtplib
import pytest
from sqlalchemy import text
from stations import eventually

from shared import mail
from shared.mail import FolderMailer, Postman, write_letter


async def write(station, about="order 1", *, kind="payment-confirmed", subject="Thank you", to="ann@example.org"):
    async with station.database.transaction() as session:
        await write_letter(session, kind=kind, about=about, to=to, subject=subject, body="Dear Änn,\n…")


def postman(station, mailer):
    return Postman(station.database, mailer, "Microcredentials <no-reply@example.org>", "payments")


class Mailer:
    """Fails as often as it is told, and keeps what it has sent."""

    def __init__(self, *failures):
        self.failures, self.sent = list(failures), []

    async def send(self, message):
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


async def hurry(station):
    async with station.database.messaging.begin() as connection:
        await connection.execute(text("update letters set due_at = now() where sent_at is null"))


async def test_a_letter_per_fact_however_often_it_is_written(payments):
    await asyncio.gather(*(write(payments) for _ in range(10)))
    await write(payments, "order 2")
    await write(payments, kind="refund")
    mailer = Mailer()
    while await postman(payments, mailer).send_one():
        pass
    assert len(mailer.sent) == 3
    assert len({message["Message-ID"] for message in mailer.sent}) == 3


async def test_no_letter_of_what_was_rolled_back(payments):
    with pytest.raises(ZeroDivisionError):
        async with payments.database.transaction() as session:
            await write_letter(session, kind="k", about="a", to="ann@example.org", subject="s", body="b")
            raise ZeroDivisionError
    assert not await postman(payments, Mailer()).send_one()


async def test_postmen_at_once_send_each_letter_once(payments):
    for n in range(10):
        await write(payments, f"order {n}")
    mailer = Mailer()

    async def work():
        while await postman(payments, mailer).send_one():
            pass

    await asyncio.gather(*(work() for _ in range(3)))
    assert len(mailer.sent) == 10


@pytest.mark.parametrize("failure", [OSError("no route"), aiosmtplib.SMTPServerDisconnected("gone"), TimeoutError()])
async def test_a_letter_that_could_not_be_sent_is_tried_again_later(payments, failure):
    await write(payments)
    mailer = Mailer(failure, failure)
    worker = postman(payments, mailer)
    assert await worker.send_one()
    assert not await worker.send_one()  # not at once
    assert await payments.one("select last_error from letters") == repr(failure)
    for _ in range(2):
        await hurry(payments)
        await worker.send_one()
    assert len(mailer.sent) == 1
    assert await payments.all("select attempts, last_error from letters where sent_at is not null") == [(3, None)]


async def test_a_letter_that_can_never_be_sent_fails_visibly_and_the_others_go(payments):
    await write(payments)
    mailer = Mailer(*[OSError("refused")] * mail.MOST_ATTEMPTS)
    worker = postman(payments, mailer)
    for _ in range(mail.MOST_ATTEMPTS):
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


@pytest.mark.parametrize(
    "bad", [{"subject": "two\nlines"}, {"to": "ann@example.org\r\nBcc: eve@example.org"}], ids=["subject", "recipient"]
)
async def test_a_line_break_in_a_header_fails_that_letter_alone(payments, bad):
    await write(payments, "order 1", **bad)
    await write(payments, "order 2")
    mailer = Mailer()
    task = asyncio.create_task(postman(payments, mailer).run(every_seconds=0.02))

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
async def test_an_address_that_is_none_fails_its_letter_and_the_postman_goes_on(payments, to):
    """Written by a release that took it at the door. It once ended the process, and each one after it."""
    await write(payments, "order 1", to=to)
    await write(payments, "order 2")
    mailer = Mailer()
    while await postman(payments, mailer).send_one():
        pass
    (sent,) = mailer.sent
    assert sent["To"] == "ann@example.org"


@pytest.mark.parametrize("failure", [AttributeError("no"), TypeError("no"), RuntimeError("no"), KeyError("no")])
async def test_no_failure_of_one_letter_ends_the_postman(payments, failure):
    await write(payments, "order 1")
    await write(payments, "order 2")
    mailer = Mailer(failure)
    while await postman(payments, mailer).send_one():
        pass
    assert len(mailer.sent) == 1


async def test_a_postman_who_dies_with_the_letter_leaves_it_to_the_next(payments):
    await write(payments)

    class Died(BaseException):
        pass

    with pytest.raises(Died):
        await postman(payments, Mailer(Died())).send_one()
    mailer = Mailer()
    assert not await postman(payments, mailer).send_one()  # his lease runs
    await hurry(payments)
    assert await postman(payments, mailer).send_one()
    assert len(mailer.sent) == 1


async def test_a_folder_holds_letters_a_person_can_open(payments, tmp_path):
    await write(payments, subject="Thänk you", to="ann/.x/x@example.org")
    assert await postman(payments, FolderMailer(tmp_path / "post")).send_one()
    (letter,) = (tmp_path / "post").iterdir()
    message = email.message_from_bytes(letter.read_bytes(), policy=default)
    assert message["Subject"] == "Thänk you"
    assert "Änn" in message.get_content()
