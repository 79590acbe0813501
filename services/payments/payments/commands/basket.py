"""The basket: courses somebody means to buy."""

from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain import orders
from payments.domain.policy import policy_at
from payments.queries.orders import offers
from payments.tables import BasketItem, Learner, OfferedCourse
from shared.database import advisory_lock, now


async def put_basket_item(session: AsyncSession, learner_id: UUID, course_id: UUID) -> None:
    """Put a course into the learner's basket; one that is there already stays as it is.

    Raises RegistrationNeeded, CourseUnknown, CourseNotOnSale, BasketFull.
    """
    at = now(session)
    await advisory_lock(session, "basket", learner_id)
    learner = await session.get(Learner, learner_id)
    if learner is not None and learner.anonymised_at is not None:  # a token lives on for its minutes
        raise orders.RegistrationNeeded("this account was closed")
    known = await session.get(OfferedCourse, course_id)
    if known is None or known.course_version_id is None:
        raise orders.CourseUnknown(f"no course {course_id}")
    if course_id not in await offers(session, [course_id], at):
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
    """Take a course out of the learner's basket, if it is there."""
    await session.execute(
        delete(BasketItem).where(BasketItem.learner_id == learner_id, BasketItem.course_id == course_id)
    )
