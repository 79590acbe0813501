"""A database that is an old copy: nothing is ended for good before what it lacks has arrived."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from enrolment import jobs
from enrolment.commands.enrolments import enrolment_of
from enrolment.domain import regulations
from enrolment.tables import Enrolment, OrderLine
from shared.events.payments import PaymentConfirmed
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging import history, reconciliation
from shared.messaging.feed import FeedPage
from shared.messaging.history import Reader
from shared.messaging.message import envelope
from shared.messaging.receiver import Receiver
from shared.messaging.reconciliation import Reconciler
from shared.messaging.tables import Installation


class Log:
    """A producer's feed over HTTP, in small."""

    def __init__(self, *events):
        self.bodies = [
            envelope(event, id=new_id(), time=at, traceparent=None, request_id=None, causation=None)
            for event, at in events
        ]

    reader: Reader | None = None

    async def read(self, types, after):
        await asyncio.sleep(0.2)
        read = after == "0123456789ab.5.5"
        return FeedPage(bodies=[] if read else self.bodies, cursor="0123456789ab.5.5", reader=self.reader)


@pytest.fixture
def start(live, monkeypatch):
    """Run the jobs and the reconciliation as a process does from its start, for some rounds."""
    monkeypatch.setattr(reconciliation, "UNREAD_SECONDS", 0.05)
    database = live.process.database
    for name, (_, *rest) in list(jobs.jobs._jobs.items()):
        monkeypatch.setitem(jobs.jobs._jobs, name, (0.05, *rest))

    async def run(**logs):
        reconciler = Reconciler(Receiver(live.service.inbox, database), database, logs)
        work = Work(database, live.process.resources(), reconciler.history)
        tasks = [asyncio.create_task(part) for part in (reconciler.run(), jobs.jobs.run(work))]
        await asyncio.wait_for(reconciler.caught_up.wait(), 20)
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return run


async def test_who_was_repaid_after_the_copy_was_made_keeps_the_enrolment(live, lived, start):
    offered = lived.course()
    paid = lived.driver.payment(offered)
    lost = lived.driver.reversal(paid)
    await lived.consume(offered, paid, lost)
    live.clock.at += regulations.in_force(paid.confirmed_at).repayment + timedelta(days=1)
    back = lived.driver.restoration(paid, lost.reversed_at + timedelta(days=2))
    await start(payments=Log((back, live.clock())))
    assert await lived.one(select(Enrolment.status)) == "active"


async def test_whose_money_did_not_come_back_loses_the_enrolment_once_all_has_arrived(live, lived, start):
    offered = lived.course()
    paid = lived.driver.payment(offered)
    await lived.consume(offered, paid, lived.driver.reversal(paid))
    live.clock.at += regulations.in_force(paid.confirmed_at).repayment + timedelta(days=1)
    await start(payments=Log())
    assert await lived.one(select(Enrolment.status)) == "cancelled"


async def test_whose_course_was_published_after_the_copy_was_made_is_not_refused(live, lived, start):
    """Nor by another event of theirs that comes before the course."""
    offered = lived.course()
    paid, other = lived.driver.payment(offered), lived.driver.payment(lived.course())
    await lived.consume(paid)
    live.clock.at += regulations.in_force(live.clock()).activation_wait
    await lived.consume(other)
    await start(catalogue=Log((offered, live.clock())))
    line = select(OrderLine.outcome).where(OrderLine.order_line_id == paid.lines[0].order_line_id)
    assert await lived.one(line) == "activated"


@pytest.mark.parametrize(
    ("first", "derived"), [("payments", True), ("assessment", True), ("assessment", False)], ids=str
)
async def test_who_passed_after_the_copy_was_made_has_the_same_enrolment_back(live, lived, start, first, derived):
    """Though a course that was passed is not sold again: this line is how it was passed.

    The id of an enrolment of the release before follows from its credit alone; where the payment arrives first, it has
    another, and assessment sets that aside for a person.
    """
    offered = lived.course()
    await lived.consume(offered)
    paid = lived.driver.payment(offered)
    line_id = paid.lines[0].order_line_id
    gone = Enrolment(
        enrolment_id=enrolment_of(line_id) if derived else new_id(),
        course_id=offered.course_id,
        course_version_id=offered.course_version_id,
        module_family=offered.module_family,
    )
    credit = lived.driver.credit(gone)
    later = lived.driver.payment(offered, at=credit.ratified_at + timedelta(days=1))
    live.clock.at = later.confirmed_at
    said = {
        "payments": Log((paid, paid.confirmed_at), (later, later.confirmed_at)),
        "assessment": Log((credit, credit.ratified_at)),
    }
    await start(**{first: said[first], **said})
    assert await lived.one(select(Enrolment.enrolment_id)) == gone.enrolment_id
    assert await lived.one(select(Enrolment.status)) == "completed"
    live.clock.at += regulations.in_force(live.clock()).activation_wait
    await start(payments=Log(), assessment=Log())
    outcome = select(OrderLine.reason_code)
    assert await lived.one(outcome.where(OrderLine.order_line_id == line_id)) is None
    again = await lived.one(outcome.where(OrderLine.order_line_id == later.lines[0].order_line_id))
    assert again == "already_passed", "and what was bought after the pass goes back"


async def test_on_a_database_that_has_lost_who_registered_nobody_is_refused_before_a_person_has_seen_it(
    live, lived, start
):
    offered = lived.course()
    paid = PaymentConfirmed.model_validate(lived.driver.payment(offered).model_dump() | {"learner_id": new_id()})
    line = select(OrderLine.outcome).where(OrderLine.order_line_id == paid.lines[0].order_line_id)
    await lived.consume(offered, paid)
    wait = regulations.in_force(live.clock()).activation_wait
    live.clock.at += wait
    log = Log()
    log.reader = Reader("payments", "0123456789ab.9.9", None)  # of a history this database never had
    await start(payments=log)
    assert await lived.one(line) is None

    database = live.process.database
    async with database.transaction() as session:
        await history.accept(session, [log.reader], installation=None, by="ann", reason="no other copy")
        await session.execute(update(Installation).values(history_accepted_at=live.clock()))
    await start(payments=log)
    assert await lived.one(line) is None, "they have as long again to register"
    live.clock.at += wait
    await start(payments=log)
    assert await lived.one(line) == "refused"
