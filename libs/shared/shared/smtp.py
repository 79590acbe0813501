"""The mail server: reading its address, sending a message through it, and what its errors mean."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

STEP_SECONDS: Final = 10.0
"""Limit for each step until the server has accepted the connection and the login, of which there are three or four."""
ANSWER_SECONDS: Final = 60.0
"""Limit for each answer about the sender, the recipient and the e-mail, of which the server may look through all before
it answers (RFC 5321 §4.5.3.2)."""
LONGEST_SECONDS: Final = 4 * STEP_SECONDS + 3 * ANSWER_SECONDS + STEP_SECONDS
"""Limit for sending one e-mail."""
_PORTS: Final = {"smtp": 25, "smtps": 465}
_NEVER: Final = 500


class Trouble(Enum):
    """Why an e-mail was not sent, and so how often it is tried again."""

    SERVER = auto()
    """The mail server is away, or refuses us: no e-mail can be sent."""
    DELAYED = auto()
    """The server may take this e-mail later: the mailbox is full, or it does not know the sender yet."""
    REFUSED = auto()
    """The server refuses this e-mail, or no message can be made of it."""
    UNCERTAIN = auto()
    """The server was given the whole e-mail and did not answer: it may have taken it, so few more tries are made."""


class Unsent(Exception):
    """The e-mail was not sent, or it is not known whether it was."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.name.lower())
        self.trouble = trouble


@dataclass(frozen=True)
class Smtp:
    """A mail server's address, `smtp://user:password@host:port`; `smtps` is TLS from the beginning."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str) -> "Smtp":
        """Parse a mail server's address; user and password are percent-encoded, as in every URL.

        Raises ValueError: it is none. The message does not repeat the address, which may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError("this is not the address of a mail server") from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a mail server is smtp://host:port or smtps://user:password@host, and nothing behind it")
        return cls(
            parts.hostname,
            port if port is not None else _PORTS[parts.scheme],
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
            parts.scheme == "smtps",
        )


class SmtpMailer:
    """The mailer that sends through an SMTP server."""

    def __init__(self, url: str) -> None:
        self.server = Smtp.parse(url)

    async def send(self, message: EmailMessage) -> None:
        """Send a message, over a connection of its own.

        Raises Unsent: it was not sent, or that is not known.
        """
        server = self.server
        client = _Client(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.tls,
            timeout=STEP_SECONDS,
        )
        try:
            await client.connect()
        except Exception as error:
            client.close()
            raise Unsent(Trouble.SERVER) from error
        try:
            await client.send_message(message, timeout=ANSWER_SECONDS)
        except Exception as error:
            raise Unsent(_trouble_of(error, given=client.given)) from error
        finally:
            await _take_leave(client)


class _Client(aiosmtplib.SMTP):
    given = False
    """Whether the server was given a whole e-mail."""

    async def data(self, *message: Any, **options: Any) -> aiosmtplib.SMTPResponse:  # Any: its own signature
        self.given = True
        return await super().data(*message, **options)


async def _take_leave(client: aiosmtplib.SMTP) -> None:
    """Quit and close the connection, whatever the server answers: what became of the e-mail is known by now."""
    with suppress(OSError, aiosmtplib.SMTPException, ValueError):
        await client.quit(timeout=STEP_SECONDS)
    client.close()


def trouble_of(error: Exception) -> Trouble:
    """Return the trouble that an error of making or sending an e-mail means."""
    if isinstance(error, Unsent):
        return error.trouble
    if isinstance(error, TimeoutError):
        return Trouble.UNCERTAIN
    return Trouble.SERVER if isinstance(error, OSError) else Trouble.REFUSED  # raised while the message was made


def _trouble_of(error: Exception, *, given: bool) -> Trouble:
    """Return the trouble that an error means after the server has accepted the connection.

    It is never SERVER: the server may break off at one e-mail, or refuse its sender for its length and spelling, and
    take all others. `given` says whether it has the whole e-mail.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return _worst(one.code for one in error.recipients)
    if isinstance(error, aiosmtplib.SMTPDataError):
        return _worst([error.code])
    if isinstance(error, OSError | aiosmtplib.SMTPException) and not isinstance(error, aiosmtplib.SMTPNotSupported):
        return Trouble.UNCERTAIN if given else Trouble.DELAYED
    return Trouble.REFUSED


def _worst(codes: Iterable[int]) -> Trouble:
    return Trouble.REFUSED if max(codes, default=_NEVER) >= _NEVER else Trouble.DELAYED
