"""The gateway's handlers of events."""

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.commands.accounts import erase_account
from shared.events.enrolment import LearnerAnonymised
from shared.messaging import Inbox

inbox = Inbox("gateway")


@inbox.on(LearnerAnonymised)
async def close_account(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Close and erase the account of an anonymised learner; the account id is the learner id."""
    await erase_account(session, anonymised.learner_id)
