"""The results of the largest window there may be: each batch its own transaction, memory of one batch, and progress."""

import asyncio
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from weakref import WeakSet

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from assessment import jobs
from assessment.commands import releases
from assessment.tables import Attempt
from shared.events.assessment import AssessmentFailed, AssessmentPassed, CreditAwarded, FailRatified
from shared.jobs import Work
from shared.messaging.tables import Outgoing

pytestmark = pytest.mark.slow

RESULTS = 12_000
MOST_GROWTH_KIB = 48 * 1024
"""What the process may grow by meanwhile: by 7 MiB where seen, and by 120 with all the results in one batch."""

ALIKE = """
    create temp table further on commit drop as
        select gen_random_uuid() e, gen_random_uuid() l, gen_random_uuid() a, gen_random_uuid() s, gen_random_uuid() m
        from generate_series(2, :results);
    insert into enrolments select (jsonb_populate_record(one, jsonb_build_object(
        'enrolment_id', e, 'learner_id', l, 'order_line_id', e))).* from enrolments one, further;
    insert into attempts select (jsonb_populate_record(one, jsonb_build_object(
        'attempt_id', a, 'enrolment_id', e, 'learner_id', l))).* from attempts one, further;
    insert into submissions select (jsonb_populate_record(one, jsonb_build_object(
        'submission_id', s, 'attempt_id', a, 'enrolment_id', e, 'learner_id', l, 'storage_key', s))).*
        from submissions one, further;
    insert into marks select (jsonb_populate_record(one, jsonb_build_object(
        'mark_id', m, 'attempt_id', a, 'submission_id', s))).* from marks one, further
"""


@pytest.fixture
async def marked(live, driver_class):
    """A window in which that many results wait to be released."""
    async with live.process.database.transaction() as session:
        driver = driver_class(live, session, live.clock)
        driver.clock.at = driver.opens + timedelta(days=2)
        driver.window_id = await driver.window()
        receipt = await driver.receipt(await driver.enrol_live(), window_id=driver.window_id)
        await driver.close(driver.window_id)
        assert (await driver.mark(receipt["submission_id"], 60)).status_code == 201
    async with live.process.database.transaction() as session:
        for statement in ALIKE.split(";"):
            await session.execute(text(statement.replace(":results", str(RESULTS))))
    async with live.process.database.transaction() as session:
        await session.execute(text("analyze"))
    return driver


class Seen:
    """What the transactions of a job held, and for how long."""

    def __init__(self) -> None:
        self.most_rows = 0
        self.longest = 0.0
        self._began: dict[Session, float] = {}
        self._alive: WeakSet[Attempt] = WeakSet()

    def begun(self, session: Session, *_: object) -> None:
        self._began.setdefault(session, time.monotonic())

    def read(self, attempt: Attempt, _: object) -> None:
        self._alive.add(attempt)
        self.most_rows = max(self.most_rows, len(self._alive))

    def committed(self, session: Session) -> None:
        self.longest = max(self.longest, time.monotonic() - self._began.pop(session, time.monotonic()))


@pytest.fixture
def seen():
    found = Seen()
    events = [
        (Session, "after_begin", found.begun),
        (Session, "after_commit", found.committed),
        (Attempt, "load", found.read),
    ]
    for one in events:
        event.listen(*one)
    yield found
    for one in events:
        event.remove(*one)


def memory(field: str) -> int:
    """Of this process, in KiB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


def count_peak_anew() -> int:
    """What this process has now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


async def batches(driver, *types) -> Counter:
    """How many events each transaction announced."""
    async with driver.service.process.database.transaction() as session:
        rows = await session.execute(
            select(text("xid::text")).select_from(Outgoing).where(Outgoing.type.in_([one.type for one in types]))
        )
        return Counter(row[0] for row in rows)


async def test_they_are_released_and_ratified_a_batch_at_a_time(marked, seen, capsys):
    work = Work(marked.service.process.database, marked.service.service.resources)
    steps = {
        "released": (marked.examiner.post(f"/v1/windows/{marked.window_id}/release"), jobs.release_results),
        "ratified": (marked.board(marked.window_id), jobs.ratify_results),
    }
    for done, (asking, job) in steps.items():
        answer = await asking
        assert (answer.status_code, answer.json()["expected"]) == (202, RESULTS)
        before, began = count_peak_anew(), time.monotonic()
        working = asyncio.ensure_future(job(work))
        progress: list[int] = []
        while not working.done():
            progress.append((await marked.examiner.get(answer.headers["location"])).json()[done])
            await asyncio.sleep(0.2)
        await working
        took, grown = time.monotonic() - began, memory("VmHWM") - before
        release = (await marked.examiner.get(answer.headers["location"])).json()
        assert (release["state"], release[done]) == ("finished", RESULTS)
        assert progress == sorted(progress)
        assert len(set(progress)) > 3, "a person reads how far it has come"
        assert grown < MOST_GROWTH_KIB
        with capsys.disabled():
            sys.stdout.write(
                f"{done}: {took:.1f} s, longest transaction {seen.longest:.2f} s, "
                f"memory {before} KiB and {grown} more, {seen.most_rows} attempts at once\n"
            )
        seen.longest = 0.0
    assert 0 < seen.most_rows <= releases.BATCH
    for types in ((AssessmentPassed, AssessmentFailed), (CreditAwarded, FailRatified)):
        sizes = await batches(marked, *types)
        assert (sum(sizes.values()), max(sizes.values())) == (RESULTS, releases.BATCH)
