"""What finance reads to see what waits for a person."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import Field

from payments import queries
from payments.api.views import ID, RefundView
from payments.domain.refunds import RefundStatus
from payments.tables import Refund
from shared.web import Page, Paging, Router, Session

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
    session: Session,
    paging: Paging,
    status: Annotated[
        RefundStatus, Query(description="failed: the provider will not pay; a person sends it again")
    ] = RefundStatus.FAILED,
) -> Page[OrderRefundView]:
    """Refunds in one state, the oldest request first: the failed wait for `retry_refund`."""
    found, following = await queries.refunds_page(session, status, paging)
    references = await queries.references_of(session, [one.payment_id for one in found])
    return Page(
        items=[OrderRefundView.with_payment(one, references[one.payment_id]) for one in found], next_cursor=following
    )
