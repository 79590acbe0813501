"""Money that finance must look at."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from payments.adapters.provider import PaymentProvider, ProviderRefused, ProviderUnavailable
from payments.api.views import (
    UnmatchedPaymentClosure,
    UnmatchedPaymentView,
)
from payments.commands import closing
from payments.domain.orders import OwnOrder
from payments.domain.unmatched import (
    ExplanationNeeded,
    PaidAnotherRefund,
    PaidMoreThanOwed,
    PaidPart,
    PartsDoNotAddUp,
    RefundOfAnotherPayment,
    UnmatchedPaymentEnded,
)
from payments.queries.finance import unmatched_page
from payments.tables import UnmatchedPayment
from shared.web import (
    CallerOf,
    Idempotent,
    Money,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    error_responses,
    page_of,
    resource,
)

router = Router()

Provider = Annotated[PaymentProvider, resource(PaymentProvider)]


@router.get("/v1/unmatched-payments", operation_id="list_unmatched_payments")
async def list_unmatched_payments(
    session: ReadSession,
    paging: Paging,
    open_: Annotated[bool, Query(alias="open", description="Those that wait, or those that have ended")] = True,
) -> Page[UnmatchedPaymentView]:
    """Money the provider reports and we cannot place, the newest first; finance looks at each until it ends by itself
    or is closed."""
    found, following = await unmatched_page(session, open_=open_, paging=paging)
    return page_of(found, _unmatched, following)


@router.post(
    "/v1/unmatched-payments/{unmatched_id}/closure",
    operation_id="close_unmatched_payment",
    dependencies=[Idempotent],
    responses=error_responses(
        OwnOrder,
        UnmatchedPaymentEnded,
        ExplanationNeeded,
        RefundOfAnotherPayment,
        PaidAnotherRefund,
        PaidMoreThanOwed,
        PartsDoNotAddUp,
        ProviderUnavailable,
        ProviderRefused,
    ),
)
async def close_unmatched_payment(
    *, unmatched_id: UUID, closure: UnmatchedPaymentClosure, session: Session, caller: CallerOf, provider: Provider
) -> UnmatchedPaymentView:
    """Close an unmatched payment that finance has seen to. It is shown again only when something else becomes known
    about it.

    Of an unknown refund of a payment of ours it is said what it paid, for other refunds of that payment wait: one or
    several of ours, which then stand as the provider reports it, or none of ours; then the others are sent beside it.
    What is beyond what is neither paid nor being paid of ours is said, too. What was closed as none of ours is closed
    again with the refunds that it paid.
    """
    paid = [PaidPart(one.refund_id, one.amount_minor) for one in closure.paid]
    explanation = closing.Explanation(paid, closure.not_owed_minor, closure.not_ours)
    return _unmatched(
        await closing.close_unmatched(session, provider, unmatched_id, closure.note, explanation, caller.name)
    )


def _unmatched(one: UnmatchedPayment) -> UnmatchedPaymentView:
    return UnmatchedPaymentView.model_validate(
        {
            **{name: getattr(one, name) for name in UnmatchedPaymentView.model_fields if name != "amount"},
            "amount": Money.model_validate(one) if one.amount_minor is not None and one.currency else None,
        }
    )
