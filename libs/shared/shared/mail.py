"""Letters: written in the transaction of the fact they tell of, sent afterwards, one per fact."""

import asyncio
import logging
import re
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiosmtplib
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.addresses import address_of
from shared.database import Database
from shared.ids import new_id
from shared.messaging.tables import Letter
from shared.outages import DATABASE_ERRORS, note_outage

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 8
LONGEST_WAIT = timedelta(seconds=5 * 2**MOST_ATTEMPTS)
"""Before the last try."""


async def write_letter(session: AsyncSession, *, kind: str, about: object, to: str, subject: str, body: str) -> None:
    """Post a letter with this transaction. A second letter of the same kind about the same thing is not written."""
    await session.execute(
        insert(Letter)
        .values(letter_id=new_id(), kind=kind, about=str(about), recipient=to, subject=subject, text=body)
        .on_conflict_do_nothing(index_elements=["kind", "about"])
    )


class Mailer(Protocol):
    async def send(self, message: EmailMessage) -> None: ...


class FolderMailer:
    """Embedded: each letter is a file a person can open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def send(self, message: EmailMessage) -> None:
        name = re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{message['Message-ID']}_{message['To']}").strip("_")
        await asyncio.to_thread(self._write, name, bytes(message))

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.eml").write_bytes(content)


class SmtpMailer:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "localhost", parts.port or 25
        self.username, self.password = parts.username, parts.password
        self.tls = parts.scheme == "smtps"

    async def send(self, message: EmailMessage) -> None:
        await aiosmtplib.send(
            message,
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.tls,
            timeout=10,
        )


_DUE = "select from letters where sent_at is null and failed_at is null and due_at <= now() limit 1"


class Postman:
    """Sends the letters that are due. A crash between sending and marking may send one twice, under one Message-ID."""

    def __init__(self, database: Database, mailer: Mailer, sender: str, service: str) -> None:
        self.database, self.mailer, self.sender, self.service = database, mailer, sender, service

    async def run(self, *, every_seconds: float = 1.0) -> None:
        while True:
            try:
                if await self.database.finds(_DUE):
                    while await self.send_one():
                        pass
            except DATABASE_ERRORS as error:
                note_outage(log, error)
            await asyncio.sleep(every_seconds)

    async def send_one(self) -> bool:
        """Send the letter due longest; False where none is. A letter that cannot be sent stays, marked as failed."""
        async with self.database.transaction() as session:
            letter = (
                await session.execute(
                    select(Letter)
                    .where(Letter.sent_at.is_(None), Letter.failed_at.is_(None), Letter.due_at <= text("now()"))
                    .order_by(Letter.due_at)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                )
            ).scalar_one_or_none()
            if letter is None:
                return False
            # The lease: another postman takes it only when this one must have died.
            await session.execute(
                text(
                    "update letters set due_at = now() + interval '1 minute', attempts = attempts + 1 "
                    "where letter_id = :id"
                ),
                {"id": letter.letter_id},
            )
        try:
            await self.mailer.send(self._message(letter))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this letter's: all others go on
            log.warning("letter not sent", extra={"letter": str(letter.letter_id), "error": repr(error)})
            await self._failed(letter, error)
            return True
        async with self.database.transaction() as session:
            await session.execute(
                text("update letters set sent_at = now(), last_error = null where letter_id = :id"),
                {"id": letter.letter_id},
            )
        return True

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, address_of(letter.recipient), letter.subject
        message["Message-ID"] = f"<{letter.letter_id}@{self.service}.microcredentials>"
        message.set_content(letter.text)
        return message

    async def _failed(self, letter: Letter, error: Exception) -> None:
        async with self.database.transaction() as session:
            await session.execute(
                text(
                    "update letters set last_error = :error, "
                    "due_at = now() + power(2, attempts) * interval '5 seconds', "
                    "failed_at = case when attempts >= :most then now() end where letter_id = :id"
                ),
                {"id": letter.letter_id, "error": repr(error), "most": MOST_ATTEMPTS},
            )
