"""Boards of examiners: ratifying results, awarding, revoking and reinstating credit."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.commands.marking import advance, must_be_another, must_be_disinterested
from assessment.commands.releases import count, done_at_once, take_results
from assessment.domain import marks, regulations
from assessment.domain.attempts import AttemptState
from assessment.domain.marks import Part
from assessment.queries.enrolments import renamed_subjects
from assessment.queries.results import (
    may_be_ratified,
    results_before,
    results_deferred,
    results_to_ratify,
)
from assessment.tables import Attempt, Board, CourseVersion, Credit, Decision, Window
from shared.committed_log import log_once_committed
from shared.database import fetch, now
from shared.errors import DomainError
from shared.events.assessment import (
    AttemptsExhausted,
    CreditAwarded,
    CreditReinstated,
    CreditRevoked,
    FailRatified,
)
from shared.ids import id_of, new_id
from shared.messaging import publish

log = logging.getLogger(__name__)


async def ratify_window(session: AsyncSession, actor: str, window_id: UUID, minutes_reference: str) -> Board:
    """Ratify every released result of a window: passes become credit, a last fail exhausts the attempts.

    Deferred to a later board are the results of suspended enrolments, those a case is open about, those the actor
    marked or moderated, and those of a module the actor studies. Raises NothingToRatify, SamePerson (all that waits
    needs another board member) or ResultsBusy.
    """
    await fetch(session, Window, window_id)
    await take_results(session, window_id)
    board = _sit(session, actor, minutes_reference, window_id)
    await session.flush()
    found = results_to_ratify(board)
    board.expected = await count(session, found)
    if not board.expected:
        raise await _nothing_for(session, board)
    decisions.record(session, "board_sat", board.board_id, actor, minutes_reference=minutes_reference)
    board.under_way = True
    if await done_at_once(session, board, found, lambda ids: ratify_batch(session, board, ids)):
        if not board.ratified:  # since they were counted a case was opened about them, or they were voided
            raise await _nothing_for(session, board)
        await _close(session, board)
    return board


async def _nothing_for(session: AsyncSession, board: Board) -> DomainError:
    if await session.scalar(results_before(board).limit(1)):
        return marks.SamePerson(
            "whoever marked, moderated or earned a result, decided a case about it or studies the module, "
            "does not ratify"
        )
    deferred = await count(session, results_deferred(board))
    return marks.NothingToRatify("no released result of this window waits for the board", held=deferred)


async def ratify_batch(session: AsyncSession, board: Board, attempt_ids: Sequence[UUID]) -> None:
    """Ratify those of these attempts that the board may ratify. The board must be locked."""
    ratified = {"state": AttemptState.RATIFIED, "ratified_at": board.decided_at, "board_id": board.board_id}
    rows = await advance(session, attempt_ids, *may_be_ratified(board.decided_by), **ratified)
    await decisions.record_all(session, "ratified", [attempt.attempt_id for attempt, _ in rows], board.decided_by)
    board.ratified += len(rows)
    board.credits_awarded += await _award_credit(session, board, [row for row in rows if row[0].passed])
    _announce_fails(session, board, [row for row in rows if not row[0].passed])
    board.reached = max(attempt_ids)


async def finish_board(session: AsyncSession, board_id: UUID) -> None:
    """Close a board that has dealt with all its results."""
    board = await fetch(session, Board, board_id, lock=True)
    await _close(session, board)
    said = {"board": str(board_id), "ratified": board.ratified, "held": board.deferred}
    log_once_committed(session, log, logging.INFO, "results ratified", said)


async def _close(session: AsyncSession, board: Board) -> None:
    await session.flush()
    board.deferred = await count(session, results_deferred(board))
    board.under_way = False


async def _sit_on(session: AsyncSession, actor: str, minutes_reference: str, credit: Credit) -> Board:
    """Open a board about one credit, which must be locked. It decides later than each before, whichever replica's clock
    gave that: the last decision counts."""
    board = _sit(session, actor, minutes_reference, None)
    about = select(func.max(Decision.decided_at)).where(Decision.subject_id == credit.credit_id)
    last = max(filter(None, (credit.awarded_at, credit.revoked_at, await session.scalar(about))))
    board.decided_at = max(board.decided_at, last + timedelta(microseconds=1))
    await session.flush()
    return board


def _sit(session: AsyncSession, actor: str, minutes_reference: str, window_id: UUID | None) -> Board:
    board = Board(
        board_id=new_id(),
        window_id=window_id,
        minutes_reference=minutes_reference,
        ratified=0,
        credits_awarded=0,
        deferred=0,
        decided_by=actor,
        decided_at=now(session),
    )
    session.add(board)
    return board


async def _award_credit(session: AsyncSession, board: Board, passes: Sequence[tuple[Attempt, UUID]]) -> int:
    """Award credit for each pass whose learner has none that stands in the module; return how many."""
    if not passes:
        return 0
    await _make_room(session, [(attempt.learner_id, attempt.course_version.module_family) for attempt, _ in passes])
    # In one order everywhere, so that two boards at once cannot wait for each other in a circle.
    ordered = sorted(passes, key=lambda row: (row[0].learner_id, row[0].course_version.module_family))
    credit_ids = {attempt.attempt_id: id_of("credit", attempt.attempt_id) for attempt, _ in ordered}
    awarded = set(
        await session.scalars(
            insert(Credit)
            .on_conflict_do_nothing(index_elements=["learner_id", "module_family"])
            .returning(Credit.attempt_id),
            [_credit(attempt, credit_ids[attempt.attempt_id], board) for attempt, _ in ordered],
        )
    )
    subjects = {attempt.course_version.subject_id for attempt, _ in ordered}
    renamed = await renamed_subjects(session, subjects, board.decided_at)
    for attempt, submission_id in ordered:
        if attempt.attempt_id not in awarded:
            decisions.record(session, "no_second_credit", attempt.attempt_id, "regulations")
            continue
        course = attempt.course_version
        subject_name = renamed.get(course.subject_id, course.subject_name)
        credit_id = credit_ids[attempt.attempt_id]
        publish(session, _credit_event(attempt, submission_id, credit_id, board, subject_name=subject_name))
    return len(awarded)


async def _make_room(session: AsyncSession, modules: Sequence[tuple[UUID, str]]) -> None:
    """Free the modules of these learners that revoked credit holds: it keeps nobody from earning credit again."""
    revoked = (
        select(Credit.credit_id)
        .where(tuple_(Credit.learner_id, Credit.module_family).in_(modules), Credit.revoked_at.is_not(None))
        .order_by(Credit.learner_id, Credit.module_family)
        .with_for_update(key_share=True)
    )
    if ids := (await session.scalars(revoked)).all():
        await session.execute(update(Credit).where(Credit.credit_id.in_(ids)).values(module_family=None))


def _credit(attempt: Attempt, credit_id: UUID, board: Board) -> dict[str, Any]:  # Any: column values
    return {
        "credit_id": credit_id,
        "learner_id": attempt.learner_id,
        "module_family": attempt.course_version.module_family,
        "enrolment_id": attempt.enrolment_id,
        "attempt_id": attempt.attempt_id,
        "board_id": board.board_id,
        "credits": attempt.course_version.credits,
        "level": attempt.course_version.level,
        "mark": attempt.mark,
        "awarded_at": board.decided_at,
    }


def _credit_event(
    attempt: Attempt, submission_id: UUID, credit_id: UUID, board: Board, *, subject_name: str
) -> CreditAwarded:
    course = attempt.course_version
    assert attempt.mark is not None  # the database holds every ratified attempt to it
    return CreditAwarded(
        credit_id=credit_id,
        learner_id=attempt.learner_id,
        enrolment_id=attempt.enrolment_id,
        submission_id=submission_id,
        course_id=course.course_id,
        course_version_id=course.course_version_id,
        course_code=course.code,
        course_title=course.title,
        module_family=course.module_family,
        subject_id=course.subject_id,
        subject_name=subject_name,
        credits=course.credits,
        level=course.level,
        mark=attempt.mark,
        attempt_no=attempt.attempt_no,
        board_id=board.board_id,
        regulations_version=attempt.enrolment.regulations_version,
        ratified_at=board.decided_at,
    )


def _announce_fails(session: AsyncSession, board: Board, fails: Sequence[tuple[Attempt, UUID]]) -> None:
    for attempt, submission_id in fails:
        assert attempt.mark is not None  # the database holds every ratified attempt to it
        publish(
            session,
            FailRatified(
                submission_id=submission_id,
                enrolment_id=attempt.enrolment_id,
                learner_id=attempt.learner_id,
                course_id=attempt.enrolment.course_id,
                attempt_no=attempt.attempt_no,
                mark=attempt.mark,
                board_id=board.board_id,
                ratified_at=board.decided_at,
            ),
        )
        allowed = regulations.find(attempt.enrolment.regulations_version).attempts_allowed
        if attempt.attempt_no < allowed:
            continue
        decisions.record(session, "attempts_exhausted", attempt.enrolment_id, "regulations")
        publish(
            session,
            AttemptsExhausted(
                enrolment_id=attempt.enrolment_id,
                learner_id=attempt.learner_id,
                course_id=attempt.enrolment.course_id,
                attempts_used=attempt.attempt_no,
                exhausted_at=now(session),
            ),
        )


async def _credit_before_board(session: AsyncSession, actor: str, credit_id: UUID) -> Credit:
    """Lock and return a credit that the actor may decide about. Raises OwnWork, SitsCourse or SamePerson."""
    credit = await fetch(session, Credit, credit_id)
    attempt = await fetch(session, Attempt, credit.attempt_id, lock=True)  # a panel may be deciding about it
    await must_be_disinterested(session, actor, attempt)
    await must_be_another(session, actor, attempt, Part.BOARD)
    return await fetch(session, Credit, credit_id, lock=True)


async def revoke_credit(
    session: AsyncSession, actor: str, credit_id: UUID, reason_code: str, minutes_reference: str
) -> Credit:
    """Take a credit away by a later decision of the board.

    Raises OwnWork, SitsCourse, SamePerson, UnknownReason or CreditAlreadyRevoked.
    """
    credit = await _credit_before_board(session, actor, credit_id)
    marks.check_reason(reason_code, regulations.in_force(now(session)).revocation_reasons)
    if credit.revoked_at is not None:
        raise marks.CreditAlreadyRevoked("this credit is revoked")
    await take_credit(session, actor, credit, reason_code, minutes_reference)
    return credit


async def take_credit(
    session: AsyncSession, actor: str, credit: Credit, reason_code: str, minutes_reference: str
) -> None:
    """Take a credit that stands, and which must be locked, for a board or panel that may."""
    credit_id = credit.credit_id
    board = await _sit_on(session, actor, minutes_reference, credit)
    credit.revoked_at, credit.revocation_reason = board.decided_at, reason_code
    credit.revocation_board_id, credit.revision = board.board_id, credit.revision + 1
    decisions.record(session, "credit_revoked", credit_id, actor, reason_code=reason_code, at=board.decided_at)
    publish(
        session,
        CreditRevoked(
            credit_id=credit_id,
            learner_id=credit.learner_id,
            reason_code=reason_code,
            board_id=board.board_id,
            revoked_at=board.decided_at,
            decided_by=board.decided_by,
            enrolment_id=credit.enrolment_id,
            revision=credit.revision,
        ),
    )


async def _take_its_place(session: AsyncSession, credit: Credit) -> None:
    """Give a revoked credit its module again. Raises CreditReplaced where other credit of the learner stands there."""
    if credit.module_family is not None:
        return
    attempt = await fetch(session, Attempt, credit.attempt_id)
    module = (await fetch(session, CourseVersion, attempt.course_version_id)).module_family
    there = select(Credit).where(Credit.learner_id == credit.learner_id, Credit.module_family == module)
    other = (await session.scalars(there.with_for_update(key_share=True))).one_or_none()
    if other is None or other.revoked_at is None:  # None: while we waited for its lock, yet another replaced it
        raise marks.CreditReplaced("another pass has earned credit in this module since")
    other.module_family = None
    await session.flush()
    credit.module_family = module


async def reinstate_credit(
    session: AsyncSession, actor: str, credit_id: UUID, reason_code: str, minutes_reference: str
) -> Credit:
    """Reinstate a revoked credit.

    Raises OwnWork, SitsCourse, SamePerson, UnknownReason, CreditNotRevoked or CreditReplaced.
    """
    credit = await _credit_before_board(session, actor, credit_id)
    marks.check_reason(reason_code, regulations.in_force(now(session)).reinstatement_reasons)
    if credit.revoked_at is None:
        raise marks.CreditNotRevoked("this credit stands")
    await _take_its_place(session, credit)
    board = await _sit_on(session, actor, minutes_reference, credit)
    credit.revoked_at = credit.revocation_reason = credit.revocation_board_id = None
    credit.revision += 1
    decisions.record(session, "credit_reinstated", credit_id, actor, reason_code=reason_code, at=board.decided_at)
    publish(
        session,
        CreditReinstated(
            credit_id=credit_id,
            learner_id=credit.learner_id,
            reason_code=reason_code,
            board_id=board.board_id,
            reinstated_at=board.decided_at,
            enrolment_id=credit.enrolment_id,
            revision=credit.revision,
        ),
    )
    return credit
