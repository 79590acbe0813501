"""Door 3: what we do when time passes."""

from uuid import UUID

from credentials import queries
from credentials.adapters.notary import Notary
from credentials.commands import awards, issuing, letters, people
from shared.jobs import Jobs, Work
from shared.registers import MOST_KEYS, PersonEntry, Registers

jobs = Jobs()

_BATCH = 200


@jobs.every(2)
async def read_people(work: Work) -> None:
    """Names and addresses that changed, from enrolment's register. Nothing is held open while enrolment is asked."""
    last: UUID | None = None
    while True:
        async with work.database.transaction() as session:
            wanted = await queries.outdated_people(session, last, MOST_KEYS)
        if not wanted:
            return
        for entry in await work.resource(Registers).read(PersonEntry, wanted):
            async with work.database.transaction() as session:  # one learner's turn at a time, as lapse_claims
                await people.store_person(session, entry)
        last = wanted[-1]


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


@jobs.every(2)
async def post_notices(work: Work) -> None:
    """Letters go out once the register has told the learner's address."""
    while True:
        async with work.database.transaction() as session:
            posted = await letters.post_notices(session, limit=_BATCH)
        if posted < _BATCH:
            return


@jobs.every(30)
async def lapse_claims(work: Work) -> None:
    """One learner a transaction: holding turns on several at once could lock up with a message about them."""
    while True:
        async with work.database.transaction() as session:
            if not await awards.lapse_claims(session):
                return
