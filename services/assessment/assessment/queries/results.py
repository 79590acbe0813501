"""Results of a window: which may be released, which wait for the board, and who had a part in them."""

from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Select, column, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.domain.marks import Part
from assessment.queries.enrolments import courses_sat_by
from assessment.tables import Attempt, Board, EnrolmentState, Release, Submission, Window
from shared.database import fetch
from shared.paging import PageRequest, paginate


def concerns(actor: str) -> ColumnElement[bool]:
    """Select attempts that are the actor's own, or of a module the actor studies."""
    person = UUID(actor)
    return (Attempt.learner_id == person) | Attempt.course_version_id.in_(courses_sat_by(person))


def has_other_part(actor: str, part: Part) -> ColumnElement[bool]:
    """Select attempts in which the actor has had a part that keeps them from taking this one.

    Who has had which is said by a function of the database, whose triggers ask it, too.
    """
    had = func.parts_in_result(Attempt.attempt_id).table_valued("part", "person", column("is_repeatable", Boolean))
    the_same_again = (had.c.part == part) & had.c.is_repeatable
    return select(had.c.part).where(had.c.person == actor, ~the_same_again).exists()


_SUSPENDED = (
    select(EnrolmentState.enrolment_id)
    .where(EnrolmentState.enrolment_id == Attempt.enrolment_id, EnrolmentState.status == EnrolmentStatus.SUSPENDED)
    .correlate(Attempt)
    .exists()
)


def may_be_released(actor: str) -> tuple[ColumnElement[bool], ...]:
    """Select results that are marked, not frozen by a case, and in which the actor has no interest."""
    return Attempt.state == AttemptState.MARKED, Attempt.case_id.is_(None), ~concerns(actor)


def results_to_release(release: Release) -> Select[UUID]:
    """Select the attempts that were marked when the release was asked for, and that it has not dealt with yet."""
    return (
        select(Attempt.attempt_id)
        .where(
            Attempt.window_id == release.window_id,
            *may_be_released(release.released_by),
            Attempt.marked_at <= release.requested_at,
            _beyond(select(Release.reached).where(Release.release_id == release.release_id)),
        )
        .order_by(Attempt.attempt_id)
    )


def may_be_ratified(actor: str) -> tuple[ColumnElement[bool], ...]:
    """Select results that wait for a board, and in which the actor has no interest and had no part."""
    return *_READY, ~(concerns(actor) | has_other_part(actor, Part.BOARD))


_READY = (Attempt.state == AttemptState.RELEASED, Attempt.case_id.is_(None), ~_SUSPENDED)


def results_to_ratify(board: Board) -> Select[UUID]:
    """Select the attempts that the board ratifies, and has not dealt with yet."""
    reached = select(Board.reached).where(Board.board_id == board.board_id)
    ready = _results_of(board).where(*may_be_ratified(board.decided_by), _beyond(reached))
    return ready.order_by(Attempt.attempt_id)


def results_before(board: Board) -> Select[UUID]:
    """Select the attempts that wait for a board, whoever sits on it."""
    return _results_of(board).where(*_READY)


def results_deferred(board: Board) -> Select[UUID]:
    """Select the attempts that were released before the board sat, and are not ratified."""
    return _results_of(board).where(Attempt.state == AttemptState.RELEASED)


def _results_of(board: Board) -> Select[UUID]:
    return select(Attempt.attempt_id).where(
        Attempt.window_id == board.window_id, Attempt.released_at <= board.decided_at
    )


def _beyond(reached: Select[UUID | None]) -> ColumnElement[bool]:
    return Attempt.attempt_id > func.coalesce(reached.scalar_subquery(), _BEFORE_ALL)


_BEFORE_ALL = UUID(int=0)


def releases_under_way() -> Select[UUID]:
    return select(Release.release_id).where(Release.under_way).order_by(Release.release_id)


def boards_under_way() -> Select[UUID]:
    return select(Board.board_id).where(Board.under_way).order_by(Board.board_id)


async def list_results(
    session: AsyncSession, actor: str, window_id: UUID, state: AttemptState | None, paging: PageRequest
) -> tuple[list[tuple[Attempt, Submission | None]], str | None]:
    """Return a page of a window's attempts with the work that counts, but for those the examiner has an interest in.

    Every one has such work; None where it is in a state that this release does not know.
    """
    await fetch(session, Window, window_id)
    statement = select(Attempt).where(Attempt.window_id == window_id, Attempt.state != AttemptState.VOIDED)
    statement = statement.where(~concerns(actor))
    if state is not None:
        statement = statement.where(Attempt.state == state)
    attempts, cursor = await paginate(session, statement, paging, by=[Attempt.attempt_id])
    work = (  # by itself: joined with the page, PostgreSQL may read all submissions from the first one on
        select(Submission)
        .where(Submission.attempt_id.in_([one.attempt_id for one in attempts]), Submission.state == "current")
        .options(joinedload(Submission.course_version))
    )
    of_attempt = {one.attempt_id: one for one in await session.scalars(work)}
    return [(one, of_attempt.get(one.attempt_id)) for one in attempts], cursor
