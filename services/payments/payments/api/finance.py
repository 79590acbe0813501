"""What finance sees and decides: what waits for a person, disputes, and the books."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from payments.api.views import (
    ID,
    DisputeClosingRequest,
    DisputeRequest,
    DisputeView,
    PostingView,
    RefundGrant,
    RefundView,
    UnmatchedPaymentClosure,
    UnmatchedPaymentView,
)
from payments.commands import disputes, refunds, unmatched
from payments.domain.disputes import (
    DisputeAlreadyClosed,
    DisputeAlreadyOpen,
    OrderInDispute,
    PaymentNotReceived,
    UnknownDisputeReason,
)
from payments.domain.orders import OrderNotPaid, OwnOrder
from payments.domain.refunds import Reason, RefundAlreadyRequested, RefundNotFailed, RefundStatus
from payments.domain.unmatched import UnmatchedPaymentEnded
from payments.queries.books import ledger_page
from payments.queries.finance import disputes_page, refunds_page, unmatched_page
from payments.queries.payments import references_of
from payments.tables import Dispute, Refund, UnmatchedPayment
from shared.database import Unknown
from shared.web import CallerOf, Idempotent, Money, Page, Paging, ReadSession, Router, Session, error_responses

router = Router()


class OrderRefundView(RefundView):
    order_id: UUID = Field(examples=[ID])
    payment_reference: str = Field(
        description="The provider's, of the payment it goes back from", examples=["FWU744586810"]
    )
    provider_refund_id: str | None = Field(description="The provider's last try", examples=["RPTTZ5J2D3"])
    failure_code: str | None = Field(description="Why it failed", examples=["provider_cancelled"])

    @classmethod
    def with_payment(cls, refund: Refund, payment_reference: str) -> "OrderRefundView":
        return cls(
            **dict(RefundView.of(refund)),
            order_id=refund.order_id,
            payment_reference=payment_reference,
            provider_refund_id=refund.provider_refund_id,
            failure_code=refund.failure_code,
        )


@router.get("/v1/refunds", operation_id="list_refunds")
async def list_refunds(
    session: ReadSession,
    paging: Paging,
    status: Annotated[
        RefundStatus, Query(description="failed: the provider will not pay; a person sends it again")
    ] = RefundStatus.FAILED,
) -> Page[OrderRefundView]:
    """Refunds in one state, the oldest request first: the failed wait for `retry_refund`."""
    found, following = await refunds_page(session, status, paging)
    references = await references_of(session, [one.payment_id for one in found])
    return Page(
        items=[OrderRefundView.with_payment(one, references[one.payment_id]) for one in found], next_cursor=following
    )


@router.post(
    "/v1/orders/{order_id}/lines/{line_id}/granted-refund",
    operation_id="grant_refund",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, OrderNotPaid, OrderInDispute, RefundAlreadyRequested),
)
async def grant_refund(
    order_id: UUID, line_id: UUID, grant: RefundGrant, session: Session, caller: CallerOf
) -> RefundView:
    """Finance gives one course back, also after the cooling-off period or a ratified result: access ends now, what was
    paid for it goes back. Credit earned with it is held, and others decide on it and on awards that stand on it."""
    return RefundView.of(await refunds.grant_refund(session, order_id, line_id, Reason(grant.reason_code), caller.name))


@router.post(
    "/v1/orders/{order_id}/refunds/{refund_id}/retry",
    operation_id="retry_refund",
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, RefundNotFailed),
)
async def retry_refund(order_id: UUID, refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Finance sends a refund again that the provider will not pay, or the rest of one of which it paid a part."""
    return RefundView.of(await refunds.retry_refund(session, order_id, refund_id, caller.name))


@router.get("/v1/unmatched-payments", operation_id="list_unmatched_payments")
async def list_unmatched_payments(
    session: ReadSession,
    paging: Paging,
    open_: Annotated[bool, Query(alias="open", description="Those that wait, or those that have ended")] = True,
) -> Page[UnmatchedPaymentView]:
    """Money the provider tells of and we cannot place, the newest first; finance looks at each until it ends by itself
    or is closed."""
    found, following = await unmatched_page(session, open_=open_, paging=paging)
    return Page(items=[_unmatched(one) for one in found], next_cursor=following)


@router.post(
    "/v1/unmatched-payments/{unmatched_id}/closure",
    operation_id="close_unmatched_payment",
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, UnmatchedPaymentEnded),
)
async def close_unmatched_payment(
    unmatched_id: UUID, closure: UnmatchedPaymentClosure, session: Session, caller: CallerOf
) -> UnmatchedPaymentView:
    """Finance has seen to it. It is shown again only when something else is told of it."""
    return _unmatched(await unmatched.close_unmatched(session, unmatched_id, closure.note, caller.name))


def _unmatched(one: UnmatchedPayment) -> UnmatchedPaymentView:
    return UnmatchedPaymentView.model_validate(
        {
            **{name: getattr(one, name) for name in UnmatchedPaymentView.model_fields if name != "amount"},
            "amount": Money.model_validate(one) if one.amount_minor is not None and one.currency else None,
        }
    )


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
    return (await _disputes(session, [dispute]))[0]


@router.post(
    "/v1/disputes/{dispute_id}/closing",
    operation_id="close_dispute",
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, DisputeAlreadyClosed),
)
async def close_dispute(
    dispute_id: UUID, closing: DisputeClosingRequest, session: Session, caller: CallerOf
) -> DisputeView:
    """The bank has decided. Won or withdrawn, all goes on; lost, the payment counts as reversed."""
    closed = await disputes.close_dispute(session, dispute_id, closing.outcome, caller.name)
    return (await _disputes(session, [closed]))[0]


@router.get("/v1/disputes", operation_id="list_disputes")
async def list_disputes(
    session: ReadSession,
    paging: Paging,
    open_: Annotated[bool | None, Query(alias="open", description="Only those that are open, or are not")] = None,
) -> Page[DisputeView]:
    """What is disputed, the oldest first."""
    found, following = await disputes_page(session, open_=open_, paging=paging)
    return Page(items=await _disputes(session, found), next_cursor=following)


async def _disputes(session: AsyncSession, found: Sequence[Dispute]) -> list[DisputeView]:
    references = await references_of(session, [one.payment_id for one in found])
    return [
        DisputeView.model_validate(
            {
                **{name: getattr(one, name) for name in DisputeView.model_fields if hasattr(one, name)},
                "payment_reference": references[one.payment_id],
            }
        )
        for one in found
    ]


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
