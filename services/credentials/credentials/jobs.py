"""Door 3: what we do when time passes."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from prometheus_client import Gauge
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries
from credentials.adapters.notary import Notary
from credentials.adapters.sealing import Sealer
from credentials.adapters.webhooks import Courier
from credentials.commands import (
    awards,
    issuing,
    keys,
    letters,
    people,
    reports,
    standing,
    status_lists,
    transfers,
    webhooks,
)
from credentials.domain.webhooks import Answer
from credentials.tables import StatusList
from shared import orphans, store_owner
from shared.crashes import crash_point
from shared.due_rows import (
    for_batches,
    for_each,
    for_each_in_transaction,
    forget,
    is_the_row,
    set_aside,
)
from shared.jobs import ENDS, REMOVES, Jobs, Work
from shared.messaging import feed
from shared.messaging.epochs import same_epoch
from shared.messaging.message import read
from shared.messaging.tables import Outgoing, SetAside
from shared.registers import MOST_KEYS, PersonEntry, Registers

jobs = Jobs()

log = logging.getLogger(__name__)

badges_waiting = Gauge("badges_waiting", "Badges that cannot be signed yet, by what they wait for", ["known"])

_BATCH = 200
_TOLD, _SENT = "tell_partners", "send_webhooks"
_WEBHOOKS_AT_ONCE = 20
_LONG_WAIT = timedelta(minutes=15)


async def _read_some(work: Work, learner_ids: Sequence[UUID]) -> None:
    for entry in await work.resource(Registers).read(PersonEntry, learner_ids):
        async with work.database.transaction() as session:  # one learner's turn at a time, as lapse_claims
            await people.store_person(session, entry)


@jobs.every(2)
async def read_people(work: Work) -> None:
    """Names and addresses that changed, from enrolment's register. Nothing is held open while enrolment is asked."""
    await for_batches(work, "read_people", queries.outdated_people(), partial(_read_some, work), batch=MOST_KEYS)


@jobs.every(60)
async def read_confirmations(work: Work) -> None:
    """Whether an address is confirmed, where that was not told with it."""
    await for_batches(work, "read_confirmations", queries.untold_people(), partial(_read_some, work), batch=MOST_KEYS)


@jobs.every(1)
async def sign_badges(work: Work) -> None:
    """Badges are signed apart from the ledger: in batches, and by the one part that can open the signing keys."""
    notary = work.resource(Notary)

    async def sign(badge_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            waiting = await queries.badges_to_sign(session, badge_ids)
            signers = await keys.signers(session, notary)
        signed = await asyncio.to_thread(issuing.sign_badges, waiting, notary, signers, work.now())
        async with work.database.transaction() as session:
            await issuing.store_badges(session, signed, notary, signers, work.now())

    await for_batches(work, "sign_badges", queries.due_badges(), sign, batch=_BATCH)


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

    async def publish(number: int) -> None:
        async with work.database.transaction() as session:
            mine = await status_lists.read_outdated(session, number, notary, now)
        signed = await asyncio.to_thread(status_lists.sign_list, mine, notary, signers, now)
        async with work.database.transaction() as session:
            await status_lists.publish_list(session, signed, now)

    lists = select(StatusList.number).where(StatusList.number.in_(outdated))
    await for_each(work, "publish_status_lists", lists.order_by(StatusList.number), publish)


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
    """Letters go out once the register has told the learner's address; those to learners who were erased never do."""

    async def post(notice_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            await letters.post_notices(session, notice_ids)

    await for_batches(work, "post_notices", letters.due_notices(), post, batch=_BATCH)


@jobs.every(2)
async def derive_renamed(work: Work) -> None:
    """Whoever holds credit of a renamed subject may claim titles of its new name: one learner a transaction."""
    if await work.database.finds("select from subject_names where holders_due limit 1"):
        await for_each_in_transaction(work, "note_renamed", queries.renamed_subjects(work.now()), standing.note_holders)
    if await work.database.finds("select from due_derivations limit 1"):
        await for_each_in_transaction(work, "derive_renamed", queries.due_derivations(), standing.derive_due)


@jobs.every(30, effect=ENDS)
async def lapse_claims(work: Work) -> None:
    """One learner a transaction: holding turns on several at once could lock up with a message about them."""
    await for_each_in_transaction(work, "lapse_claims", queries.lapsing_learners(work.now()), awards.lapse_claims)


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
        try:
            async with work.database.transaction() as session:
                for body in page.bodies:
                    await _tell(session, body)
                await webhooks.move_on(session, page.cursor)
        except Exception as error:
            if not is_the_row(error):
                raise
            await _tell_one_by_one(work, page)
        if not page.bodies:
            return


async def _tell(session: AsyncSession, body: str) -> None:
    message = read(body.encode())
    await webhooks.tell_partners(session, message.id, message.event)


async def _tell_one_by_one(work: Work, page: feed.FeedPage) -> None:
    """Go past an event that cannot be told; `tell_partners_again` comes back to it."""
    for event_id, body in zip(page.ids, page.bodies, strict=True):
        try:
            async with work.database.transaction() as session:
                await _tell(session, body)
        except Exception as error:
            if not is_the_row(error):
                raise
            await set_aside(work, _TOLD, event_id, error)  # the row's own key: the body may be no event at all
    async with work.database.transaction() as session:
        await webhooks.move_on(session, page.cursor)


@jobs.every(30)
async def tell_partners_again(work: Work) -> None:
    """Events that could not be told when they were read."""

    async def tell(session: AsyncSession, row_key: str) -> None:
        body = await session.scalar(select(Outgoing.body).where(Outgoing.id == UUID(row_key)))
        if body is not None:  # else its part of the log was taken away
            await _tell(session, body)

    failed = select(SetAside.row_key).where(SetAside.job == _TOLD).order_by(SetAside.first_failed_at)
    await for_each_in_transaction(work, _TOLD, failed, tell)


@jobs.every(1)
async def send_webhooks(work: Work) -> None:
    """Nothing is held open while partners are asked."""
    courier, began = work.resource(Courier), work.now()
    while True:
        async with work.database.transaction() as session:
            taken = await webhooks.take_due(session, work.resource(Sealer), limit=_WEBHOOKS_AT_ONCE)
        if not taken:
            break
        for one in taken:
            if isinstance(one, webhooks.Unsendable):
                await set_aside(work, _SENT, one.delivery_id, one.error)
        parcels = [one for one in taken if isinstance(one, webhooks.Parcel)]
        crash_point("webhooks_taken")
        answers = await asyncio.gather(*(_post(work, courier, one) for one in parcels))
        crash_point("webhooks_posted")
        for parcel, answer in zip(parcels, answers, strict=True):
            await _note(work, parcel, answer)
    if await work.database.finds(f"select from set_aside_rows where job = '{_SENT}' limit 1"):
        await forget(work, _SENT, began)


async def _post(work: Work, courier: Courier, parcel: webhooks.Parcel) -> Answer:
    """One that cannot even be tried keeps no other from going out, and counts as a try of its own."""
    try:
        return await courier.post(parcel.url, parcel.headers, parcel.body)
    except Exception as error:
        if not is_the_row(error):
            raise
        await set_aside(work, _SENT, parcel.delivery_id, error)
        return Answer(None, "", f"not sent: {type(error).__name__}", 0)


async def _note(work: Work, parcel: webhooks.Parcel, answer: Answer) -> None:
    try:
        async with work.database.transaction() as session:
            await webhooks.note_answer(session, parcel.delivery_id, answer)
    except Exception as error:
        if not is_the_row(error):
            raise
        await set_aside(work, _SENT, parcel.delivery_id, error)


@jobs.every(2)
async def report_on_regulations(work: Work) -> None:
    """Some learners a transaction: a report that is broken off goes on where it was."""

    async def go_on(report_id: UUID) -> None:
        more = True
        while more:
            async with work.database.transaction() as session:
                more = await reports.go_on_with_report(session, report_id, limit=_BATCH)

    await for_each(work, "report_on_regulations", queries.unfinished_reports(), go_on)


@jobs.every(60, effect=ENDS)
async def end_overdue_transfers(work: Work) -> None:
    """Requests nobody decided, and acceptances that have run out: one learner a transaction."""
    due = queries.overdue_transfers(work.now())
    await for_each_in_transaction(work, "end_overdue_transfers", due, transfers.end_overdue)


@jobs.every(60, in_each_process=True)
async def claim_store(work: Work) -> None:
    await store_owner.claim_store(work)


@jobs.every(3600, effect=REMOVES)
async def remove_orphans(work: Work) -> None:
    """Stored evidence that no application names: uploads refused at their end, repeated, or cut off."""
    await orphans.remove_orphans(work)


@jobs.every(60, effect=REMOVES)
async def retry_orphans(work: Work) -> None:
    await orphans.retry_orphans(work)
