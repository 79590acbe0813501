"""Another contact address: it is used once its code has come back, for badges are made out to it."""

from datetime import timedelta
from hmac import compare_digest
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from enrolment.domain import learners, particulars
from enrolment.tables import ContactChange, Learner
from shared.database import now
from shared.digests import Digests
from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id
from shared.mail import write_letter
from shared.messaging import publish

_DAY = timedelta(days=1)


async def ask_to_confirm(session: AsyncSession, learner: Learner, email: str, digests: Digests) -> None:
    """Send a code to the new address; the address in use gives up another that waits. Raises TooManyConfirmations."""
    at, policy = now(session), particulars.policy()
    change = await session.get(ContactChange, learner.learner_id, with_for_update=True)
    if email == learner.contact_email:
        if change is not None:
            change.contact_email = change.code_digest = None
        return
    if change is None:
        change = ContactChange(learner_id=learner.learner_id, letters=0, counted_since=at)
        session.add(change)
    elif change.counted_since + _DAY <= at:
        change.letters, change.counted_since = 0, at
    if change.letters >= policy.letters_a_day:
        wait = change.counted_since + _DAY - at
        raise particulars.TooManyConfirmations(
            "so many codes were sent today; go on tomorrow", headers={"Retry-After": str(int(wait.total_seconds()) + 1)}
        )
    code = particulars.new_code()
    change.contact_email, change.asked_at, change.letters = email, at, change.letters + 1
    change.code_digest = _digest(digests, learner.learner_id, email, code)
    await write_letter(
        session,
        kind="confirm_contact",
        about=new_id(),
        to=email,
        subject="Confirm your new address",
        body=(
            f"Enter this code where you changed your address: {code}\n\n"
            f"It holds for {int(policy.confirmation_holds.total_seconds() // 3600)} hours. Until then your old address "
            "is used. If you did not ask for this, do nothing.\n"
        ),
    )


async def confirm_contact(session: AsyncSession, learner_id: UUID, code: str, digests: Digests) -> None:
    """Use the new address from now on. Raises NotRegistered, NoAddressToConfirm, WrongConfirmationCode."""
    at = now(session)
    learner = await session.get(Learner, learner_id, with_for_update=True)
    if learner is None:
        raise learners.NotRegistered("this account has not registered as a learner")
    change = await session.get(ContactChange, learner_id, with_for_update=True)
    if (
        change is None
        or change.contact_email is None
        or change.code_digest is None
        or change.asked_at + particulars.policy().confirmation_holds <= at
    ):
        raise particulars.NoAddressToConfirm("no new address waits for its code")
    if not compare_digest(change.code_digest, _digest(digests, learner_id, change.contact_email, code)):
        raise particulars.WrongConfirmationCode("this is not the code that was sent to the new address")
    former, learner.contact_email = learner.contact_email, change.contact_email
    change.contact_email = change.code_digest = None
    learner.contact_version += 1
    publish(
        session, LearnerContactChanged(learner_id=learner_id, contact_version=learner.contact_version, changed_at=at)
    )
    await write_letter(
        session,
        kind="contact_changed",
        about=f"{learner_id} {learner.contact_version}",
        to=former,
        subject="Your contact address was changed",
        body="From now on we write to another address. If this was not you, write to the registrar's office at once.\n",
    )


def _digest(digests: Digests, learner_id: UUID, email: str, code: str) -> bytes:
    return digests.of(f"contact {learner_id} {email}\n".encode(), particulars.as_typed(code))
