"""Cursor paging: a page of a statement's rows, and the cursor of the next; rows added meanwhile never shift a page."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.errors import Malformed
from shared.texts import is_storable


class BadCursor(Malformed):
    """A cursor is opaque: send back one we gave, for the same query."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The page a request asks for: how many items at most, after which cursor."""

    limit: int
    cursor: str | None

    def position(self) -> list[Any] | None:  # Any: the key columns' values
        """Return the position the cursor holds; None for the first page.

        Raises BadCursor: it is none of ours.
        """
        if self.cursor is None:
            return None
        try:
            packed = base64.urlsafe_b64decode(self.cursor.encode() + b"==")
            position = list(json.loads(packed, object_hook=_revive)["after"])
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise BadCursor("this cursor is none of ours") from error
        if not all(is_storable(value) for value in position if isinstance(value, str)):
            raise BadCursor("this cursor is none of ours")
        return position

    def position_by(self, by: Sequence[InstrumentedAttribute[Any]]) -> list[Any] | None:  # Any: the columns' values
        """Return the position in a list ordered by these columns; None for the first page.

        Raises BadCursor: the cursor is none of ours, or of another list.
        """
        position = self.position()
        if position is not None and [type(value) for value in position] != [one.type.python_type for one in by]:
            raise BadCursor("this cursor is of another query")
        return position


_DATA_EXCEPTION = "22"  # SQLSTATE class of values that do not fit their column


async def paginate(
    session: AsyncSession,
    statement: Select[Any],  # Any: rows of whatever is selected
    paging: PageRequest,
    *,
    by: Sequence[InstrumentedAttribute[Any]],
    descending: bool = False,
) -> tuple[list[Any], str | None]:
    """Return one page of mapped rows, and the cursor of the next one; None at the end.

    The columns `by` must be unique together; the last one usually is the key. Raises BadCursor: it is of another list.
    """
    position = paging.position_by(by)
    key = tuple_(*by)
    if position is not None:
        after = tuple_(*position)
        statement = statement.where(key < after if descending else key > after)
    order = [column.desc() if descending else column.asc() for column in by]
    try:
        rows = list((await session.scalars(statement.order_by(*order).limit(paging.limit + 1))).all())
    except DBAPIError as error:
        if position is not None and str(getattr(error.orig, "sqlstate", "")).startswith(_DATA_EXCEPTION):
            raise BadCursor("this cursor is of another query") from error
        raise
    if len(rows) <= paging.limit:
        return rows, None
    rows = rows[: paging.limit]
    return rows, encode([getattr(rows[-1], column.key) for column in by])


async def paginate_each(
    session: AsyncSession,
    statements: Iterable[Select[Any]],  # Any: rows of whatever is selected
    paging: PageRequest,
    *,
    by: Sequence[InstrumentedAttribute[Any]],
    descending: bool = False,
) -> tuple[list[Any], str | None]:
    """Return one page of the rows that several statements select together, in one order, and the next cursor.

    Each statement is read by its own index, and none further than the page. Raises BadCursor: it is of another list.
    """
    paging.position_by(by)  # a bad cursor is refused without any statement, too
    pages = [await paginate(session, one, paging, by=by, descending=descending) for one in statements]
    rows = [row for page, _ in pages for row in page]
    rows.sort(key=lambda row: [getattr(row, column.key) for column in by], reverse=descending)
    if len(rows) <= paging.limit and not any(cursor for _, cursor in pages):
        return rows, None
    rows = rows[: paging.limit]
    return rows, encode([getattr(rows[-1], column.key) for column in by])


def encode(position: Sequence[object]) -> str:
    """Return the cursor that stands after this position."""
    packed = json.dumps({"after": list(position)}, default=_pack, separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def _pack(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    if isinstance(value, UUID):
        return {"id": str(value)}
    message = f"a cursor cannot hold {type(value).__name__}"
    raise TypeError(message)


def _revive(value: dict[str, Any]) -> Any:  # Any: JSON
    if set(value) == {"at"}:
        at = datetime.fromisoformat(value["at"])
        if at.tzinfo is None:
            raise ValueError("an instant has an offset")
        return at.astimezone(UTC)
    if set(value) == {"id"}:
        return UUID(str(value["id"]))
    return value
