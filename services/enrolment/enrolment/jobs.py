"""The jobs of enrolment."""

from functools import partial

from enrolment import queries
from enrolment.commands import enrolments
from enrolment.domain import regulations
from shared import orphans, store_owner, stored_files
from shared.due_rows import for_each_in_transaction
from shared.jobs import ENDS, REMOVES, Jobs, Work

jobs = Jobs()


@jobs.every(15, effect=ENDS)
async def settle_waiting_lines(work: Work) -> None:
    """Settle paid lines whose course or learner has arrived meanwhile, or that waited long enough to be refused."""
    now = work.now()
    received_until = now - regulations.in_force(now).activation_wait
    due = queries.learners_to_settle(received_until)
    await for_each_in_transaction(work, "settle_waiting_lines", due, partial(enrolments.settle, refuse=True))


@jobs.every(60, effect=ENDS)
async def end_unpaid_enrolments(work: Work) -> None:
    """Cancel suspended enrolments whose money did not come back in the time that their regulations give. Those under
    regulations that this release does not know are set aside."""
    now = work.now()
    until = {one.version: now - one.repayment for one in regulations.versions.all.values()}
    due = queries.unpaid_enrolments(until)
    await for_each_in_transaction(work, "end_unpaid_enrolments", due, enrolments.end_unpaid_enrolment)


@jobs.every(60, in_each_process=True)
async def claim_store(work: Work) -> None:
    await store_owner.claim_store(work)


@jobs.every(3600, effect=REMOVES)
async def remove_orphans(work: Work) -> None:
    """Remove stored evidence that no request names: uploads refused at their end, repeated, or cut off."""
    await orphans.remove_orphans(work)


@jobs.every(60, effect=REMOVES)
async def retry_orphans(work: Work) -> None:
    await orphans.retry_orphans(work)


@jobs.every(60)
async def check_files(work: Work) -> None:
    await stored_files.check_files(work)
