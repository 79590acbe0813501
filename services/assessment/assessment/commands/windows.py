"""Making windows, closing them early, and announcing that they have opened or closed."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.commands import decisions
from assessment.domain import marks, regulations, windows
from assessment.queries import enrolments
from assessment.queries import windows as window_queries
from assessment.tables import Window
from shared.access import refuse_concerned
from shared.clock import later
from shared.database import fetch, now
from shared.events.assessment import WindowClosed, WindowOpened, WindowPublished
from shared.ids import new_id
from shared.messaging import publish


async def publish_coming_windows(session: AsyncSession) -> int:
    """Publish the regular windows of the coming months that are not there yet; return how many were new."""
    at = now(session)
    rules = regulations.in_force(at)
    published = 0
    for regular in windows.coming_windows(rules.windows, at):
        window_id = await session.scalar(
            insert(Window)
            .values(
                window_id=new_id(),
                period=regular.period,
                opens_at=regular.opens_at,
                closes_at=regular.closes_at,
                grace_seconds=regular.grace_seconds,
            )
            .on_conflict_do_nothing(index_elements=["period"])
            .returning(Window.window_id)
        )
        if window_id is not None:
            decisions.record(session, "window_published", window_id, rules.version, period=regular.period)
            publish(
                session,
                WindowPublished(window_id=window_id, opens_at=regular.opens_at, closes_at=regular.closes_at),
            )
            published += 1
    return published


async def make_window(
    session: AsyncSession, actor: str, opens_at: datetime, closes_at: datetime, grace_seconds: int | None
) -> Window:
    """Make a window besides the regular ones; its grace is the regulations' unless given.

    Raises BadWindow.
    """
    rule = regulations.in_force(now(session)).windows
    windows.check_span(opens_at, closes_at, now(session), rule)
    window = Window(
        window_id=new_id(),
        opens_at=opens_at.astimezone(UTC),
        closes_at=closes_at.astimezone(UTC),
        grace_seconds=rule.grace_seconds if grace_seconds is None else grace_seconds,
    )
    session.add(window)
    decisions.record(session, "window_made", window.window_id, actor)
    publish(session, WindowPublished(window_id=window.window_id, opens_at=window.opens_at, closes_at=window.closes_at))
    return window


async def close_window(session: AsyncSession, actor: str, window_id: UUID) -> Window:
    """Close an open window now. Its grace, if it has one, still holds.

    Raises WindowNotOpen or WindowIsClosed.
    """
    window = await fetch(session, Window, window_id, lock=True)
    at = now(session)
    coming = await window_queries.coming_window(session, at)
    windows.must_be_open(window_queries.seen(window), at, coming)
    if window.closes_at <= at:
        raise windows.closed("this window is closed and lives by its grace alone", coming)
    decisions.record(session, "window_closed_early", window_id, actor, planned=window.closes_at.isoformat())
    # Half-open, and never empty: a window closed in the instant it opened was still a window.
    window.closes_at = max(at, later(window.opens_at, window.opens_at.resolution))
    _announce_opening(session, window)
    await _announce_if_closed(session, window)
    return window


async def must_not_study(session: AsyncSession, person: UUID) -> None:
    """Check that a person sits no course: a window takes the work of every module. Raises SitsCourse."""
    error = marks.SitsCourse("a window takes the work of every module, and you study one yourself")
    refuse_concerned(session, error, concerned=await enrolments.sits_any(session, person))


async def announce_opening(session: AsyncSession, window_id: UUID) -> None:
    """Announce that a window has opened: once, however late."""
    window = await fetch(session, Window, window_id, lock=True)
    if window.closed_at is None and window.opens_at <= now(session):
        _announce_opening(session, window)


async def announce_closing(session: AsyncSession, window_id: UUID) -> None:
    """Announce that a window has closed: once, however late."""
    window = await fetch(session, Window, window_id, lock=True)
    if window.closed_at is None:
        await _announce_if_closed(session, window)


def _announce_opening(session: AsyncSession, window: Window) -> None:
    if window.opened_at is None:
        window.opened_at = now(session)
        publish(
            session,
            WindowOpened(window_id=window.window_id, opened_at=window.opens_at, closes_at=window.closes_at),
        )


async def _announce_if_closed(session: AsyncSession, window: Window) -> None:
    """Announce that a window has closed, but not before the last file that may be in time: the job tries again."""
    seen = window_queries.seen(window)
    closed = windows.state(seen, now(session)) is windows.WindowState.CLOSED
    if closed and not await window_queries.comes_a_file(session, window.window_id):
        window.closed_at = now(session)
        publish(session, WindowClosed(window_id=window.window_id, closed_at=windows.accepts_until(seen)))


async def hold_open(session: AsyncSession, window_id: UUID) -> windows.Window:
    """Lock and return a window: nobody can close it early until this transaction ends."""
    statement = select(Window).where(Window.window_id == window_id).with_for_update(read=True)
    return window_queries.seen((await session.scalars(statement, execution_options={"populate_existing": True})).one())
