"""Attempts: how many a learner has, and when the next one may begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from assessment.domain.windows import Window, accepts, choose, must_be_open
from shared.errors import Conflict, Forbidden


class EnrolmentStatus(StrEnum):
    """What enrolment said last about an enrolment, as far as assessment asks: may work be handed in?"""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


class EnrolmentIsSuspended(Forbidden):
    """No work is taken while the enrolment is suspended."""

    code = "enrolment_suspended"
    remedy = "Wait until the enrolment is reinstated; the learner's messages say why it is suspended."


class EnrolmentEnded(Forbidden):
    """The enrolment was cancelled; attempts whose results were released count on in a new one."""

    code = "enrolment_cancelled"
    remedy = "Enrol anew; attempts whose results you know count there too."


class AlreadyPassed(Conflict):
    """A passed course is not taken again."""

    remedy = "Choose another course; the credit for this one is yours."


class NoAttemptsLeft(Conflict):
    """Every attempt is used; a new enrolment gives new ones."""

    code = "attempts_exhausted"
    remedy = "Enrol on the course again."


class PendingResult(Conflict):
    """The next attempt opens when the result of the last one is released."""

    remedy = "Wait for the last attempt's result; work for `pending_window_id`, where named, can still be replaced."


class AttemptState(StrEnum):
    """How far an attempt has come.

    - `submitted`: work is handed in and waits for its mark.
    - `marked`: it has a mark that the learner does not see yet.
    - `released`: the learner sees the result, which is provisional.
    - `ratified`: the board made the result final.
    - `voided`: it counts for nothing.
    """

    SUBMITTED = "submitted"
    MARKED = "marked"
    RELEASED = "released"
    RATIFIED = "ratified"
    VOIDED = "voided"


UNRATIFIED = (AttemptState.SUBMITTED, AttemptState.MARKED, AttemptState.RELEASED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt, as far as the rules need it."""

    attempt_id: UUID
    attempt_no: int
    state: AttemptState
    passed: bool | None
    window_id: UUID
    frozen: bool = False
    """A case about it is open."""
    earlier: bool = False
    """It was made under an earlier enrolment in the same module."""


def may_study(status: EnrolmentStatus) -> None:
    """Check that an enrolment is active. Raises EnrolmentIsSuspended or EnrolmentEnded."""
    if status is EnrolmentStatus.SUSPENDED:
        raise EnrolmentIsSuspended("this enrolment is suspended")
    if status is EnrolmentStatus.CANCELLED:
        raise EnrolmentEnded("this enrolment is cancelled")


def carried_over(earlier: Sequence[Attempt], allowed: int) -> list[Attempt]:
    """Return which of the attempts made in a module under earlier enrolments, the oldest first, still count.

    Only a learner who used up every attempt, or whose pass was ratified, begins anew. Source: three new attempts come
    with a new enrolment at full fee after the last one was used.
    """
    if not earlier or (last := earlier[-1]).frozen:
        return list(earlier[-1:])
    done = last.passed if last.state is AttemptState.RATIFIED else False
    return [] if done or last.attempt_no >= allowed else [last]


def present_attempt(history: Sequence[Attempt]) -> Attempt | None:
    """Return the latest attempt that counts; None where there is none."""
    counted = [attempt for attempt in history if attempt.state is not AttemptState.VOIDED or attempt.earlier]
    return max(counted, key=lambda attempt: (not attempt.earlier, attempt.attempt_no), default=None)


def replaceable(history: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt whose work may be replaced while its window is open; None where there is none."""
    present = present_attempt(history)
    if present is None or present.frozen or present.earlier:
        return None
    return present if present.state is AttemptState.SUBMITTED else None


def must_be_free(history: Sequence[Attempt], allowed: int) -> None:
    """Check that a further attempt may begin. Raises AlreadyPassed, NoAttemptsLeft or PendingResult."""
    present = present_attempt(history)
    if present is None or present.state is AttemptState.VOIDED:  # a pass that ended with an earlier enrolment
        return
    if present.state not in (AttemptState.RELEASED, AttemptState.RATIFIED):
        raise PendingResult("the result of your last attempt has not been released yet")
    if present.frozen:
        raise PendingResult("your last attempt is being looked into")
    if present.passed:
        raise AlreadyPassed("you have passed this course")
    if present.attempt_no >= allowed:
        raise NoAttemptsLeft(f"all {allowed} attempts of this enrolment are used")


def next_attempt_no(history: Sequence[Attempt]) -> int:
    present = present_attempt(history)
    return present.attempt_no + 1 if present else 1


def _must_be_free_beside(pending: Attempt | None, history: Sequence[Attempt], allowed: int) -> None:
    """Check that a further attempt may begin in another window than that of the pending one. Raises as `must_be_free`.

    Of two files sent at once for different windows the one that is recorded first begins the attempt.
    """
    if pending is not None:
        raise PendingResult(
            "this file was not kept: work handed in for another window counts, and has no result yet",
            pending_window_id=str(pending.window_id),
        )
    must_be_free(history, allowed)


def attempts_left(history: Sequence[Attempt], allowed: int) -> int:
    """Return how many attempts can still begin, were each one to fail."""
    present = present_attempt(history)
    if present is not None and present.passed and present.state in (AttemptState.RELEASED, AttemptState.RATIFIED):
        return 0
    return max(0, allowed - (present.attempt_no if present else 0))


def admit(
    status: EnrolmentStatus,
    history: Sequence[Attempt],
    allowed: int,
    windows: Sequence[Window],
    now: datetime,
    *,
    wanted: Window | None = None,
    coming: Window | None = None,
) -> Window:
    """Return the window in which this learner may hand in at that instant: the wanted one, else the open one.

    Work that may still be replaced goes to its own window; otherwise a further attempt must be free.
    Raises EnrolmentIsSuspended, EnrolmentEnded, PendingResult, AlreadyPassed, NoAttemptsLeft, WindowNotOpen or
    WindowIsClosed (which names the `coming` window).
    """
    may_study(status)
    pending = replaceable(history)
    if wanted is not None:
        if pending is None or pending.window_id != wanted.window_id:
            _must_be_free_beside(pending, history, allowed)
        must_be_open(wanted, now, coming)
        return wanted
    open_again = pending is not None and any(
        window.window_id == pending.window_id and accepts(window, now) for window in windows
    )
    if not open_again:
        must_be_free(history, allowed)
    return choose(windows, now, preferred=pending.window_id if pending else None, coming=coming)
