"""E-mails: written in the transaction of the fact they are about, sent afterwards, one per fact.

While the mail server is away they wait, however long; gauges show how many, and since when. An e-mail that the server
refuses fails after some tries, and a person sees it: `python -m <service> emails list`.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import and_, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared import liveness
from shared.addresses import routable
from shared.database import Database, fetch
from shared.errors import Conflict
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail
from shared.outages import note_outage
from shared.smtp import LONGEST_SECONDS, Trouble, trouble_of

log = logging.getLogger(__name__)

MOST_ATTEMPTS: Final = 8
"""How often an e-mail that is refused is tried."""
LONGEST_WAIT: Final = timedelta(seconds=5 * 2**MOST_ATTEMPTS)
"""The longest pause between two tries."""
MOST_DELAYS: Final = timedelta(days=5) // LONGEST_WAIT
"""How often an e-mail that the server delays is tried: for as long as mail servers try, RFC 5321 §4.5.4.1."""
SEND_SECONDS: Final = LONGEST_SECONDS + 20.0
"""Limit for sending one e-mail, whatever the mailer's own limits."""
LEASE: Final = timedelta(minutes=5)
"""How long an e-mail that is being sent is one sender's alone: longer than that may take, or another sends it, too."""
_MOST: Final = {
    Trouble.SERVER: None,
    Trouble.DELAYED: MOST_DELAYS,
    Trouble.REFUSED: MOST_ATTEMPTS,
    Trouble.UNCERTAIN: MOST_ATTEMPTS,
}
FINISH_SECONDS: Final = 8.0
"""How long the e-mail under way may still take when the process ends."""
LONGEST_NAME: Final = 200
"""Characters of an e-mail's file name: an address may be longer than a folder takes."""
LONGEST_PAUSE: Final = 60.0
"""The longest pause between two looks whether the mail server is back."""


async def enqueue_email(session: AsyncSession, *, kind: str, about: object, to: str, subject: str, body: str) -> None:
    """Write an e-mail to send in this transaction, unless there is one of the same kind about the same thing."""
    await session.execute(
        insert(QueuedEmail)
        .values(email_id=new_id(), kind=kind, about=str(about), recipient=to, subject=subject, text=body)
        .on_conflict_do_nothing(index_elements=["kind", "about"])
    )


class Mailer(Protocol):
    """Sends e-mails: an SMTP server, or a stand-in that keeps them."""

    async def send(self, message: EmailMessage) -> None:
        """Send a message within `LONGEST_SECONDS`; `trouble_of` says what an error that is raised means."""
        ...


class FolderMailer:
    """The mailer of embedded mode: it writes each e-mail into a file that a person can open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def send(self, message: EmailMessage) -> None:
        name = re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{message['Message-ID']}_{message['To']}").strip("_")[:LONGEST_NAME]
        # Lines stay whole, and with them the links: no server is on the way that takes 7 bits only.
        message.set_content(message.get_content(), cte="8bit")
        await asyncio.to_thread(self._write, name, bytes(message))

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.eml").write_bytes(content)


_WHITHER = """

--\x20
To ask, to complain or to appeal against a decision, answer this e-mail or write to {contact}: name the decision and say
why you think it is wrong. This comes from {home}
"""
_DUE = "select from letters where sent_at is null and failed_at is null and due_at <= now() limit 1"


class MailServerAway(Exception):
    """No e-mail can be sent now."""


class EmailSender:
    """Sends the e-mails that are due. A crash between sending and marking may send one twice, under one Message-ID.

    Each e-mail says where questions and appeals go: `contact` is an e-mail address, `home` the platform's URL.
    """

    def __init__(
        self, database: Database, mailer: Mailer, sender: str, service: str, *, contact: str, home: str
    ) -> None:
        self.database, self.mailer, self.sender, self.service = database, mailer, sender, service
        self.contact, self.home = contact, home

    async def run(self, *, every_seconds: float = 1.0) -> None:
        """Send the e-mails that are due, for ever."""
        pause = every_seconds
        while True:
            liveness.beat(pause)
            try:
                if await self.database.finds(_DUE):
                    liveness.beat(LONGEST_SECONDS)
                    while await self.send_one():
                        pause = every_seconds
                        liveness.beat(LONGEST_SECONDS)
            except MailServerAway as away:
                log.warning(
                    "the mail server is away",
                    extra={"error": _described(away.__cause__)},
                )
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - logged by note_outage
                note_outage(log, error)
            await asyncio.sleep(pause)

    async def send_one(self) -> bool:
        """Send the e-mail that is due longest; return False where none is.

        One that is refused is tried again, and marked as failed in the end. A cancelled sender finishes the e-mail
        under way first. Raises MailServerAway: no e-mail can be sent now, and this one waits.
        """
        email = await self._take()
        if email is None:
            return False
        delivering = asyncio.create_task(self._deliver(email))
        try:
            await asyncio.shield(delivering)
        except asyncio.CancelledError:
            await asyncio.wait({delivering}, timeout=FINISH_SECONDS)
            delivering.cancel()
            raise
        return True

    async def _take(self) -> QueuedEmail | None:
        async with self.database.transaction() as session:
            email = (
                await session.execute(
                    select(QueuedEmail)
                    .where(
                        QueuedEmail.sent_at.is_(None),
                        QueuedEmail.failed_at.is_(None),
                        QueuedEmail.due_at <= text("now()"),
                    )
                    .order_by(QueuedEmail.due_at)
                    .limit(1)
                    .with_for_update(skip_locked=True, key_share=True)
                )
            ).scalar_one_or_none()
            if email is not None:
                # The lease: another e-mail sender takes it only when this one must have died.
                await session.execute(_LEASE, {"id": email.email_id, "lease": LEASE})
            return email

    async def _deliver(self, email: QueuedEmail) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self.mailer.send(self._message(email))
        except Exception as error:  # it concerns this e-mail or the server: all other e-mails go on
            trouble = trouble_of(error)
            await self._failed(email, error, trouble)
            if trouble is Trouble.SERVER:
                raise MailServerAway from error
            log.warning("email not sent", extra={"email": str(email.email_id), "error": _described(error)})
            return
        async with self.database.transaction() as session:
            await session.execute(_SENT, {"id": email.email_id})

    def _message(self, email: QueuedEmail) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, routable(email.recipient), email.subject
        message["Date"] = format_datetime(email.created_at)
        message["Message-ID"] = f"<{email.email_id}@{self.service}.microcredentials>"
        message["Reply-To"] = self.contact
        message.set_content(email.text.rstrip("\n") + _WHITHER.format(contact=self.contact, home=self.home))
        return message

    async def _failed(self, email: QueuedEmail, error: Exception, trouble: Trouble) -> None:
        most = _MOST[trouble]
        counted = 0 if trouble is Trouble.SERVER else 1
        values = {
            "id": email.email_id,
            "error": _described(error),
            "most": most,
            "counted": counted,
            "steps": MOST_ATTEMPTS,
        }
        async with self.database.transaction() as session:
            await session.execute(_FAILED, values)


def _described(error: BaseException | None) -> str:
    """Return the error's cause in words, or the error itself where it has none."""
    return repr((error and error.__cause__) or error)


_LEASE = text(
    "update letters set due_at = now() + :lease, attempts = least(attempts, 1000000) + 1 where letter_id = :id"
)
_SENT = text("update letters set sent_at = now(), last_error = null, text = '' where letter_id = :id")
"""Blanks the text as well: some e-mails hold a code, and nobody reads them here again."""
_FAILED = text("""
    update letters set last_error = :error, attempts = attempts - 1 + :counted,
        due_at = now() + case when :counted = 0 then interval '10 seconds'
            else power(2, least(attempts, :steps)) * interval '5 seconds' end,
        failed_at = case when attempts >= cast(:most as integer) then now() end
    where letter_id = :id
""")


class NotKept(Conflict):
    """The text of an e-mail is no longer stored, so it cannot be sent; its reader is informed in another way."""


class NotFailed(Conflict):
    """The e-mail was sent, or waits to be."""


async def list_unsent(session: AsyncSession, most: int = 1000) -> Sequence[QueuedEmail]:
    """Return the e-mails that failed and are not blank yet, and those that wait after a failed try; oldest first."""
    failed = QueuedEmail.failed_at.is_not(None), QueuedEmail.recipient != ""
    waiting = QueuedEmail.sent_at.is_(None), QueuedEmail.failed_at.is_(None), QueuedEmail.last_error.is_not(None)
    found = select(QueuedEmail).where(or_(and_(*failed), and_(*waiting))).order_by(QueuedEmail.created_at).limit(most)
    return (await session.scalars(found)).all()


async def resend(session: AsyncSession, email_id: UUID) -> None:
    """Make an e-mail that failed due again, with all its tries.

    Raises Unknown: there is none; NotFailed: it was sent, or waits to be; NotKept: it is blank by now.
    """
    email = await fetch(session, QueuedEmail, email_id, lock=True)
    if email.failed_at is None:
        raise NotFailed(f"e-mail {email_id} has not failed")
    if not email.recipient:
        raise NotKept(f"e-mail {email_id} is blank by now")
    email.failed_at, email.attempts = None, 0
    await session.execute(text("update letters set due_at = now() where letter_id = :id"), {"id": email_id})


async def measure_emails(session: AsyncSession) -> Sequence[float]:
    """Return how many e-mails are unsent, the age of the oldest in seconds, and how many have failed.

    Nothing beyond MOST_COUNTED is counted.
    """
    return [float(value) for value in (await session.execute(_MEASURE)).one()]


MOST_COUNTED: Final = 10_000
_MEASURE = text(f"""
    with unsent as materialized (
        select created_at from letters where sent_at is null and failed_at is null order by due_at limit {MOST_COUNTED}
    )
    select (select count(*) from unsent),
        coalesce((select extract(epoch from now() - min(created_at)) from unsent), 0),
        (select count(*) from (
            select from letters where failed_at is not null and recipient <> '' limit {MOST_COUNTED}
        ) as failed)
""")  # noqa: S608 - constants of this module
