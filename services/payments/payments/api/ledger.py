"""The books."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from payments.api.views import (
    PostingView,
)
from payments.queries.books import ledger_page
from shared.web import Page, Paging, ReadSession, Router

router = Router()


@router.get("/v1/ledger", operation_id="list_ledger")
async def list_ledger(
    session: ReadSession,
    paging: Paging,
    order_id: Annotated[UUID | None, Query(description="Only this order's postings")] = None,
) -> Page[PostingView]:
    """The books, from the first posting on."""
    found, following = await ledger_page(session, order_id, paging)
    return Page(
        items=[
            PostingView.model_validate(
                {
                    **{name: getattr(one.posting, name) for name in PostingView.model_fields if name != "entries"},
                    "entries": list(one.entries),
                }
            )
            for one in found
        ],
        next_cursor=following,
    )
