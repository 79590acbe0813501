"""Windows: half-open spans of time in which work may be handed in. Times are UTC instants."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from assessment.domain.regulations import WindowRule
from shared.clock import later
from shared.errors import Conflict, Invalid


class WindowIsClosed(Conflict):
    """No window is open for this work: what counts is when its last byte reached us."""

    code = "window_closed"
    remedy = "Hand in during the next window, which the answer names where there is one."


class WindowNotOpen(Conflict):
    """This window opens later."""

    remedy = "Wait until the window opens."


class WindowStillOpen(Conflict):
    """Work is marked once its window has closed and nobody can replace it any more."""

    remedy = "Wait until the window has closed."


class BadWindow(Invalid):
    """A window opens before it closes, and closes in the future."""

    remedy = "Let the window open before it closes, and close after now."


class WindowState(StrEnum):
    """Whether a window opens later, takes work now, or has closed."""

    UPCOMING = "upcoming"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Window:
    """A window, as far as the rules need it."""

    window_id: UUID
    opens_at: datetime
    closes_at: datetime
    grace_seconds: int


def accepts_until(window: Window) -> datetime:
    """Return the first instant at which no work is taken any more: that of the close, and the grace after it."""
    return later(window.closes_at, timedelta(seconds=window.grace_seconds))


def accepts(window: Window, at: datetime) -> bool:
    """Return whether work whose last byte came at that instant is in time."""
    return window.opens_at <= at < accepts_until(window)


def state(window: Window, now: datetime) -> WindowState:
    if now < window.opens_at:
        return WindowState.UPCOMING
    return WindowState.OPEN if now < accepts_until(window) else WindowState.CLOSED


def closed(detail: str, coming: Window | None) -> WindowIsClosed:
    """Return the error for a closed window, which names the window that takes work now or next, if one is published."""
    if coming is None:
        return WindowIsClosed(f"{detail}; the next one is not published yet", next_window=None)
    opens_at, closes_at = coming.opens_at.isoformat(), coming.closes_at.isoformat()
    named = {"window_id": str(coming.window_id), "opens_at": opens_at, "closes_at": closes_at}
    return WindowIsClosed(f"{detail}; the next one is open from {opens_at} to {closes_at}", next_window=named)


def choose(
    windows: Sequence[Window], now: datetime, *, preferred: UUID | None = None, coming: Window | None = None
) -> Window:
    """Return the window for work of this instant; raises WindowIsClosed, which names `coming`, where none is open.

    It is the `preferred` one, that of the learner's present attempt, so that a new file replaces the one there. Else it
    is the one that closes first; windows that are only open by their grace come last.
    """
    accepting = [window for window in windows if accepts(window, now)]
    for window in accepting:
        if window.window_id == preferred:
            return window
    if not accepting:
        raise closed("no window is open at the moment", coming)
    return min(accepting, key=lambda window: (window.closes_at <= now, window.closes_at, window.window_id))


def must_be_open(window: Window, now: datetime, coming: Window | None = None) -> None:
    """Check that a window takes work now.

    Raises WindowNotOpen, which names `coming` where that is open now, or WindowIsClosed, which always names it.
    """
    if now < window.opens_at:
        opens_at = window.opens_at.isoformat()
        if coming is None or not accepts(coming, now):
            raise WindowNotOpen(f"this window opens at {opens_at}", opens_at=opens_at, open_window=None)
        closes_at = coming.closes_at.isoformat()
        open_window = {"window_id": str(coming.window_id), "closes_at": closes_at}
        detail = f"this window opens at {opens_at}; another is open until {closes_at}"
        raise WindowNotOpen(detail, opens_at=opens_at, open_window=open_window)
    if not accepts(window, now):
        raise closed(f"this window closed at {window.closes_at.isoformat()}", coming)


class FileOnItsWay(Conflict):
    """A file that may take this one's place was begun while the window was open, and is not there yet."""

    remedy = "Ask again in some minutes."


def must_be_closed(window: Window, now: datetime) -> None:
    """Check that a window has closed, and its grace is over. Raises WindowStillOpen."""
    if now < accepts_until(window):
        raise WindowStillOpen(f"this window takes work until {accepts_until(window).isoformat()}")


def check_span(opens_at: datetime, closes_at: datetime, now: datetime, rule: WindowRule) -> None:
    """Check the span of a window made by hand. Raises BadWindow."""
    if opens_at >= closes_at:
        raise BadWindow("a window opens before it closes")
    if closes_at <= now:
        raise BadWindow("a window closes in the future")
    if max(now - opens_at, closes_at - now) > timedelta(days=rule.furthest_days):
        raise BadWindow(f"a window lies within {rule.furthest_days} days of today")


@dataclass(frozen=True, slots=True)
class RegularWindow:
    """The window of one month, by the regulations; `period` names the month, e.g. 2026-11."""

    period: str
    opens_at: datetime
    closes_at: datetime
    grace_seconds: int


def coming_windows(rule: WindowRule, now: datetime) -> list[RegularWindow]:
    """Return the regular windows that are open or yet to open, as far ahead as the rule publishes them."""
    today = now.astimezone(rule.zone)
    regular = (_regular(rule, month) for month in _months(today.year, today.month, rule.months_published))
    return [window for window in regular if window.closes_at > now]


def _regular(rule: WindowRule, month: tuple[int, int]) -> RegularWindow:
    year, number = month
    return RegularWindow(
        period=f"{year:04}-{number:02}",
        opens_at=_instant(date(year, number, rule.opens_day), rule.opens_time, rule.zone),
        closes_at=_instant(date(year, number, rule.closes_day), rule.closes_time, rule.zone),
        grace_seconds=rule.grace_seconds,
    )


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _months(year: int, month: int, count: int) -> Iterable[tuple[int, int]]:
    for ahead in range(count):
        years, index = divmod(month - 1 + ahead, 12)
        yield year + years, index + 1


def due_on(closes_at: datetime, working_days: int, zone: ZoneInfo) -> date:
    """Return the day by which marks are due: so many Mondays to Fridays after the close (bank holidays are not
    known)."""
    days = _working_days_after(closes_at.astimezone(zone).date())
    return next(day for count, day in enumerate(days, start=1) if count == working_days)


def _working_days_after(day: date) -> Iterator[date]:
    while True:
        day += timedelta(days=1)
        if day.isoweekday() <= _FRIDAY:
            yield day


_FRIDAY = 5
