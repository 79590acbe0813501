from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment import queries
from assessment.commands.windows import hold_open
from assessment.domain import attempts, regulations, windows
from assessment.domain.attempts import AttemptState
from assessment.domain.regulations import Regulations
from assessment.tables import Attempt, Enrolment, Submission, Window
from shared.database import fetch, now, take_turns
from shared.events.assessment import SubmissionReceived
from shared.files import FileKind, plan_check
from shared.ids import new_id
from shared.messaging import publish
from shared.storage import Storage
from shared.uploads import Received, Upload, UploadPolicy, receive


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was found out before the first byte; plain values, for it outlives its transaction."""

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
    """Take a file for the learner's present or next attempt; whether it is a new submission.

    What decides is the instant its last byte came. The same bytes again are the same submission. A file that
    came too late is kept as a draft (its state is `late`): it counts for nothing. Raises the refusals of
    `attempts.admit` and of `shared.files`.
    """
    plan = await _plan(session, enrolment, window_id, upload)
    await session.rollback()  # nothing was written; no connection is held while the file streams
    received = await receive(
        storage,
        upload.chunks,
        plan.kind,
        plan.rules.longest_file_bytes,
        within=policy.longest,
        now=lambda: now(session),
    )
    return await _record(session, plan, received)


async def _plan(session: AsyncSession, enrolment: Enrolment, window_id: UUID | None, upload: Upload) -> _Plan:
    at = now(session)
    rules = regulations.find(enrolment.regulations_version)
    rows = (await session.scalars(queries.attempts_of(enrolment.enrolment_id))).all()
    window = attempts.admit(
        await queries.enrolment_status(session, enrolment.enrolment_id),
        queries.history(rows),
        rules.attempts_allowed,
        await queries.accepting_windows(session, at),
        at,
        wanted=None if window_id is None else queries.seen(await fetch(session, Window, window_id)),
        coming=await queries.coming_window(session, at),
    )
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
    await take_turns(session, "enrolment", plan.enrolment_id)
    status = await queries.enrolment_status(session, plan.enrolment_id)
    attempts.may_study(status)
    window = await hold_open(session, plan.window_id)
    if not windows.accepts(window, received.at):
        return _store(session, plan, received, None), True
    statement = queries.attempts_of(plan.enrolment_id).with_for_update()
    rows: list[Attempt] = list((await session.scalars(statement)).all())
    past = queries.history(rows)
    attempts.admit(status, past, plan.rules.attempts_allowed, [window], received.at, wanted=window)
    pending = attempts.replaceable(past)
    if pending is None:
        attempt = _begin_attempt(session, plan, attempts.next_attempt_no(past))
    else:
        attempt = next(row for row in rows if row.attempt_id == pending.attempt_id)
        replaced = (await session.scalars(queries.current_submission(attempt.attempt_id))).one()
        if replaced.sha256 == received.content.sha256:
            return await _with_attempt(session, replaced), False
        replaced.state = "superseded"
    await session.flush()  # one current submission an attempt: the old one steps back before the new one comes
    submission = _store(session, plan, received, attempt)
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


def _store(session: AsyncSession, plan: _Plan, received: Received, attempt: Attempt | None) -> Submission:
    submission = Submission(
        submission_id=new_id(),
        attempt=attempt,
        enrolment_id=plan.enrolment_id,
        learner_id=plan.learner_id,
        course_version_id=plan.course_version_id,
        window_id=plan.window_id,
        state="late" if attempt is None else "current",
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


async def forget_author(session: AsyncSession, learner_id: UUID) -> None:
    """Drop what somebody handed in that never counted, and the names they gave their files.

    The work that was judged stays with its marks, under the name a marker has always seen. A job removes the files
    that no submission names any more.
    """
    theirs = Submission.learner_id == learner_id
    await session.execute(delete(Submission).where(theirs, Submission.state.in_(["late", "superseded"])))
    await session.execute(
        update(Submission)
        .where(theirs)
        .values(filename=func.concat(Submission.submission_id, ".", Submission.kind))
        .execution_options(synchronize_session=False)
    )
