"""Contact addresses: a new one is used, and badges name the first one, once the code sent to it has been entered."""

from datetime import timedelta
from hmac import compare_digest
from uuid import UUID

from sqlalchemy import ColumnElement, and_
from sqlalchemy.ext.asyncio import AsyncSession

from enrolment.domain import learners, particulars
from enrolment.tables import ContactChange, Learner
from shared.database import now
from shared.digests import Digests
from shared.emails import enqueue_email
from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id
from shared.messaging import publish
from shared.messaging.tables import QueuedEmail
from shared.sessions import keep_despite_error

_DAY = timedelta(days=1)
_ASKED, _CHANGED = "confirm_contact", "contact_changed"


async def send_first_code(session: AsyncSession, learner_id: UUID, email: str, digests: Digests) -> None:
    """Send a code to the address that was given at registration."""
    await _send_code(session, learner_id, None, email, digests, until_then=_NOT_NAMED)


async def ask_to_confirm(session: AsyncSession, learner: Learner, email: str, digests: Digests) -> None:
    """Send a code to a new address; where it is the one in use, give up another that waits for its code. Raises
    TooManyConfirmations."""
    change = await session.get(ContactChange, learner.learner_id, with_for_update={"key_share": True})
    if email != learner.contact_email:
        await _send_code(session, learner.learner_id, change, email, digests, until_then=_OLD_IS_USED)
    elif change is not None and change.contact_email not in {None, email}:
        change.contact_email = change.code_digest = None


async def send_code_again(session: AsyncSession, learner_id: UUID, digests: Digests) -> None:
    """Send another code to the address that waits. Raises NotRegistered, NoAddressToConfirm, TooManyConfirmations."""
    learner = await _present(session, learner_id)
    change = await session.get(ContactChange, learner_id, with_for_update={"key_share": True})
    waits = None if change is None else change.contact_email
    if waits is not None and waits != learner.contact_email:
        await _send_code(session, learner_id, change, waits, digests, until_then=_OLD_IS_USED)
    elif learner.contact_confirmed_at is None:
        await _send_code(session, learner_id, change, learner.contact_email, digests, until_then=_NOT_NAMED)
    else:
        raise particulars.NoAddressToConfirm("your contact address is confirmed")


async def confirm_contact(session: AsyncSession, learner_id: UUID, code: str, digests: Digests) -> None:
    """Use the address that waits from now on, as its code was entered. Raises NotRegistered, NoAddressToConfirm,
    WrongConfirmationCode."""
    at, policy = now(session), particulars.policy()
    learner = await _present(session, learner_id)
    change = await session.get(ContactChange, learner_id, with_for_update={"key_share": True})
    if (
        change is None
        or change.contact_email is None
        or change.code_digest is None
        or not timedelta() <= at - change.asked_at < policy.confirmation_holds
    ):
        raise particulars.NoAddressToConfirm("no address waits for its code")
    if not compare_digest(change.code_digest, _digest(digests, learner_id, change.contact_email, code)):
        change.tries += 1
        if change.tries >= policy.tries_a_code:
            change.code_digest = None
        await keep_despite_error(session)  # the count of tries
        raise particulars.WrongConfirmationCode("this is not the code that was sent to the address")
    former, learner.contact_email = learner.contact_email, change.contact_email
    learner.contact_confirmed_at = at
    change.contact_email = change.code_digest = None
    learner.contact_version += 1
    publish(
        session, LearnerContactChanged(learner_id=learner_id, contact_version=learner.contact_version, changed_at=at)
    )
    if former == learner.contact_email:
        return
    await enqueue_email(
        session,
        kind=_CHANGED,
        about=f"{learner_id} {learner.contact_version}",
        to=former,
        subject="Your contact address was changed",
        body="From now on we write to another address. If this was not you, write to the address below at once.\n",
    )


def emails_about(learner_id: UUID) -> ColumnElement[bool]:
    """Select the e-mails that this module has queued, also to addresses that were given up or are no longer used."""
    return and_(QueuedEmail.kind.in_((_ASKED, _CHANGED)), QueuedEmail.about.startswith(f"{learner_id} "))


_OLD_IS_USED = "your old address is used"
_NOT_NAMED = "badges do not name this address"


async def _present(session: AsyncSession, learner_id: UUID) -> Learner:
    learner = await session.get(Learner, learner_id, with_for_update={"key_share": True}, populate_existing=True)
    if learner is None or learner.anonymised_at is not None:
        raise learners.NotRegistered("this account has not registered as a learner")
    return learner


async def _send_code(
    session: AsyncSession,
    learner_id: UUID,
    change: ContactChange | None,
    email: str,
    digests: Digests,
    *,
    until_then: str,
) -> None:
    at, policy = now(session), particulars.policy()
    if change is None:
        change = ContactChange(learner_id=learner_id, emails=0, counted_since=at)
        session.add(change)
    elif not timedelta() <= at - change.counted_since < _DAY:
        change.emails, change.counted_since = 0, at
    if change.emails >= policy.emails_a_day:
        wait = _DAY - (at - change.counted_since)
        raise particulars.TooManyConfirmations(
            "so many codes were sent today; go on tomorrow", headers={"Retry-After": str(int(wait.total_seconds()) + 1)}
        )
    code = particulars.new_code()
    change.contact_email, change.asked_at = email, at
    change.emails, change.tries = change.emails + 1, 0
    change.code_digest = _digest(digests, learner_id, email, code)
    await enqueue_email(
        session,
        kind=_ASKED,
        about=f"{learner_id} {new_id()}",
        to=email,
        subject="Confirm your address",
        body=(
            f"Enter this code to confirm your address: {code}\n\n"
            f"It holds for {int(policy.confirmation_holds.total_seconds() // 3600)} hours. Until it is entered, "
            f"{until_then}. If you did not ask for this, do nothing.\n"
        ),
    )


def _digest(digests: Digests, learner_id: UUID, email: str, code: str) -> bytes:
    return digests.of(f"contact {learner_id} {email}\n".encode(), particulars.as_typed(code))
