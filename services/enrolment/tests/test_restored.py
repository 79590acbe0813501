"""A database that is an old copy: nothing is ended for good before what it lacks was heard."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from enrolment import jobs
from enrolment.domain import regulations
from enrolment.tables import Enrolment, OrderLine
from shared.ids import new_id
from shared.jobs import Work
from shared.messaging import feed
from shared.messaging.feed import FeedPage, Reconciler
from shared.messaging.inbox import Receiver
from shared.messaging.message import envelope


class Log:
    """A producer's feed over HTTP, in small."""

    def __init__(self, *events):
        self.bodies = [
            envelope(event, id=new_id(), time=at, traceparent=None, request_id=None, causation=None)
            for event, at in events
        ]

    async def read(self, types, after):
        await asyncio.sleep(0.2)
        read = after == "0123456789ab.5.5"
        return FeedPage(bodies=[] if read else self.bodies, cursor="0123456789ab.5.5")


@pytest.fixture
def start(live, monkeypatch):
    """Run the jobs and the reconciliation as a process does from its start, for some rounds."""
    monkeypatch.setattr(feed, "UNREAD_SECONDS", 0.05)
    database = live.process.database
    for name, (_, *rest) in list(jobs.jobs._jobs.items()):
        monkeypatch.setitem(jobs.jobs._jobs, name, (0.05, *rest))

    async def run(**logs):
        reconciler = Reconciler(Receiver(live.service.inbox, database), database, logs)
        work = Work(database, live.process.resources(), reconciler.caught_up)
        tasks = [asyncio.create_task(part) for part in (reconciler.run(), jobs.jobs.run(work))]
        await asyncio.wait_for(reconciler.caught_up.wait(), 20)
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return run


async def test_who_was_repaid_after_the_copy_was_made_keeps_the_enrolment(live, lived, start):
    offered = lived.course()
    paid = lived.story.payment(offered)
    lost = lived.story.reversal(paid)
    await lived.hear(offered, paid, lost)
    live.clock.at += regulations.in_force(paid.confirmed_at).repayment + timedelta(days=1)
    back = lived.story.restoration(paid, lost.reversed_at + timedelta(days=2))
    await start(payments=Log((back, live.clock())))
    assert await lived.one(select(Enrolment.status)) == "active"


async def test_whose_money_did_not_come_back_loses_the_enrolment_once_all_was_heard(live, lived, start):
    offered = lived.course()
    paid = lived.story.payment(offered)
    await lived.hear(offered, paid, lived.story.reversal(paid))
    live.clock.at += regulations.in_force(paid.confirmed_at).repayment + timedelta(days=1)
    await start(payments=Log())
    assert await lived.one(select(Enrolment.status)) == "cancelled"


async def test_whose_course_was_published_after_the_copy_was_made_is_not_refused(live, lived, start):
    """Nor by another event of theirs that comes before the course."""
    offered = lived.course()
    paid, other = lived.story.payment(offered), lived.story.payment(lived.course())
    await lived.hear(paid)
    live.clock.at += regulations.in_force(live.clock()).activation_wait
    await lived.hear(other)
    await start(catalogue=Log((offered, live.clock())))
    line = select(OrderLine.outcome).where(OrderLine.order_line_id == paid.lines[0].order_line_id)
    assert await lived.one(line) == "activated"
