"""Paging over HTTP: `limit` and `cursor` in, `items`, `next_cursor` and `unreadable` out (`shared.paging`)."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from shared.paging import PageRequest
from shared.web.content import describe_as_base

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list, in a fixed order. There are more while `next_cursor` is not null."""

    model_config = ConfigDict(json_schema_extra=describe_as_base)

    items: Sequence[T]
    next_cursor: str | None = Field(default=None, description="Send it as `cursor` for the next page; null at the end")
    unreadable: int = Field(
        default=0,
        description="How many more this page has that cannot be shown, for this release does not understand them or "
        "they are damaged; 0 as a rule",
        examples=[0],
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:  # Any: pydantic's own TypeForm
        """Return the model's name in the OpenAPI document, from that of its items: `OrderView` gives `OrderPage`."""
        return f"{params[0].__name__.removesuffix('View')}Page"


DEFAULT_LIMIT: Final = 20
MOST: Final = 100
"""The most items of one page."""


async def paging_of(
    limit: Annotated[int, Query(ge=1, le=MOST, description="How many items at most")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before")] = None,
) -> PageRequest:
    """Return the page that a request's parameters ask for."""
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(paging_of)]
