"""Disputes, as finance enters what it learns of them."""

from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncSession

from payments.api.views import (
    DisputeClosingRequest,
    DisputeRequest,
    DisputeView,
)
from payments.commands import disputes
from payments.domain.disputes import (
    DisputeAlreadyClosed,
    DisputeAlreadyOpen,
    PaymentNotReceived,
    UnknownDisputeReason,
)
from payments.domain.orders import OrderNotPaid, OwnOrder
from payments.queries.finance import disputes_page
from payments.queries.payments import references_of
from payments.tables import Dispute
from shared.database import Unknown
from shared.web import (
    CallerOf,
    Idempotent,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    error_responses,
    page_of,
    view_of,
)

router = Router()


@router.post(
    "/v1/disputes",
    operation_id="open_dispute",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        Unknown, OwnOrder, UnknownDisputeReason, OrderNotPaid, PaymentNotReceived, DisputeAlreadyOpen
    ),
)
async def open_dispute(body: DisputeRequest, session: Session, caller: CallerOf) -> DisputeView:
    """The payer asks their bank for the money back: its refunds wait, and where it pays the order, enrolments are
    suspended."""
    dispute = await disputes.open_dispute(
        session,
        body.order_id,
        reason_code=body.reason_code,
        case_reference=body.case_reference,
        by=caller.name,
        payment_reference=body.payment_reference,
    )
    return await _view(session, dispute)


@router.post(
    "/v1/disputes/{dispute_id}/closing",
    operation_id="close_dispute",
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, DisputeAlreadyClosed),
)
async def close_dispute(
    dispute_id: UUID, closing: DisputeClosingRequest, session: Session, caller: CallerOf
) -> DisputeView:
    """Close a dispute as the bank has decided it. Won or withdrawn, all goes on; lost, the payment counts as reversed.

    The dispute about a payment that was closed last counts: one that is won or withdrawn after a lost one restores the
    payment, or where another pays the order, gives it back. Name a lost payment by `payment_reference` to open it.
    """
    closed = await disputes.close_dispute(session, dispute_id, closing.outcome, caller.name)
    return await _view(session, closed)


@router.get("/v1/disputes", operation_id="list_disputes")
async def list_disputes(
    session: ReadSession,
    paging: Paging,
    open_: Annotated[bool | None, Query(alias="open", description="Only those that are open, or are not")] = None,
) -> Page[DisputeView]:
    """Disputes about payments, the oldest first."""
    found, following = await disputes_page(session, open_=open_, paging=paging)
    return page_of(found, await _viewer(session, found), following)


async def _view(session: AsyncSession, dispute: Dispute) -> DisputeView:
    return view_of(dispute, await _viewer(session, [dispute]))


async def _viewer(session: AsyncSession, found: Sequence[Dispute]) -> Callable[[Dispute], DisputeView]:
    references = await references_of(session, [one.payment_id for one in found])
    return lambda one: DisputeView.model_validate(
        {
            **{name: getattr(one, name) for name in DisputeView.model_fields if hasattr(one, name)},
            "payment_reference": references[one.payment_id],
        }
    )
