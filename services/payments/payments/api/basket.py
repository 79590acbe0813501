"""The basket: what a learner means to buy."""

from uuid import UUID

from fastapi import status
from sqlalchemy.ext.asyncio import AsyncSession

from payments.api.views import (
    BasketItemView,
    BasketView,
)
from payments.commands import basket
from payments.domain.orders import (
    BasketFull,
    CourseNotOnSale,
    CourseUnknown,
    RegistrationNeeded,
)
from payments.queries import orders
from shared.database import now
from shared.web import (
    CallerOf,
    Money,
    ReadSession,
    Router,
    Session,
    error_responses,
)

router = Router()


@router.get("/v1/basket", operation_id="read_basket")
async def read_basket(session: ReadSession, caller: CallerOf) -> BasketView:
    """What the caller means to buy, at present prices."""
    return await _basket(session, caller.own_id)


@router.put(
    "/v1/basket/items/{course_id}",
    operation_id="put_basket_item",
    responses=error_responses(RegistrationNeeded, CourseUnknown, CourseNotOnSale, BasketFull),
)
async def put_basket_item(course_id: UUID, session: Session, caller: CallerOf) -> BasketView:
    """Put a course into the basket; a second time changes nothing."""
    await basket.put_basket_item(session, caller.own_id, course_id)
    return await _basket(session, caller.own_id)


@router.delete(
    "/v1/basket/items/{course_id}", operation_id="remove_basket_item", status_code=status.HTTP_204_NO_CONTENT
)
async def remove_basket_item(course_id: UUID, session: Session, caller: CallerOf) -> None:
    """Take a course out of the basket; what is not there need not be removed."""
    await basket.remove_basket_item(session, caller.own_id, course_id)


async def _basket(session: AsyncSession, learner_id: UUID) -> BasketView:
    lines = await orders.basket(session, learner_id, now(session))
    totals: dict[str, int] = {}
    for line in lines:
        if line.offer is not None:
            totals[line.offer.currency] = totals.get(line.offer.currency, 0) + line.offer.amount_minor
    return BasketView(
        items=[
            BasketItemView(
                course_id=line.course_id,
                title=line.title,
                code=line.code,
                price=Money.model_validate(line.offer) if line.offer else None,
                on_sale=line.offer is not None,
                added_at=line.added_at,
            )
            for line in lines
        ],
        totals=[Money(amount_minor=amount, currency=currency) for currency, amount in sorted(totals.items())],
    )
