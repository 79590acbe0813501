"""Jobs: what we do because time passed."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from prometheus_client import Gauge
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import awards, emails, issuing, keys, people, projection, reports, status_lists
from credentials.exchange.adapters.webhooks import WebhookClient
from credentials.exchange.commands import transfers, webhooks
from credentials.exchange.domain.webhooks import Answer
from credentials.exchange.queries.transfers import overdue_transfers
from credentials.queries.awards import awards_to_look_at, lapsing_learners
from credentials.queries.courses import courses_to_note, due_derivations, renamed_subjects
from credentials.queries.issued import badges_to_sign, due_badges, waiting_badges
from credentials.queries.people import outdated_people, unconfirmed_people, versions_known
from credentials.queries.reports import unfinished_reports
from credentials.tables.issued import StatusList
from shared import orphans, store_owner, stored_files
from shared.directory import MOST_KEYS, Directory, PersonEntry
from shared.due_rows import (
    failures_of,
    for_batches,
    for_each,
    for_each_in_transaction,
    forget,
    is_the_row,
    set_aside,
)
from shared.failpoints import failpoint
from shared.jobs import ENDS, REMOVES, Jobs, Work
from shared.messaging import feed
from shared.messaging.epochs import same_epoch
from shared.messaging.message import read
from shared.messaging.tables import Outgoing, SetAside
from shared.secret_box import SecretBox

jobs = Jobs()

log = logging.getLogger(__name__)

badges_waiting = Gauge("badges_waiting", "Badges that cannot be signed yet, by what they wait for", ["known"])

signing_keys_unreadable = Gauge(
    "signing_keys_unreadable", "The issuer's signing keys that this process's MC_WRAPPING_KEY does not open"
)

_BATCH = 200
_STANDS_AFTER = 5  # failures, by growing pauses: half an hour
_NOTIFIED, _SENT, _COMPARED = "notify_partners", "send_webhooks", "compare_learner"
_WEBHOOKS_AT_ONCE = 20
_LONG_WAIT = timedelta(minutes=15)


class OlderThanKnown(Exception):
    """Enrolment's directory has an older version of people than it had, or announced."""


async def _read_some(work: Work, job: str, learner_ids: Sequence[UUID]) -> None:
    """Raises OlderThanKnown: these people are set aside, and asked about after longer and longer pauses. What stands
    then is believed."""
    older: list[str] = []
    async with work.database.reads() as session:  # what is announced while enrolment is asked need not be in its answer
        known = await versions_known(session, learner_ids)
    for entry in await work.resource(Directory).read(PersonEntry, learner_ids):
        async with work.database.transaction() as session:  # one learner's lock at a time, as lapse_claims
            stands = await failures_of(session, job, entry.learner_id, like=OlderThanKnown) >= _STANDS_AFTER
            is_done = await people.store_person(session, entry, stands=stands)
        name_version, contact_version = known[entry.learner_id]
        if not is_done and (entry.name_version < name_version or entry.contact_version < contact_version):
            older.append(str(entry.learner_id))
    if older:
        raise OlderThanKnown(", ".join(older))


@jobs.every(2)
async def read_people(work: Work) -> None:
    """Read names and addresses that changed from enrolment's directory. No transaction is open while enrolment is
    asked."""
    await for_batches(work, "read_people", outdated_people(), partial(_read_some, work, "read_people"), batch=MOST_KEYS)


@jobs.every(60)
async def read_confirmations(work: Work) -> None:
    """Read whether an address is confirmed, where that was not known when it was read."""
    read = partial(_read_some, work, "read_confirmations")
    await for_batches(work, "read_confirmations", unconfirmed_people(), read, batch=MOST_KEYS)


@jobs.every(1)
async def sign_badges(work: Work) -> None:
    """Sign badges, in batches and apart from the ledger, since only this part opens the signing keys."""
    credential_issuer = work.resource(CredentialIssuer)

    async def sign(badge_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            waiting = await badges_to_sign(session, badge_ids)
            signers = await keys.signers(session, credential_issuer)
        signed = await asyncio.to_thread(issuing.sign_badges, waiting, credential_issuer, signers, work.now())
        async with work.database.transaction() as session:
            await issuing.store_badges(session, signed, credential_issuer, signers, work.now())

    await for_batches(work, "sign_badges", due_badges(), sign, batch=_BATCH)


@jobs.every(60, in_each_process=True)
async def watch_signing_keys(work: Work) -> None:
    """Say it at the start, and each minute, where the wrapping key does not open the keys that sign."""
    credential_issuer = work.resource(CredentialIssuer)
    async with work.database.transaction() as session:
        closed = await keys.unreadable_keys(session, credential_issuer)
    signing_keys_unreadable.set(len(closed))
    if closed:
        log.error(
            "MC_WRAPPING_KEY does not open the signing keys, and nothing is signed: put back the one that sealed them; "
            "where it is lost, strike each key out with PUT /v1/signing-keys/{name}/compromise",
            extra={"names": closed},
        )


@jobs.every(10)
async def sign_anew(work: Work) -> None:
    """Order anew what carries the signature of a key that was struck out, or the time of a clock that ran fast."""
    more = True
    while more:
        async with work.database.transaction() as session:
            more = await keys.order_signing_anew(session, work.resource(CredentialIssuer)) > 0
    more = True
    while more:
        async with work.database.transaction() as session:
            more = await issuing.order_what_was_signed_ahead(session) > 0


@jobs.every(15)
async def publish_status_lists(work: Work) -> None:
    """Publish status lists that are out of date.

    A revocation is visible within a minute: the job runs this often, and lists are cached for half a minute.
    """
    credential_issuer, now = work.resource(CredentialIssuer), work.now()
    async with work.database.transaction() as session:
        outdated = await status_lists.outdated_lists(session, credential_issuer, now)
        signers = await keys.signers(session, credential_issuer) if outdated else None
    if signers is None:
        return

    async def publish(number: int) -> None:
        async with work.database.transaction() as session:
            mine = await status_lists.read_outdated(session, number, credential_issuer, now)
        signed = await asyncio.to_thread(status_lists.sign_list, mine, credential_issuer, signers, now)
        async with work.database.transaction() as session:
            await status_lists.publish_list(session, signed, now)

    lists = select(StatusList.number).where(StatusList.number.in_(outdated))
    await for_each(work, "publish_status_lists", lists.order_by(StatusList.number), publish)


@jobs.every(60)
async def watch_waiting_badges(work: Work) -> None:
    """Warn of badges that have long waited for their course or holder, which usually become known within a moment."""
    async with work.database.transaction() as session:
        waiting = await waiting_badges(session)
    badges_waiting.labels("course").set(waiting.for_course)
    badges_waiting.labels("holder").set(waiting.for_holder)
    if waiting.since is not None and work.now() - waiting.since > _LONG_WAIT:
        log.warning(
            "badges wait to be signed",
            extra={"for_course": waiting.for_course, "for_holder": waiting.for_holder, "since": waiting.since},
        )


@jobs.every(2)
async def queue_emails(work: Work) -> None:
    """Queue e-mails to learners whose address is known by now; those to learners who were erased are dropped."""

    async def post(pending_ids: Sequence[UUID]) -> None:
        async with work.database.transaction() as session:
            await emails.queue_emails(session, pending_ids, work.resource(CredentialIssuer).url)

    await for_batches(work, "queue_emails", emails.due_emails(), post, batch=_BATCH)


@jobs.every(2)
async def derive_renamed(work: Work) -> None:
    """Derive learners anew whose subject has a new name, or whose course's institution became known after their credit.

    Each is a transaction of its own.
    """
    if await work.database.finds("select from subject_names where holders_due limit 1"):
        await for_each_in_transaction(work, "note_renamed", renamed_subjects(work.now()), projection.note_holders)
    if await work.database.finds("select from achievements where holders_due limit 1"):
        await for_each_in_transaction(work, "note_taught", courses_to_note(), projection.note_taught)
    if await work.database.finds("select from due_derivations limit 1"):
        await for_each_in_transaction(work, "derive_renamed", due_derivations(), projection.derive_due)


@jobs.every(60)
async def look_at_awards(work: Work) -> None:
    """Review awards of former releases that may stand on the same credit as another, each once."""
    if await work.database.finds("select from awards where not looked_at limit 1"):
        await for_each_in_transaction(work, "look_at_awards", awards_to_look_at(), projection.look_at)


@jobs.every(30, effect=ENDS)
async def lapse_claims(work: Work) -> None:
    """Lapse claims whose reservation ran out.

    Each learner is a transaction of their own: holding several advisory locks at once could deadlock with an event's
    handler.
    """
    await for_each_in_transaction(work, "lapse_claims", lapsing_learners(work.now()), awards.lapse_claims)


@jobs.every(1)
async def notify_partners(work: Work) -> None:
    """Order webhooks for the events in our own log, so that partners are notified of everything committed there."""
    while True:
        async with work.database.transaction() as session:
            position = await webhooks.position(session)
        page = await feed.read_page(work.database, webhooks.ANNOUNCED_TYPES, position, limit=_BATCH)
        # Where there is nothing new, the cursor is not stored each second: reading from the old one again is cheap.
        if not page.bodies and same_epoch(page.cursor, position):
            return
        try:
            async with work.database.transaction() as session:
                for body in page.bodies:
                    await _notify(session, body)
                await webhooks.move_on(session, page.cursor)
        except Exception as error:
            if not is_the_row(error):
                raise
            await _notify_one_by_one(work, page)
        if not page.bodies:
            return


async def _notify(session: AsyncSession, body: str) -> None:
    message = read(body.encode())
    await webhooks.notify_partners(session, message.id, message.event)


async def _notify_one_by_one(work: Work, page: feed.FeedPage) -> None:
    """Go past an event that fails, and set it aside for `notify_partners_again`."""
    for event_id, body in zip(page.ids, page.bodies, strict=True):
        try:
            async with work.database.transaction() as session:
                await _notify(session, body)
        except Exception as error:
            if not is_the_row(error):
                raise
            await set_aside(work, _NOTIFIED, event_id, error)  # the row's own key: the body may be no event at all
    async with work.database.transaction() as session:
        await webhooks.move_on(session, page.cursor)


@jobs.every(30)
async def notify_partners_again(work: Work) -> None:
    """Try again to order webhooks for events that failed when they were read."""

    async def notify(session: AsyncSession, row_key: str) -> None:
        body = await session.scalar(select(Outgoing.body).where(Outgoing.id == UUID(row_key)))
        if body is not None:  # None if its part of the log was removed
            await _notify(session, body)

    failed = select(SetAside.row_key).where(SetAside.job == _NOTIFIED).order_by(SetAside.first_failed_at)
    await for_each_in_transaction(work, _NOTIFIED, failed, notify)


@jobs.every(1)
async def send_webhooks(work: Work) -> None:
    """Post the deliveries that are due. No transaction is open while partners are asked."""
    webhook_client, began = work.resource(WebhookClient), work.now()
    while True:
        async with work.database.transaction() as session:
            taken = await webhooks.take_due(session, work.resource(SecretBox), limit=_WEBHOOKS_AT_ONCE)
        if not taken:
            break
        for one in taken:
            if isinstance(one, webhooks.Unsendable):
                await set_aside(work, _SENT, one.delivery_id, one.error)
        signed_deliveries = [one for one in taken if isinstance(one, webhooks.SignedDelivery)]
        failpoint("webhooks_taken")
        answers = await asyncio.gather(*(_post(work, webhook_client, one) for one in signed_deliveries))
        failpoint("webhooks_posted")
        for signed_delivery, answer in zip(signed_deliveries, answers, strict=True):
            await _note(work, signed_delivery, answer)
    if await work.database.finds(f"select from set_aside_rows where job = '{_SENT}' limit 1"):
        await forget(work, _SENT, began)


async def _post(work: Work, webhook_client: WebhookClient, signed_delivery: webhooks.SignedDelivery) -> Answer:
    """Post a delivery. One that cannot even be tried does not stop the others, and counts as a failed try."""
    try:
        return await webhook_client.post(signed_delivery.url, signed_delivery.headers, signed_delivery.body)
    except Exception as error:
        if not is_the_row(error):
            raise
        await set_aside(work, _SENT, signed_delivery.delivery_id, error)
        return Answer(None, "", f"not sent: {type(error).__name__}", 0)


async def _note(work: Work, signed_delivery: webhooks.SignedDelivery, answer: Answer) -> None:
    try:
        async with work.database.transaction() as session:
            await webhooks.note_answer(session, signed_delivery.delivery_id, answer)
    except Exception as error:
        if not is_the_row(error):
            raise
        await set_aside(work, _SENT, signed_delivery.delivery_id, error)


@jobs.every(2)
async def report_on_regulations(work: Work) -> None:
    """Go on with reports, some learners a transaction, so that one that was interrupted goes on where it was."""

    async def go_on(report_id: UUID) -> None:
        more = True
        while more:
            try:
                async with work.database.transaction() as session:
                    more = await reports.go_on_with_report(session, report_id, limit=_BATCH)
            except Exception as error:
                if not is_the_row(error) or not await _compare_one_by_one(work, report_id):
                    raise

    await for_each(work, "report_on_regulations", unfinished_reports(), go_on)


async def _compare_one_by_one(work: Work, report_id: UUID) -> bool:
    """Go past learners who cannot be compared, and set them aside for `compare_again`.

    Returns whether there were any learners.
    """
    async with work.database.transaction() as session:
        learner_ids = await reports.next_learners(session, report_id, limit=_BATCH)
    for learner_id in learner_ids:
        try:
            async with work.database.transaction() as session:
                await reports.compare_next(session, report_id, learner_id)
        except Exception as error:
            if not is_the_row(error):
                raise
            async with work.database.transaction() as session:  # one: whoever is counted is tried again, and once
                if await reports.go_past(session, report_id, learner_id):
                    await set_aside(work, _COMPARED, f"{report_id} {learner_id}", error, session)
    return bool(learner_ids)


@jobs.every(30)
async def compare_again(work: Work) -> None:
    """Try again to compare learners with regulations for whom it failed."""

    async def compare(session: AsyncSession, row_key: str) -> None:
        aside = delete(SetAside).where(SetAside.job == _COMPARED, SetAside.row_key == row_key)
        if await session.scalar(aside.returning(SetAside.row_key)):  # otherwise another replica has compared them
            report_id, learner_id = map(UUID, row_key.split())
            await reports.compare_again(session, report_id, learner_id)

    failed = select(SetAside.row_key).where(SetAside.job == _COMPARED).order_by(SetAside.first_failed_at)
    await for_each_in_transaction(work, _COMPARED, failed, compare)


@jobs.every(60, effect=ENDS)
async def end_overdue_transfers(work: Work) -> None:
    """End requests nobody decided, and acceptances that have run out, each in a transaction of its own."""
    due = overdue_transfers(work.now())
    await for_each_in_transaction(work, "end_overdue_transfers", due, transfers.end_overdue)


@jobs.every(60, in_each_process=True)
async def claim_store(work: Work) -> None:
    await store_owner.claim_store(work)


@jobs.every(3600, effect=REMOVES)
async def remove_orphans(work: Work) -> None:
    """Remove stored evidence that no application names: uploads refused at their end, repeated, or cut off."""
    await orphans.remove_orphans(work)


@jobs.every(60, effect=REMOVES)
async def retry_orphans(work: Work) -> None:
    await orphans.retry_orphans(work)


@jobs.every(60)
async def check_files(work: Work) -> None:
    await stored_files.check_files(work)
