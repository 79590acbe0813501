"""Windows: which are open, come next, or are to be announced."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from assessment.domain import windows
from assessment.domain.windows import WindowState
from assessment.tables import UploadUnderWay, Window
from shared.database import now
from shared.paging import PageRequest, paginate

_accepts_until: ColumnElement[datetime] = Window.closes_at + Window.grace_seconds * timedelta(seconds=1)


async def list_windows(
    session: AsyncSession, state: WindowState | None, paging: PageRequest
) -> tuple[list[Window], str | None]:
    """Return a page of windows by their closing, without the closed ones unless these are asked for."""
    at = now(session)
    wanted = {
        None: _accepts_until > at,
        WindowState.UPCOMING: Window.opens_at > at,
        WindowState.OPEN: (Window.opens_at <= at) & (_accepts_until > at),
        WindowState.CLOSED: _accepts_until <= at,
    }[state]
    return await paginate(session, select(Window).where(wanted), paging, by=[Window.closes_at, Window.window_id])


def windows_opened_since(at: datetime) -> Select[UUID]:
    """Select windows that have opened without an announcement, the first to open first."""
    unannounced = Window.opened_at.is_(None) & Window.closed_at.is_(None)
    return select(Window.window_id).where(unannounced, Window.opens_at <= at).order_by(Window.opens_at)


def windows_closed_since(at: datetime) -> Select[UUID]:
    """Select windows that have closed without an announcement, the first to close first."""
    return select(Window.window_id).where(Window.closed_at.is_(None), _accepts_until <= at).order_by(Window.closes_at)


async def comes_a_file(session: AsyncSession, window_id: UUID, *, enrolment_id: UUID | None = None) -> bool:
    """Return whether a file is on its way into that window: anybody's, or one of that enrolment."""
    coming = exists().where(UploadUnderWay.window_id == window_id, UploadUnderWay.ends_by >= now(session))
    if enrolment_id is not None:
        coming = coming.where(UploadUnderWay.enrolment_id == enrolment_id)
    return bool(await session.scalar(select(coming)))


def seen(row: Window) -> windows.Window:
    """Return a window, as far as the rules need it."""
    return windows.Window(row.window_id, row.opens_at, row.closes_at, row.grace_seconds)


async def accepting_windows(session: AsyncSession, at: datetime) -> list[windows.Window]:
    statement = select(Window).where(Window.opens_at <= at, _accepts_until > at)
    return [seen(row) for row in await session.scalars(statement)]


async def coming_window(session: AsyncSession, at: datetime) -> windows.Window | None:
    """Return the window that takes work at that instant or, where none does, the one that opens next."""
    accepting = await accepting_windows(session, at)
    if accepting:
        return windows.choose(accepting, at)
    following = await next_window(session, at)
    return None if following is None else seen(following)


async def next_window(session: AsyncSession, at: datetime) -> Window | None:
    """Return the window that opens next; None where none is published."""
    statement = select(Window).where(Window.opens_at > at).order_by(Window.opens_at, Window.closes_at).limit(1)
    return await session.scalar(statement)
