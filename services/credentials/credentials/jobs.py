"""Door 3: what we do when time passes."""

import asyncio
from uuid import UUID

from credentials import queries
from credentials.adapters.notary import Notary
from credentials.adapters.sealing import Sealer
from credentials.adapters.webhooks import Courier
from credentials.commands import awards, issuing, letters, people, webhooks
from shared.crashes import crash_point
from shared.jobs import Jobs, Work
from shared.messaging import feed
from shared.messaging.message import read
from shared.registers import MOST_KEYS, PersonEntry, Registers

jobs = Jobs()

_BATCH = 200
_WEBHOOKS_AT_ONCE = 20


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


@jobs.every(1)
async def tell_partners(work: Work) -> None:
    """Webhooks are one more reader of our own event log: what is committed there is told, whatever happens between."""
    while True:
        async with work.database.transaction() as session:
            position = await webhooks.position(session)
        page = await feed.read_page(work.database, webhooks.TOLD_TYPES, position, limit=_BATCH)
        if not page.bodies:
            return
        async with work.database.transaction() as session:
            for body in page.bodies:
                message = read(body.encode())
                await webhooks.tell_partners(session, message.id, message.event)
            await webhooks.move_on(session, page.cursor)


@jobs.every(1)
async def send_webhooks(work: Work) -> None:
    """Nothing is held open while partners are asked."""
    courier = work.resource(Courier)
    while True:
        async with work.database.transaction() as session:
            parcels = await webhooks.take_due(session, work.resource(Sealer), limit=_WEBHOOKS_AT_ONCE)
        if not parcels:
            return
        crash_point("webhooks_taken")
        answers = await asyncio.gather(*(courier.post(one.url, one.headers, one.body) for one in parcels))
        crash_point("webhooks_posted")
        for parcel, answer in zip(parcels, answers, strict=True):
            async with work.database.transaction() as session:
                await webhooks.note_answer(session, parcel.delivery_id, answer)
