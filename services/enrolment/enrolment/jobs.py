"""What enrolment does when time passes."""

from enrolment import queries
from enrolment.commands import enrolments
from enrolment.domain import regulations
from shared import orphans
from shared.jobs import FIRST_HOUR, Jobs, Work

jobs = Jobs()

BATCH = 500


@jobs.every(15)
async def settle_waiting_lines(work: Work) -> None:
    """Paid lines whose course or learner has arrived meanwhile, or that waited long enough to be refused."""
    now = work.now()
    heard_until = now - regulations.in_force(now).activation_wait
    async with work.database.transaction() as session:
        learners = await queries.learners_to_settle(session, heard_until, limit=BATCH)
    for learner_id in learners:
        async with work.database.transaction() as session:
            await enrolments.settle(session, learner_id)


@jobs.every(60)
async def end_unpaid_enrolments(work: Work) -> None:
    """Suspended enrolments whose money did not come back in the time that their regulations give."""
    for version in regulations.versions.all.values():
        async with work.database.transaction() as session:
            overdue = await queries.suspended_since(
                session, work.now() - version.repayment, version.version, limit=BATCH
            )
        for enrolment_id in overdue:
            async with work.database.transaction() as session:
                await enrolments.end_unpaid_enrolment(session, enrolment_id)


@jobs.every(3600)
async def claim_store(work: Work) -> None:
    await orphans.claim_store(work, queries.known_files)


@jobs.every(3600, first_after=FIRST_HOUR)
async def remove_orphans(work: Work) -> None:
    """Stored evidence that no request names: uploads refused at their end, repeated, or cut off."""
    await orphans.remove_orphans(work, queries.known_files)
