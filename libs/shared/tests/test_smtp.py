"""The address of a mail server, read in one way, and what is said to the server that stands there."""

import asyncio
import base64
import contextlib
from email.message import EmailMessage

import pytest

from shared import smtp
from shared.smtp import Smtp, SmtpMailer, Trouble, Unsent

from .processes import service_of

SECRETS = {
    "smtp://host": Smtp("host", 25, None, None, tls=False),
    "smtp://host:1025": Smtp("host", 1025, None, None, tls=False),
    "smtps://host": Smtp("host", 465, None, None, tls=True),
    "smtps://host:2465/": Smtp("host", 2465, None, None, tls=True),
    "smtp://[::1]:25": Smtp("::1", 25, None, None, tls=False),
    "smtp://ops%40example.com:p%2Fw%3A%23@host": Smtp("host", 25, "ops@example.com", "p/w:#", tls=False),
    "smtps://d%C3%B6rte:%20+%25@host": Smtp("host", 465, "dörte", " +%", tls=True),
}


@pytest.mark.parametrize("url", SECRETS)
def test_the_address_of_a_mail_server_says_all_of_it(url):
    assert Smtp.parse(url) == SECRETS[url]


@pytest.mark.parametrize(
    "url",
    ["host:25", "http://host", "smtp://", "smtp://:25", "smtp://host:x", "smtp://host:99999", "smtp://user:p/w@host",
     "smtp://host?tls=1", "smtp://host/path", "smtp://u:s#x@host", "smtp://[::1", ""],
)  # fmt: skip
def test_what_is_no_address_of_a_mail_server_stops_the_start_and_is_not_printed(url):
    with pytest.raises(ValueError, match="mail server") as refused:
        service_of("payments", "postgresql+asyncpg://nobody@nowhere/none", smtp_url=url)
    assert "p/w" not in str(refused.value)


class Server:
    """Says what a mail server says, or what it was set to say at a step (None: it hangs up; "": nothing at all), and
    notes what it receives."""

    def __init__(self, **said):
        self.said, self.received, self.emails, self.at = said, [], 0, ""

    async def say(self, writer, step, usual):
        said = self.said.get(step, usual)
        if said is None:
            writer.close()
            raise ConnectionResetError
        if said:
            writer.write(said.encode() + b"\r\n")

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self.say(writer, "greeting", "220 here")
            while line := await reader.readline():
                self.received.append(line.decode().rstrip())
                match line.split()[0].upper():
                    case b"EHLO" | b"HELO":
                        await self.say(writer, "ehlo", "250-here\r\n250 AUTH PLAIN")
                    case b"AUTH":
                        await self.say(writer, "auth", "235 welcome")
                    case b"MAIL":
                        await self.say(writer, "mail", "250 fine")
                    case b"RCPT":
                        await self.say(writer, "rcpt", "250 fine")
                    case b"DATA":
                        await self.say(writer, "data", "354 go on")
                        if self.said.get("data", "354").startswith(("4", "5")):
                            continue
                        self.received.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                        self.emails += 1
                        await self.say(writer, "taken", "250 taken")
                    case b"QUIT":
                        await self.say(writer, "quit", "221 bye")
                    case _:
                        await self.say(writer, "else", "500 what")
        writer.close()


@contextlib.asynccontextmanager
async def mail_server(**said):
    """One that listens."""
    server = Server(**said)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        server.at = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


def message(to="ann@example.org"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "no-reply@example.org", to, "Thank you"
    message.set_content("Dear Ann")
    return message


async def test_who_we_are_is_said_as_it_is_meant():
    async with mail_server() as server:
        await SmtpMailer(f"smtp://ops%40example.com:p%2Fw@{server.at}").send(message())
    (credentials,) = (line.split()[2] for line in server.received if line.startswith("AUTH PLAIN"))
    assert base64.b64decode(credentials) == b"\0ops@example.com\0p/w"
    assert any("Dear Ann" in one for one in server.received)


ODD = {
    "nothing": "",
    "closed": None,
    "no reply": "\xff\x00 hm",
    "421": "421 closing",
    "451": "451 later",
    "554": "554 no",
}
S, D, R, U = Trouble.SERVER, Trouble.DELAYED, Trouble.REFUSED, Trouble.UNCERTAIN
TROUBLES = {
    "greeting": {"nothing": S, "closed": S, "no reply": S, "421": S, "451": S, "554": S},
    "ehlo": {"nothing": S, "closed": S, "no reply": S, "421": S, "451": S, "554": S},
    "auth": {"nothing": S, "closed": S, "no reply": S, "421": S, "451": S, "554": S},
    "mail": dict.fromkeys(ODD, D),
    "rcpt": {"nothing": D, "closed": D, "no reply": D, "421": D, "451": D, "554": R},
    "data": {"nothing": U, "closed": U, "no reply": U, "421": D, "451": D, "554": R},
    "taken": {"nothing": U, "closed": U, "no reply": U, "421": D, "451": D, "554": R},
    "quit": dict.fromkeys(ODD),
}


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize("step", TROUBLES)
async def test_whose_a_failure_is_tells_the_step_at_which_it_came(step, said, monkeypatch):
    """One e-mail at which the server breaks off is no outage; one it has whole is not given to it for ever."""
    monkeypatch.setattr(smtp, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.3)
    async with mail_server(**{step: ODD[said]}) as server, asyncio.timeout(10):
        mailer = SmtpMailer(f"smtp://ops:secret@{server.at}")
        expected = TROUBLES[step][said]
        if expected is None:
            await mailer.send(message())
            return
        with pytest.raises(Unsent) as unsent:
            await mailer.send(message())
        assert unsent.value.trouble is expected, unsent.value.__cause__


async def test_a_server_that_takes_its_time_over_an_email_gets_it_once(monkeypatch):
    monkeypatch.setattr(smtp, "STEP_SECONDS", 0.1)
    async with mail_server() as server:
        say = server.say

        async def late(writer, step, usual):
            await asyncio.sleep(0.5 if step == "taken" else 0)
            await say(writer, step, usual)

        server.say = late
        await SmtpMailer(f"smtp://{server.at}").send(message())
        assert server.emails == 1


async def test_an_address_that_the_server_does_not_know_how_to_write_is_that_emails_fault():
    async with mail_server() as server:
        with pytest.raises(Unsent) as unsent:
            await SmtpMailer(f"smtp://{server.at}").send(message("\u00e4nn@example.org"))
        assert unsent.value.trouble is Trouble.REFUSED
        await SmtpMailer(f"smtp://{server.at}").send(message())
        assert server.emails == 1
