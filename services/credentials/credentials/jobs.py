"""Door 3: what we do when time passes."""

from credentials.adapters.notary import Notary
from credentials.commands import awards, issuing
from shared.jobs import Jobs, Work

jobs = Jobs()

_BATCH = 200


@jobs.every(1)
async def sign_badges(work: Work) -> None:
    """Badges are signed apart from the ledger: in batches, and by the one part that can open the signing key."""
    while True:
        async with work.database.transaction() as session:
            signed = await issuing.sign_waiting_badges(session, work.resource(Notary), work.now(), limit=_BATCH)
        if signed < _BATCH:
            return


@jobs.every(15)
async def publish_status_lists(work: Work) -> None:
    """A revocation is visible within a minute: this often, and lists are cached for half a minute."""
    async with work.database.transaction() as session:
        await issuing.publish_status_lists(session, work.resource(Notary), work.now())


@jobs.every(30)
async def lapse_claims(work: Work) -> None:
    """One learner a transaction: holding turns on several at once could lock up with a message about them."""
    while True:
        async with work.database.transaction() as session:
            if not await awards.lapse_claims(session):
                return
