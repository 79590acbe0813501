"""Credit whose money went back: held because of the facts, released by a person, or because the money is there
again."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.commands import emails
from credentials.commands.projection import rebuild
from credentials.domain import holds
from credentials.queries.holds import is_held
from credentials.tables.awards import CreditHold
from credentials.tables.facts import Credit
from shared.access import refuse_own
from shared.database import advisory_lock, fetch, now


async def note_refund(session: AsyncSession, learner_id: UUID, enrolment_id: UUID, by: str | None) -> None:
    """Note on the holds of an enrolment's credit that the money was refunded, and by whom.

    They had begun when the payment was lost; the money came again, and was then given back.
    """
    credit, hold = Credit, CreditHold
    its = select(credit.credit_id).where(credit.learner_id == learner_id, credit.enrolment_id == enrolment_id)
    held = update(hold).where(hold.learner_id == learner_id, hold.credit_id.in_(its), is_held())
    await session.execute(held.values(reason_code=holds.REFUNDED, refund_by=by))


async def release_credit(session: AsyncSession, credit_id: UUID, reason_code: str, by: UUID) -> CreditHold:
    """Let credit stand although its money went back; a review that was opened for it is closed.

    Raises Unknown, OwnCredit, OwnRefund, HoldEnded.
    """
    hold = await fetch(session, CreditHold, credit_id)
    refuse_own(session, holds.OwnCredit("somebody else must decide about your own credit"), hold.learner_id, by)
    await advisory_lock(session, "learner", hold.learner_id)
    hold = await fetch(session, CreditHold, credit_id, lock=True)
    if hold.refund_by == str(by):
        raise holds.OwnRefund("whoever gave the money back does not decide about the credit")
    if hold.released_at is not None:
        raise holds.HoldEnded(f"the hold has ended: {hold.release_reason}")
    hold.released_at, hold.released_by, hold.release_reason = now(session), str(by), reason_code
    await rebuild(session, hold.learner_id)
    await emails.email_credit_released(session, await fetch(session, Credit, credit_id), hold)
    return hold
