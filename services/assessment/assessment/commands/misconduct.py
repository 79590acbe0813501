"""Cases of misconduct: opened by an examiner, decided by a panel whose minutes are named."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment import queries
from assessment.commands import decisions
from assessment.commands.boards import must_be_another, revoke_credit
from assessment.commands.enrolments import void_attempt
from assessment.commands.marking import attempt_of, result_event
from assessment.domain import attempts, marks, misconduct, regulations
from assessment.domain.attempts import AttemptState
from assessment.domain.misconduct import MisconductOutcome
from assessment.tables import Attempt, Credit, Enrolment, MisconductCase
from shared.database import fetch, now
from shared.events.assessment import MisconductDecided, MisconductOpened
from shared.ids import new_id
from shared.messaging import publish


async def open_case(session: AsyncSession, actor_id: UUID, submission_id: UUID, reason_code: str) -> MisconductCase:
    """Freeze a result until a panel has decided.

    Raises SubmissionSuperseded, SubmissionVoid, OwnWork, UnknownReason or CaseOpen.
    """
    attempt = await attempt_of(session, submission_id)
    if attempt.learner_id == actor_id:
        raise marks.OwnWork("somebody else looks into your own work")
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
    """The panel's word: the result is free again, or what the outcome makes of it.

    Raises CaseDecided, OwnWork, SamePerson or OutcomeNotPossible.
    """
    case = await fetch(session, MisconductCase, case_id)
    attempt = await fetch(session, Attempt, case.attempt_id, lock=True)
    case = await fetch(session, MisconductCase, case_id, lock=True)
    if case.decided_at is not None:
        raise misconduct.CaseDecided(f"the outcome was {case.outcome}", outcome=case.outcome)
    if case.opened_by == str(actor_id):
        raise marks.SamePerson("whoever opened a case does not decide it")
    await must_be_another(session, str(actor_id), attempt.attempt_id)
    credit = await session.scalar(select(Credit).where(Credit.attempt_id == attempt.attempt_id))
    rows = (await session.scalars(queries.attempts_of(attempt.enrolment_id))).all()
    present = attempts.present_attempt(queries.history(rows))
    state = AttemptState(attempt.state)
    allowed = misconduct.possible(
        state,
        latest=present is not None and present.attempt_id == attempt.attempt_id,
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
    elif outcome is MisconductOutcome.CREDIT_REVOKED and credit is not None and credit.revoked_at is None:
        reason = regulations.in_force(at).misconduct.revocation_reason
        await revoke_credit(session, actor, credit.credit_id, reason, minutes_reference)
    return case


async def _take_mark(session: AsyncSession, attempt: Attempt, submission_id: UUID, at: datetime) -> None:
    """Record the fail and tell the learner; what the work had earned stays beside it. The board ratifies it later."""
    enrolment = await fetch(session, Enrolment, attempt.enrolment_id)
    rule = regulations.find(enrolment.regulations_version).misconduct
    attempt.mark, attempt.passed, attempt.capped = rule.mark, False, False
    attempt.raw_mark = rule.mark if attempt.raw_mark is None else attempt.raw_mark
    attempt.marked_at, attempt.feedback = attempt.marked_at or at, attempt.feedback or ""
    attempt.state, attempt.released_at = AttemptState.RELEASED, at
    await session.flush()
    statement = select(Attempt).where(Attempt.attempt_id == attempt.attempt_id)
    attempt = (
        await session.scalars(
            statement.options(joinedload(Attempt.course_version), joinedload(Attempt.enrolment)),
            execution_options={"populate_existing": True},
        )
    ).one()
    publish(session, result_event(attempt, submission_id))
