"""Credit whose money went back: the holds that wait for a person, and the decision."""

from collections.abc import Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field

from credentials.commands import holds
from credentials.domain.holds import HoldEnded, OwnCredit, OwnRefund
from credentials.queries.holds import held_credit, holds_query
from credentials.tables.awards import CreditHold
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    view_of,
)

router = Router()

_EXAMPLE = "01936f2e-8f57-7cc1-9f0b-0d7d6a3c1e01"


class CreditHoldView(View):
    """Credit that counts for nothing new since its money went back; released_at is null while that is so."""

    credit_id: UUID = Field(examples=[_EXAMPLE])
    learner_id: UUID = Field(examples=[_EXAMPLE])
    course_code: str = Field(examples=["7DS501"])
    course_title: str = Field(examples=["Applied Machine Learning"])
    reason_code: Literal["refunded", "payment_lost"] = Field(
        description="payment_lost: it was taken back from us, and not paid again"
    )
    held_at: Instant
    released_at: Instant | None
    release_reason: Literal["goodwill", "complaint", "paid_otherwise", "money_restored"] | None = Field(
        description="money_restored: nobody decided, the money is there again"
    )


class CreditRelease(RequestModel):
    """The decision that credit counts again though its money went back."""

    reason_code: Literal["goodwill", "complaint", "paid_otherwise"] = Field(
        description="Why the credit stands without its money", examples=["goodwill"]
    )


@router.get("/v1/credit-holds", operation_id="list_credit_holds")
async def list_credit_holds(
    session: ReadSession,
    paging: Paging,
    open_: Annotated[bool, Query(alias="open", description="Those that wait, or those that have ended")] = True,
) -> Page[CreditHoldView]:
    """Credit that counts for nothing new, as what was paid for it went back: a person lets it stand, or a board revokes
    it. Awards that stand on it are reviewed besides."""
    rows, cursor = await paginate(session, holds_query(open_=open_), paging, by=(CreditHold.credit_id,))
    return page_of(rows, await _viewer(session, rows), cursor)


@router.post(
    "/v1/credit-holds/{credit_id}/release",
    operation_id="release_credit",
    dependencies=[Idempotent],
    responses=error_responses(OwnCredit, OwnRefund, HoldEnded),
)
async def release_credit(credit_id: UUID, body: CreditRelease, session: Session, caller: CallerOf) -> CreditHoldView:
    """Let credit stand although what was paid for it went back: it counts again, and reviews opened for it are over."""
    released = await holds.release_credit(session, credit_id, body.reason_code, caller.own_id)
    return view_of(released, await _viewer(session, [released]))


async def _viewer(session: Session, rows: list[CreditHold]) -> Callable[[CreditHold], CreditHoldView]:
    credit = await held_credit(session, rows)
    return lambda row: CreditHoldView.model_validate(
        {
            **{name: getattr(row, name) for name in CreditHoldView.model_fields if hasattr(row, name)},
            "course_code": credit[row.credit_id].course_code,
            "course_title": credit[row.credit_id].course_title,
        }
    )
