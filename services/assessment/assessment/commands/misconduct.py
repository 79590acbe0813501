"""Cases of misconduct: opened by an examiner, decided by a panel whose minutes are named."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.commands import decisions
from assessment.commands.boards import take_credit
from assessment.commands.enrolments import void_attempt, void_unratified
from assessment.commands.marking import attempt_of, must_be_another, must_be_disinterested, result_event
from assessment.domain import attempts, marks, misconduct, regulations
from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.domain.marks import Part
from assessment.domain.misconduct import MisconductOutcome
from assessment.queries.enrolments import attempts_of, history, went_on
from assessment.tables import Attempt, Credit, Enrolment, EnrolmentState, MisconductCase
from shared.database import advisory_lock, fetch, now
from shared.events.assessment import MisconductDecided, MisconductOpened
from shared.ids import new_id
from shared.messaging import publish


async def open_case(session: AsyncSession, actor_id: UUID, submission_id: UUID, reason_code: str) -> MisconductCase:
    """Open a case about a submission: its result is frozen until a panel has decided.

    Raises SubmissionSuperseded, SubmissionVoid, OwnWork, SitsCourse, UnknownReason or CaseOpen.
    """
    attempt = await attempt_of(session, submission_id)
    await must_be_disinterested(session, actor_id, attempt)
    marks.check_reason(reason_code, regulations.in_force(now(session)).misconduct.reasons)
    if attempt.case_id is not None:
        raise misconduct.CaseOpen("a case about this work is open already")
    case = MisconductCase(
        case_id=new_id(),
        attempt_id=attempt.attempt_id,
        submission_id=submission_id,
        enrolment_id=attempt.enrolment_id,
        learner_id=attempt.learner_id,
        attempt_no=attempt.attempt_no,
        reason_code=reason_code,
        opened_by=str(actor_id),
        opened_at=now(session),
    )
    session.add(case)
    attempt.case_id = case.case_id
    decisions.record(session, "case_opened", attempt.attempt_id, str(actor_id), reason_code=reason_code)
    publish(
        session,
        MisconductOpened(
            case_id=case.case_id,
            submission_id=submission_id,
            enrolment_id=case.enrolment_id,
            learner_id=case.learner_id,
            attempt_no=case.attempt_no,
            reason_code=reason_code,
            opened_at=case.opened_at,
        ),
    )
    return case


async def decide_case(
    session: AsyncSession, actor_id: UUID, case_id: UUID, outcome: MisconductOutcome, minutes_reference: str
) -> MisconductCase:
    """Record a panel's decision on a case, and apply its outcome to the result, which is no longer frozen.

    Raises CaseDecided, OwnWork, SitsCourse, SamePerson or OutcomeNotPossible.
    """
    case = await fetch(session, MisconductCase, case_id)
    await advisory_lock(session, "enrolment", case.enrolment_id)  # a cancellation leaves it to us, or waits for us
    attempt = await fetch(session, Attempt, case.attempt_id, lock=True)
    case = await fetch(session, MisconductCase, case_id, lock=True)
    if case.decided_at is not None:
        raise misconduct.CaseDecided(f"the outcome was {case.outcome}", outcome=case.outcome)
    if case.opened_by == str(actor_id):
        raise marks.SamePerson("whoever opened a case does not decide it")
    await must_be_disinterested(session, actor_id, attempt)
    await must_be_another(session, actor_id, attempt, Part.PANEL)
    credit = await session.scalar(select(Credit).where(Credit.attempt_id == attempt.attempt_id))
    rows = (await session.scalars(attempts_of(attempt.enrolment_id))).all()
    present = attempts.present_attempt(history(rows))
    state = AttemptState(attempt.state)
    allowed = misconduct.possible(
        state,
        latest=present is not None
        and present.attempt_id == attempt.attempt_id
        and not await went_on(session, attempt.enrolment_id),
        has_credit=credit is not None,
    )
    misconduct.check_outcome(outcome, allowed)

    at, actor = now(session), str(actor_id)
    case.outcome, case.minutes_reference, case.decided_by, case.decided_at = outcome, minutes_reference, actor, at
    attempt.case_id = None
    decisions.record(
        session, "case_decided", attempt.attempt_id, actor, reason_code=outcome, minutes_reference=minutes_reference
    )
    publish(
        session,
        MisconductDecided(
            case_id=case_id,
            submission_id=case.submission_id,
            enrolment_id=case.enrolment_id,
            learner_id=case.learner_id,
            attempt_no=case.attempt_no,
            outcome=outcome,
            decided_at=at,
        ),
    )
    if outcome is MisconductOutcome.RESUBMIT:
        await void_attempt(session, attempt, actor, "misconduct", at)
    elif outcome is MisconductOutcome.MARK_ZERO:
        await _take_mark(session, attempt, case.submission_id, at)
    elif outcome is MisconductOutcome.CREDIT_REVOKED and credit is not None:
        credit = await fetch(session, Credit, credit.credit_id, lock=True)
        if credit.revoked_at is None:
            reason = regulations.in_force(at).misconduct.revocation_reason
            await take_credit(session, actor, credit, reason, minutes_reference)
    elif outcome is MisconductOutcome.NO_CASE:
        await _follow_enrolment(session, attempt.enrolment_id, at)
    return case


async def _follow_enrolment(session: AsyncSession, enrolment_id: UUID, at: datetime) -> None:
    """Void what was left to the panel where its enrolment was cancelled meanwhile."""
    state = await session.get(EnrolmentState, enrolment_id)
    if state is not None and state.status == EnrolmentStatus.CANCELLED:
        await session.flush()
        await void_unratified(session, enrolment_id, state.reason_code or "enrolment_cancelled", at)


async def _take_mark(session: AsyncSession, attempt: Attempt, submission_id: UUID, at: datetime) -> None:
    """Record a fail with the mark of a proven case, and release it; the raw mark stays beside it. The board ratifies it
    later."""
    enrolment = await fetch(session, Enrolment, attempt.enrolment_id)
    rule = regulations.find(enrolment.regulations_version).misconduct
    attempt.mark, attempt.passed, attempt.capped = rule.mark, False, False
    attempt.raw_mark = rule.mark if attempt.raw_mark is None else attempt.raw_mark
    attempt.marked_at, attempt.feedback = attempt.marked_at or at, attempt.feedback or ""
    # Later than what was released before, whichever replica's clock gave that: subscribers keep the later of the two.
    before = attempt.released_at
    attempt.released_at = at if before is None else max(at, before + timedelta(microseconds=1))
    attempt.state = AttemptState.RELEASED
    await session.flush()
    statement = select(Attempt).where(Attempt.attempt_id == attempt.attempt_id)
    attempt = (
        await session.scalars(
            statement.options(joinedload(Attempt.course_version), joinedload(Attempt.enrolment)),
            execution_options={"populate_existing": True},
        )
    ).one()
    publish(session, result_event(attempt, submission_id))
