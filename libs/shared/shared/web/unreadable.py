"""Rows that cannot be shown: with a word or number this release does not know, or damaged.

A newer release may have written them before it was taken back. A list shows all others, and says how many it leaves
out; who asks for such a row alone is told that it cannot be shown. This is for what is shown only: a sum, or a decision
about money or credit, fails where one of its rows cannot be read.
"""

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final, TypeVar, cast
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState

from shared import telemetry
from shared.errors import DomainError
from shared.regulations import UnknownRegulations
from shared.web.paging import Page

log = logging.getLogger(__name__)

R = TypeVar("R")
V = TypeVar("V")


class UnreadableRecord(DomainError):
    """What is stored here is not understood by this release, or is damaged; it has been recorded."""

    status = 500
    title = "Unreadable record"

    def __init__(self) -> None:
        super().__init__("this release cannot show this; it has been recorded")


UNREADABLE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    UnknownRegulations,
)
"""What a function that makes a view of a row raises where it does not understand the row."""


def views_of(rows: Iterable[R], view: Callable[[R], V]) -> tuple[list[V], int]:
    """Return the views of rows, and how many rows have none, as they cannot be shown; these are logged and counted.

    `view` only looks at what is loaded already.
    """
    views: list[V] = []
    unreadable = 0
    for row in rows:
        try:
            views.append(view(row))
        except UNREADABLE as error:
            note_unreadable(error, row)
            unreadable += 1
    return views, unreadable


def page_of(rows: Iterable[R], view: Callable[[R], V], next_cursor: str | None = None) -> Page[V]:
    """Return the page of those rows that can be shown, and how many cannot (`views_of`)."""
    items, unreadable = views_of(rows, view)
    return Page(items=items, next_cursor=next_cursor, unreadable=unreadable)


def view_of(row: R, view: Callable[[R], V]) -> V:
    """Return the view of one row that was asked for.

    Raises UnreadableRecord: it cannot be shown.
    """
    with understood(row):
        return view(row)


@contextmanager
def understood(row: object) -> Generator[None]:
    """Turn a failure of the block to make sense of what is stored into the error that this row cannot be shown.

    Raises UnreadableRecord.
    """
    try:
        yield
    except UNREADABLE as error:
        note_unreadable(error, row)
        raise UnreadableRecord from None


def note_unreadable(error: Exception, row: object = None) -> None:
    """Log and count a row that cannot be shown: its table and key, and none of its values, which are people's data."""
    operation = telemetry.operation.get() or ""
    telemetry.rows_unreadable.labels(operation).inc()
    what = {"operation": operation, "row": _key_of(row), "error": _words(error), "at": _place_of(error)}
    log.error("a row cannot be shown", extra=what)


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        wrong = error.errors(include_input=False, include_context=False, include_url=False)
        return f"{error.title}: {[(one['loc'], one['type']) for one in wrong]}"
    return type(error).__name__


def _place_of(error: Exception) -> str:
    """Return the function and line in which the error arose."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"


def _key_of(row: object) -> str:
    """Return a row's table and primary key, or those of the first row in what is made of several."""
    state = inspect(row, raiseerr=False)
    if isinstance(state, InstanceState):
        return " ".join([type(row).__name__, *map(str, state.identity or ())])
    kind = type(row).__name__
    parts = {str(name): getattr(row, name) for name in getattr(row, "__dataclass_fields__", ())}
    if isinstance(row, tuple):
        parts = {str(number): part for number, part in enumerate(cast("tuple[object, ...]", row))}
    rows = [_key_of(part) for part in parts.values() if isinstance(inspect(part, raiseerr=False), InstanceState)]
    ids = [f"{name} {part}" for name, part in parts.items() if isinstance(part, UUID)]
    return next(iter([*rows, *ids]), kind)
