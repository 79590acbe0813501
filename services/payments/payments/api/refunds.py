"""Refunds: asked for by learners, granted and sent again by finance."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, status
from pydantic import Field

from payments.api.views import (
    ID,
    RefundGrant,
    RefundView,
)
from payments.commands import refunds
from payments.domain.disputes import (
    OrderInDispute,
)
from payments.domain.orders import (
    OrderNotPaid,
    OwnOrder,
)
from payments.domain.refunds import (
    CoolingOffEnded,
    Reason,
    RefundAlreadyRequested,
    RefundNotFailed,
    RefundStatus,
    ResultRatified,
)
from payments.queries.finance import refunds_page
from payments.queries.payments import references_of
from payments.tables import Order, Refund
from shared.database import fetch
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
)

router = Router()


class OrderRefundView(RefundView):
    """A refund as finance sees it: with its order, its payment at the provider, and why it failed; null unless it
    did."""

    order_id: UUID = Field(examples=[ID])
    payment_reference: str = Field(
        description="The provider's, of the payment it goes back from", examples=["FWU744586810"]
    )
    provider_refund_id: str | None = Field(description="The provider's last try", examples=["RPTTZ5J2D3"])
    failure_code: str | None = Field(
        description="Why it failed. `provider_refused`: the provider declined to make it; see there why, then retry. "
        "`provider_cancelled`: it was made and cancelled there; ask why, then retry it. `no_effect_seen`: no answer "
        "came and it was not found; look in the provider's own dashboard, and retry it only where it is not there. "
        "Any other `provider_…` is the provider's own status: look there first",
        examples=["provider_cancelled"],
    )

    @classmethod
    def with_payment(cls, refund: Refund, payment_reference: str) -> "OrderRefundView":
        return cls(
            **dict(RefundView.of(refund)),
            order_id=refund.order_id,
            payment_reference=payment_reference,
            provider_refund_id=refund.provider_refund_id,
            failure_code=refund.failure_code,
        )


@router.post(
    "/v1/orders/{order_id}/lines/{line_id}/refund",
    operation_id="request_refund",
    status_code=status.HTTP_201_CREATED,
    dependencies=[Idempotent],
    responses=error_responses(OrderNotPaid, OrderInDispute, CoolingOffEnded, ResultRatified, RefundAlreadyRequested),
)
async def request_refund(order_id: UUID, line_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Cancel one course within the cooling-off period, unless its result was ratified: access ends now, what was paid
    for it goes back."""
    caller.must_own((await fetch(session, Order, order_id)).learner_id)
    return RefundView.of(await refunds.request_refund(session, order_id, line_id, caller.name))


@router.get("/v1/refunds", operation_id="list_refunds")
async def list_refunds(
    session: ReadSession,
    paging: Paging,
    status: Annotated[
        RefundStatus | None,
        Query(
            description="By default those that somebody has to see to: the failed (the provider will not pay, or "
            "nothing was seen of it; a person sends it again), and the delayed, whatever holds them back"
        ),
    ] = None,
) -> Page[OrderRefundView]:
    """Refunds in one state, or those that are failed or delayed, the oldest request first. The failed wait for
    `retry_refund`; what the delayed wait for, `list_unmatched_payments` may say. Among the failed are counted, as
    `unreadable`, those in a state that this release does not know."""
    found, following = await refunds_page(session, status, paging)
    references = await references_of(session, [one.payment_id for one in found])
    return page_of(found, lambda one: OrderRefundView.with_payment(one, references[one.payment_id]), following)


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
    paid for it goes back. Credit earned with it is held, and others decide on it and on awards that stand on it. While
    the payment is lost no money moves, and none is asked for the course any more; it goes back should it come after
    all."""
    return RefundView.of(await refunds.grant_refund(session, order_id, line_id, Reason(grant.reason_code), caller.name))


@router.post(
    "/v1/orders/{order_id}/refunds/{refund_id}/retry",
    operation_id="retry_refund",
    dependencies=[Idempotent],
    responses=error_responses(OwnOrder, RefundNotFailed),
)
async def retry_refund(order_id: UUID, refund_id: UUID, session: Session, caller: CallerOf) -> RefundView:
    """Finance sends a refund again that the provider will not pay, or the rest of one of which it paid a part. Where
    `failure_code` is `no_effect_seen`, look first in the provider's own dashboard: nothing in its answers shows that
    refund, and it takes no key by which it would know that it is the same."""
    return RefundView.of(await refunds.retry_refund(session, order_id, refund_id, caller.name))
