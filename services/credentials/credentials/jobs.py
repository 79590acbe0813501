"""Door 3: what we do when time passes."""

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

from prometheus_client import Gauge

from credentials import queries
from credentials.adapters.notary import Notary
from credentials.adapters.sealing import Sealer
from credentials.adapters.webhooks import Courier
from credentials.commands import awards, issuing, keys, letters, people, reports, status_lists, transfers, webhooks
from shared import orphans
from shared.crashes import crash_point
from shared.jobs import FIRST_HOUR, Jobs, Work
from shared.messaging import feed
from shared.messaging.epochs import same_epoch
from shared.messaging.message import read
from shared.registers import MOST_KEYS, PersonEntry, Registers

jobs = Jobs()

log = logging.getLogger(__name__)

badges_waiting = Gauge("badges_waiting", "Badges that cannot be signed yet, by what they wait for", ["known"])

_BATCH = 200
_WEBHOOKS_AT_ONCE = 20
_LONG_WAIT = timedelta(minutes=15)


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
    """Badges are signed apart from the ledger: in batches, and by the one part that can open the signing keys."""
    notary = work.resource(Notary)
    while True:
        async with work.database.transaction() as session:
            waiting = await queries.due_badges(session, _BATCH)
            signers = await keys.signers(session, notary) if waiting else None
        if signers is None:
            return
        signed = await asyncio.to_thread(issuing.sign_badges, waiting, notary, signers, work.now())
        async with work.database.transaction() as session:
            await issuing.store_badges(session, signed, notary, signers, work.now())


@jobs.every(10)
async def sign_anew(work: Work) -> None:
    """After a key was struck out, or a clock put right: have signed anew what carries its signature, or its time."""
    more = True
    while more:
        async with work.database.transaction() as session:
            more = await keys.order_signing_anew(session, work.resource(Notary)) > 0
    more = True
    while more:
        async with work.database.transaction() as session:
            more = await issuing.order_what_was_signed_ahead(session) > 0


@jobs.every(15)
async def publish_status_lists(work: Work) -> None:
    """A revocation is visible within a minute: this often, and lists are cached for half a minute."""
    notary, now = work.resource(Notary), work.now()
    async with work.database.transaction() as session:
        outdated = await status_lists.outdated_lists(session, notary, now)
        signers = await keys.signers(session, notary) if outdated else None
    if signers is None:
        return
    signed = await asyncio.to_thread(status_lists.sign_lists, outdated, notary, signers, now)
    async with work.database.transaction() as session:
        await status_lists.publish_lists(session, signed, now)


@jobs.every(60)
async def watch_waiting_badges(work: Work) -> None:
    """A badge waits for its course and its holder to be known here: a moment, or else somebody should look."""
    async with work.database.transaction() as session:
        waiting = await queries.waiting_badges(session)
    badges_waiting.labels("course").set(waiting.for_course)
    badges_waiting.labels("holder").set(waiting.for_holder)
    if waiting.since is not None and work.now() - waiting.since > _LONG_WAIT:
        log.warning(
            "badges wait to be signed",
            extra={"for_course": waiting.for_course, "for_holder": waiting.for_holder, "since": waiting.since},
        )


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
        # That there is nothing to tell is found out at once, from wherever: it need not be written down each second.
        if not page.bodies and same_epoch(page.cursor, position):
            return
        async with work.database.transaction() as session:
            for body in page.bodies:
                message = read(body.encode())
                await webhooks.tell_partners(session, message.id, message.event)
            await webhooks.move_on(session, page.cursor)
        if not page.bodies:
            return


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


@jobs.every(2)
async def report_on_regulations(work: Work) -> None:
    """Some learners a transaction: a report that is broken off goes on where it was."""
    while True:
        async with work.database.transaction() as session:
            if not await reports.go_on_with_report(session, limit=_BATCH):
                return


@jobs.every(60)
async def end_overdue_transfers(work: Work) -> None:
    """Requests nobody decided, and acceptances that have run out: one learner a transaction."""
    while True:
        async with work.database.transaction() as session:
            if not await transfers.end_overdue(session):
                return


@jobs.every(3600)
async def claim_store(work: Work) -> None:
    await orphans.claim_store(work, queries.known_evidence)


@jobs.every(3600, first_after=FIRST_HOUR)
async def remove_orphans(work: Work) -> None:
    """Stored evidence that no application names: uploads refused at their end, repeated, or cut off."""
    await orphans.remove_orphans(work, queries.known_evidence)
