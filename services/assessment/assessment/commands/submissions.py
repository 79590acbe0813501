"""Receiving work, and who of the staff may read it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.commands.marking import must_not_sit
from assessment.commands.windows import hold_open
from assessment.domain import attempts, regulations, windows
from assessment.domain.attempts import AttemptState
from assessment.domain.regulations import Regulations
from assessment.queries import enrolments
from assessment.queries.windows import accepting_windows, coming_window, seen
from assessment.tables import Attempt, Enrolment, ErasedAuthor, MisconductCase, Submission, UploadUnderWay, Window
from shared.database import Unknown, advisory_lock, fetch, now
from shared.events.assessment import SubmissionReceived
from shared.file_checks import FileKind, plan_check
from shared.ids import new_id
from shared.messaging import publish
from shared.sessions import despite_contention, note_failure, outside_transaction
from shared.storage import Storage
from shared.uploads import Received, Upload, UploadPolicy, receive, received_before

_RECORDED_WITHIN: Final = timedelta(minutes=1)
"""How long after its last byte a file is recorded at the latest, waiting for the enrolment's lock included."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was found out before the first byte of a file. Plain values, as it outlives its transaction."""

    enrolment_id: UUID
    learner_id: UUID
    course_version_id: UUID
    rules: Regulations
    window_id: UUID
    filename: str
    kind: FileKind


async def submit_work(
    session: AsyncSession,
    storage: Storage,
    enrolment: Enrolment,
    window_id: UUID | None,
    upload: Upload,
    policy: UploadPolicy,
) -> tuple[Submission, bool]:
    """Receive a file for the learner's present or next attempt; return the submission, and whether it is a new one.

    What decides is the instant its last byte came, in whatever order files are recorded: one that came before the
    file that stands is superseded at once, and of one instant the file recorded last stands. The same bytes again are
    the same submission, of which the last copy is kept. A file that came too late is kept as a draft (its state is
    `late`): it counts for nothing.
    Raises the errors of `attempts.admit` and of `shared.file_checks`, and Unknown where the learner was anonymised
    meanwhile.
    """
    plan = await _plan(session, enrolment, window_id, upload)
    upload_id = await _note_begin(session, plan, policy)
    try:
        async with outside_transaction(session):  # markers must see that a file is on its way while it streams
            received = await receive(
                storage,
                upload.chunks,
                plan.kind,
                plan.rules.longest_file_bytes,
                within=policy.longest,
                now=lambda: now(session),
            )
        recorded = await despite_contention(session, lambda: _record(session, plan, received))
    except (Exception, asyncio.CancelledError):
        async with note_failure(session):  # nobody must wait for a file that will not come
            await _note_end(session, upload_id)
        raise
    await _note_end(session, upload_id)
    return recorded


async def _note_begin(session: AsyncSession, plan: _Plan, policy: UploadPolicy) -> UUID:
    lost = delete(UploadUnderWay).where(
        UploadUnderWay.enrolment_id == plan.enrolment_id, UploadUnderWay.ends_by < now(session)
    )
    await session.execute(lost)
    under_way = UploadUnderWay(
        upload_id=new_id(),
        enrolment_id=plan.enrolment_id,
        window_id=plan.window_id,
        ends_by=now(session) + policy.longest + _RECORDED_WITHIN,
    )
    session.add(under_way)
    return under_way.upload_id


async def _note_end(session: AsyncSession, upload_id: UUID) -> None:
    await session.execute(delete(UploadUnderWay).where(UploadUnderWay.upload_id == upload_id))


async def _plan(session: AsyncSession, enrolment: Enrolment, window_id: UUID | None, upload: Upload) -> _Plan:
    at = now(session)
    rules = regulations.find(enrolment.regulations_version)
    rows = (await session.scalars(enrolments.attempts_of(enrolment.enrolment_id))).all()
    window = attempts.admit(
        await enrolments.enrolment_status(session, enrolment.enrolment_id),
        await enrolments.past(session, enrolment.enrolment_id, rows, rules.attempts_allowed),
        rules.attempts_allowed,
        await accepting_windows(session, at),
        at,
        wanted=None if window_id is None else seen(await fetch(session, Window, window_id)),
        coming=await coming_window(session, at),
    )
    if await enrolments.holds_credit(session, enrolment):
        raise attempts.AlreadyPassed("credit for this module stands on your record; another pass would give none")
    filename, kind = plan_check(upload.filename, upload.declared_size, rules.file_kinds, rules.longest_file_bytes)
    return _Plan(
        enrolment_id=enrolment.enrolment_id,
        learner_id=enrolment.learner_id,
        course_version_id=enrolment.course_version_id,
        rules=rules,
        window_id=window.window_id,
        filename=filename,
        kind=kind,
    )


async def _record(session: AsyncSession, plan: _Plan, received: Received) -> tuple[Submission, bool]:
    await advisory_lock(session, "enrolment", plan.enrolment_id)
    if await enrolments.is_erased(session, plan.learner_id):
        raise Unknown("no such enrolment")
    status = await enrolments.enrolment_status(session, plan.enrolment_id)
    attempts.may_study(status)
    window = await hold_open(session, plan.window_id)
    if not windows.accepts(window, received.at):
        return _store(session, plan, received, None, "late"), True
    statement = enrolments.attempts_of(plan.enrolment_id).with_for_update(key_share=True)
    rows: list[Attempt] = list((await session.scalars(statement)).all())
    past = await enrolments.past(session, plan.enrolment_id, rows, plan.rules.attempts_allowed)
    attempts.admit(status, past, plan.rules.attempts_allowed, [window], received.at, wanted=window)
    pending = attempts.replaceable(past)
    replaced: Submission | None = None
    if pending is None:
        attempt = _begin_attempt(session, plan, attempts.next_attempt_no(past))
    else:
        attempt = next(row for row in rows if row.attempt_id == pending.attempt_id)
        replaced = (await session.scalars(enrolments.current_submission(attempt.attempt_id))).one()
        last_came_at = replaced.received_again_at or replaced.received_at
        if received_before([replaced], received):
            replaced.received_again_at = max(last_came_at, received.at)
            await session.flush()
            return await _with_attempt(session, replaced), False
        if received.at < last_came_at:  # it was recorded late: the file that stands came after it
            return _store(session, plan, received, attempt, "superseded"), True
        replaced.state = "superseded"
    await session.flush()  # an attempt has one current submission: first the old one is superseded
    submission = _store(session, plan, received, attempt, "current")
    publish(
        session,
        SubmissionReceived(
            submission_id=submission.submission_id,
            enrolment_id=plan.enrolment_id,
            learner_id=plan.learner_id,
            window_id=plan.window_id,
            attempt_no=attempt.attempt_no,
            sha256=submission.sha256,
            received_at=submission.received_at,
            replaces=replaced.submission_id if replaced else None,
        ),
    )
    return submission, True


def _begin_attempt(session: AsyncSession, plan: _Plan, attempt_no: int) -> Attempt:
    attempt = Attempt(
        attempt_id=new_id(),
        enrolment_id=plan.enrolment_id,
        learner_id=plan.learner_id,
        course_version_id=plan.course_version_id,
        window_id=plan.window_id,
        attempt_no=attempt_no,
        state=AttemptState.SUBMITTED,
    )
    session.add(attempt)
    return attempt


def _store(session: AsyncSession, plan: _Plan, received: Received, attempt: Attempt | None, state: str) -> Submission:
    submission = Submission(
        submission_id=new_id(),
        attempt=attempt,
        enrolment_id=plan.enrolment_id,
        learner_id=plan.learner_id,
        course_version_id=plan.course_version_id,
        window_id=plan.window_id,
        state=state,
        storage_key=received.key,
        filename=plan.filename,
        kind=plan.kind.name,
        media_type=plan.kind.media_type,
        size=received.content.size,
        sha256=received.content.sha256,
        received_at=received.at,
    )
    session.add(submission)
    return submission


async def _with_attempt(session: AsyncSession, submission: Submission) -> Submission:
    statement = select(Submission).where(Submission.submission_id == submission.submission_id)
    return (
        await session.scalars(
            statement.options(joinedload(Submission.attempt)), execution_options={"populate_existing": True}
        )
    ).one()


async def must_be_for_staff(session: AsyncSession, reader: UUID, submission: Submission) -> None:
    """Check that a member of staff may read a submission. Raises Unknown (a draft), SitsCourse or WindowStillOpen."""
    if not await enrolments.may_be_read(session, submission):
        raise Unknown("no such file")
    await must_not_sit(session, reader, submission.course_version_id)
    windows.must_be_closed(seen(await fetch(session, Window, submission.window_id)), now(session))


async def erase_author(session: AsyncSession, learner_id: UUID, anonymised_at: datetime) -> None:
    """Drop an anonymised learner's submissions that never counted and no case is about, and the names of their files.

    Work that was judged stays with its marks, under the file name that markers have always seen. A job removes the
    files that no submission names any more. A file still on its way is refused when it has come.
    """
    for enrolment_id in await enrolments.of_learner(session, learner_id):
        await advisory_lock(session, "enrolment", enrolment_id)  # waits for a file that is being recorded
    mark = insert(ErasedAuthor).values(learner_id=learner_id, anonymised_at=anonymised_at)
    await session.execute(mark.on_conflict_do_nothing())
    theirs = Submission.learner_id == learner_id
    looked_into = select(MisconductCase.case_id).where(MisconductCase.submission_id == Submission.submission_id)
    never_counted = Submission.state.in_(["late", "superseded"]) & ~looked_into.exists()
    await session.execute(delete(Submission).where(theirs, never_counted))
    await session.execute(
        update(Submission)
        .where(theirs)
        .values(filename=func.concat(Submission.submission_id, ".", Submission.kind))
        .execution_options(synchronize_session=False)
    )
