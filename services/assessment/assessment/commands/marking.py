"""Marking and moderating work, and releasing single results."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.commands import decisions
from assessment.domain import marks, regulations, windows
from assessment.domain.attempts import AttemptState
from assessment.domain.marks import Part, Stage
from assessment.domain.misconduct import CaseOpen
from assessment.queries.enrolments import sits
from assessment.queries.results import has_other_part, may_be_released
from assessment.queries.windows import comes_a_file, seen
from assessment.tables import Attempt, Enrolment, Mark, Submission, Window
from shared.access import refuse_concerned, refuse_own
from shared.database import fetch, now
from shared.events.assessment import AssessmentFailed, AssessmentPassed, MarkModerated
from shared.ids import new_id
from shared.messaging import publish


async def mark_submission(
    session: AsyncSession, submission_id: UUID, marker_id: UUID, *, stage: Stage, points: Decimal, feedback: str
) -> Mark:
    """Give a mark, or an examiner's moderated one, to frozen work whose result is not released yet.

    Raises SubmissionSuperseded, SubmissionVoid, CaseOpen, OwnWork, SitsCourse, WindowStillOpen, FileOnItsWay,
    AlreadyMarked, NotMarked, AlreadyReleased, SamePerson or MarkOutOfRange.
    """
    attempt = await _free_attempt_of(session, submission_id)
    await must_be_disinterested(session, marker_id, attempt)
    windows.must_be_closed(seen(await fetch(session, Window, attempt.window_id)), now(session))
    _must_take(AttemptState(attempt.state), stage)
    if stage is Stage.FIRST and await comes_a_file(session, attempt.window_id, enrolment_id=attempt.enrolment_id):
        raise windows.FileOnItsWay("another file for this attempt is on its way", headers={"Retry-After": "60"})
    await must_be_another(session, marker_id, attempt, Part.MARKER if stage is Stage.FIRST else Part.MODERATOR)
    enrolment = await fetch(session, Enrolment, attempt.enrolment_id)
    result = marks.grade(points, attempt.attempt_no, regulations.find(enrolment.regulations_version).marks)

    attempt.state, attempt.marked_at, attempt.feedback = AttemptState.MARKED, now(session), feedback
    attempt.raw_mark, attempt.mark, attempt.passed = result.raw, result.mark, result.passed
    attempt.capped = result.capped
    given = Mark(
        mark_id=new_id(),
        attempt_id=attempt.attempt_id,
        submission_id=submission_id,
        stage=stage,
        mark=result.raw,
        feedback=feedback,
        marked_by=str(marker_id),
        marked_at=now(session),
    )
    session.add(given)
    if stage is Stage.MODERATION:
        publish(
            session,
            MarkModerated(
                submission_id=submission_id,
                enrolment_id=attempt.enrolment_id,
                learner_id=attempt.learner_id,
                attempt_no=attempt.attempt_no,
                outcome="passed" if result.passed else "failed",
                moderated_at=given.marked_at,
            ),
        )
    return given


async def must_be_disinterested(session: AsyncSession, actor: UUID | str, attempt: Attempt) -> None:
    """Check that the actor neither owns the attempt nor studies its module. Raises OwnWork or SitsCourse."""
    refuse_own(session, marks.OwnWork("somebody else judges your own work"), attempt.learner_id, actor)
    await must_not_sit(session, actor, attempt.course_version_id)


async def must_not_sit(session: AsyncSession, actor: UUID | str, course_version_id: UUID) -> None:
    """Check that the actor does not study the module of that course version. Raises SitsCourse."""
    concerned = await sits(session, UUID(str(actor)), course_version_id)
    refuse_concerned(session, marks.SitsCourse("you study this module yourself"), concerned=concerned)


async def must_be_another(session: AsyncSession, actor: UUID | str, attempt: Attempt, part: Part) -> None:
    """Check that the actor may take this part in a result, having had no other. The attempt must be locked.

    Raises SamePerson.
    """
    statement = select(Attempt.attempt_id).where(Attempt.attempt_id == attempt.attempt_id)
    if await session.scalar(statement.where(has_other_part(str(actor), part))):
        raise marks.SamePerson(
            "whoever marked or moderated a result, judged a case about it or sat on its board, has no other part in it"
        )


def _must_take(state: AttemptState, stage: Stage) -> None:
    if state in (AttemptState.RELEASED, AttemptState.RATIFIED):
        raise marks.AlreadyReleased("the result is released")
    if stage is Stage.FIRST and state is AttemptState.MARKED:
        raise marks.AlreadyMarked("this work has its mark; an examiner may moderate it")
    if stage is Stage.MODERATION and state is AttemptState.SUBMITTED:
        raise marks.NotMarked("there is no mark to moderate yet")


async def release_submission(session: AsyncSession, actor: str, submission_id: UUID) -> Attempt:
    """Release the result of a submission to its learner.

    Raises OwnWork, SitsCourse, NotMarked, AlreadyReleased, SubmissionSuperseded, SubmissionVoid or CaseOpen.
    """
    attempt = await _free_attempt_of(session, submission_id)
    await must_be_disinterested(session, actor, attempt)
    if attempt.state == AttemptState.SUBMITTED:
        raise marks.NotMarked("this work has no mark yet")
    if attempt.state != AttemptState.MARKED:
        raise marks.AlreadyReleased("the result is released")
    [released] = await release_some(session, actor, [attempt.attempt_id])
    return released


async def release_some(session: AsyncSession, actor: str, attempt_ids: Sequence[UUID]) -> list[Attempt]:
    """Release those of these results that the actor may release; return their attempts."""
    rows = await advance(
        session, attempt_ids, *may_be_released(actor), state=AttemptState.RELEASED, released_at=now(session)
    )
    await decisions.record_all(session, "released", [attempt.attempt_id for attempt, _ in rows], actor)
    for attempt, submission_id in rows:
        publish(session, result_event(attempt, submission_id))
    return [attempt for attempt, _ in rows]


async def advance(
    session: AsyncSession,
    attempt_ids: Sequence[UUID],
    *which: ColumnElement[bool],
    **to: Any,  # Any: column values
) -> list[tuple[Attempt, UUID]]:
    """Set the columns `to` of those of the attempts for which `which` holds; return these with course and enrolment,
    and the id of their submission."""
    locked = select(Attempt.attempt_id).where(Attempt.attempt_id.in_(attempt_ids), *which)
    ids = (await session.scalars(locked.order_by(Attempt.attempt_id).with_for_update(key_share=True))).all()
    if not ids:
        return []
    await session.execute(
        update(Attempt).where(Attempt.attempt_id.in_(ids)).values(**to),
        execution_options={"synchronize_session": False},  # they are read anew below
    )
    statement = (
        select(Attempt, Submission.submission_id)
        .join(Submission, (Submission.attempt_id == Attempt.attempt_id) & (Submission.state == "current"))
        .where(Attempt.attempt_id.in_(ids))
        .options(joinedload(Attempt.course_version), joinedload(Attempt.enrolment))
        .execution_options(populate_existing=True)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


def result_event(attempt: Attempt, submission_id: UUID) -> AssessmentPassed | AssessmentFailed:
    """Return the event that announces a released result; the attempt must have its course and enrolment loaded."""
    facts: dict[str, Any] = {  # Any: fields of either event
        "submission_id": submission_id,
        "enrolment_id": attempt.enrolment_id,
        "learner_id": attempt.learner_id,
        "course_id": attempt.enrolment.course_id,
        "course_version_id": attempt.course_version_id,
        "module_family": attempt.course_version.module_family,
        "attempt_no": attempt.attempt_no,
        "mark": attempt.mark,
        "released_at": attempt.released_at,
    }
    return AssessmentPassed(**facts, capped=bool(attempt.capped)) if attempt.passed else AssessmentFailed(**facts)


async def _free_attempt_of(session: AsyncSession, submission_id: UUID) -> Attempt:
    attempt = await attempt_of(session, submission_id)
    if attempt.case_id is not None:
        raise CaseOpen("a case about this work is open")
    return attempt


async def attempt_of(session: AsyncSession, submission_id: UUID) -> Attempt:
    """Lock and return the attempt this submission stands for. Raises SubmissionSuperseded or SubmissionVoid."""
    submission = await fetch(session, Submission, submission_id)
    if submission.attempt_id is None:
        raise marks.SubmissionVoid("this file came too late to count")
    attempt = await fetch(session, Attempt, submission.attempt_id, lock=True)
    submission = await fetch(session, Submission, submission_id, lock=True)  # as it is once the attempt is locked
    if submission.state == "superseded":
        raise marks.SubmissionSuperseded("a later file took this one's place")
    if attempt.state == AttemptState.VOIDED:
        raise marks.SubmissionVoid("this work does not count")
    return attempt
