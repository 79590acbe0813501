"""An erasure reaches what was revoked, what is being signed and what waits to be sent."""

import asyncio

import pytest
from sqlalchemy import func, select, text

from credentials import jobs
from credentials.commands import emails, issuing, learner_records, people
from credentials.domain.badges import Due
from credentials.tables.awards import PendingEmail
from credentials.tables.documents import Edition
from credentials.tables.issued import Badge
from shared.events.enrolment import LearnerAnonymised
from shared.ids import new_id
from shared.messaging.tables import QueuedEmail

from .announcements import BEFORE, consume, hold_credit, introduce, let_time_work, revoked, work_of
from .erasure import holder, identifiers, moved
from .record_status import ask


@pytest.fixture
async def learner(service, session):
    learner = await holder(service, session)
    await let_time_work(service)
    return learner


async def erase(session, learner, clock) -> None:
    await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))


async def revoke(service, session, clock, learner) -> None:
    await consume(session, revoked(learner, "DS01"))


async def be_corrected(service, session, clock, learner) -> None:
    await moved(service, session, clock, learner)


async def be_forgotten(service, session, clock, learner) -> None:
    await erase(session, learner, clock)


@pytest.mark.parametrize(
    "steps",
    [
        (revoke, be_forgotten),
        (be_corrected, revoke, be_forgotten),
        (be_corrected, be_forgotten, revoke),
        (be_forgotten, revoke),
    ],
)
async def test_a_revoked_badge_loses_the_hash_of_the_address_as_well(service, session, clock, learner, steps) -> None:
    for step in steps:
        await step(service, session, clock, learner)
    await let_time_work(service)
    assert await identifiers(session, learner) == [[]]
    badge = await session.scalar(select(Badge).where(Badge.learner_id == learner))
    async with service.client() as anyone:
        served = await anyone.get(f"/credentials/{badge.badge_id}")
    assert (badge.due, served.status_code) == (None, 200)
    assert "identifier" not in served.json()["credentialSubject"]


@pytest.mark.parametrize(
    "steps", [(be_forgotten,), (revoke, be_forgotten), (be_corrected, be_forgotten), (be_forgotten, be_forgotten)]
)
async def test_an_erasure_delivered_again_orders_nothing(service, session, clock, learner, steps) -> None:
    for step in steps:
        await step(service, session, clock, learner)
    await let_time_work(service)
    before = await badges_of(session, learner)
    await erase(session, learner, clock)
    assert await badges_of(session, learner) == before


async def test_what_bears_no_hash_stays_due_for_what_it_was(service, session, clock) -> None:
    learner = await holder(service, session, contact_confirmed=False)
    await let_time_work(service)
    assert await identifiers(session, learner) == [[]]
    badge = await session.scalar(select(Badge).where(Badge.learner_id == learner))
    await issuing.correct_badge(session, badge)
    await session.flush()
    await erase(session, learner, clock)
    await session.refresh(badge)
    assert badge.due == Due.CORRECTION


async def badges_of(session, learner) -> list[str]:
    rows = text("select to_jsonb(b)::text from badges b where learner_id = :learner order by badge_id")
    return list(await session.scalars(rows, {"learner": learner}))


async def test_a_revoked_badge_of_a_lost_key_is_signed_for_that_when_its_holder_goes(service, session, learner) -> None:
    await consume(session, revoked(learner, "DS01"))
    badge = await session.scalar(select(Badge).where(Badge.learner_id == learner))
    badge.due = Due.COMPROMISE
    await session.flush()
    await issuing.erase_holder(session, learner)
    await session.refresh(badge)
    assert badge.due == Due.COMPROMISE


async def test_no_record_is_kept_of_who_was_erased_while_it_was_signed(service, session, clock, monkeypatch) -> None:
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    sign = learner_records._sign

    async def overtake(_, *arguments):
        await erase(session, learner, clock)
        return sign(*arguments)

    monkeypatch.setattr(learner_records.asyncio, "to_thread", overtake)
    answer = await ask(service, learner)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (410, "document_erased")
    assert await session.scalar(select(func.count()).where(Edition.clr.is_not(None))) == 0


async def test_emails_that_wait_to_be_sent_go_with_their_reader(service, session, clock, learner) -> None:
    await emails.enqueue(session, learner, kind="k", about="x", subject="s", paragraphs=["p"])
    await jobs.queue_emails(work_of(service))
    assert await session.scalar(select(func.count()).select_from(QueuedEmail)) == 1
    await moved(service, session, clock, learner)  # it is on its way to the address of before
    await erase(session, learner, clock)
    assert await session.scalar(select(func.count()).select_from(QueuedEmail)) == 0


async def test_an_email_is_not_handed_on_beside_the_erasure_of_its_reader(live) -> None:
    learner, database = new_id(), live.process.database
    async with database.transaction() as session:
        await introduce(session, learner)
        await emails.enqueue(session, learner, kind="k", about="x", subject="s", paragraphs=["p"])
    async with database.transaction() as session, database.transaction() as beside:
        pending = list(await session.scalars(select(PendingEmail.pending_email_id)))
        await people.erase_person(beside, learner, BEFORE)
        posting = asyncio.create_task(emails.queue_emails(session, pending, ""))
        await asyncio.sleep(0.3)
        await beside.commit()
        await posting
        assert await session.scalar(select(func.count()).select_from(QueuedEmail)) == 0
