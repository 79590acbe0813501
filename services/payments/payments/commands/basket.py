"""The basket: courses somebody means to buy."""

from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments import queries
from payments.domain import orders
from payments.domain.policy import policy_at
from payments.tables import BasketItem, OfferedCourse
from shared.database import now, take_turns


async def put_basket_item(session: AsyncSession, learner_id: UUID, course_id: UUID) -> None:
    """Raises CourseUnknown, CourseNotOnSale, BasketFull. A course that is there already stays as it is."""
    at = now(session)
    await take_turns(session, "basket", learner_id)
    known = await session.get(OfferedCourse, course_id)
    if known is None or known.course_version_id is None:
        raise orders.CourseUnknown(f"no course {course_id}")
    if course_id not in await queries.offers(session, [course_id], at):
        raise orders.CourseNotOnSale("this course is not on sale", course_ids=[str(course_id)])
    others = await session.scalar(
        select(func.count())
        .select_from(BasketItem)
        .where(BasketItem.learner_id == learner_id, BasketItem.course_id != course_id)
    )
    most = policy_at(at).courses_at_most
    if (others or 0) >= most:
        raise orders.BasketFull(f"a basket holds {most} courses at most")
    await session.execute(
        insert(BasketItem).values(learner_id=learner_id, course_id=course_id, added_at=at).on_conflict_do_nothing()
    )


async def remove_basket_item(session: AsyncSession, learner_id: UUID, course_id: UUID) -> None:
    """What is not there need not be removed."""
    await session.execute(
        delete(BasketItem).where(BasketItem.learner_id == learner_id, BasketItem.course_id == course_id)
    )
