"""What finance reads of the double-entry books: postings, of one order or of all."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from payments.api.views import (
    PostingView,
)
from payments.queries.books import PostingWithEntries, ledger_page
from shared.web import (
    Page,
    Paging,
    ReadSession,
    Router,
    page_of,
)

router = Router()


@router.get("/v1/ledger", operation_id="list_ledger")
async def list_ledger(
    session: ReadSession,
    paging: Paging,
    order_id: Annotated[UUID | None, Query(description="Only this order's postings")] = None,
) -> Page[PostingView]:
    """The books, from the first posting on."""
    found, following = await ledger_page(session, order_id, paging)
    return page_of(found, _posting, following)


def _posting(one: PostingWithEntries) -> PostingView:
    """Of entries that cannot be shown no sum would be right: then all of the posting is left out."""
    fields = {name: getattr(one.posting, name) for name in PostingView.model_fields if name != "entries"}
    return PostingView.model_validate({**fields, "entries": list(one.entries)})
