"""What payments does about what others announce. Copies are kept whatever the order of arrival."""

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from payments.commands.erasure import forget_payer
from payments.commands.refunds import refund_line
from payments.domain.refunds import Reason
from payments.tables import EndedEnrolment, Learner, OfferedCourse, Order, OrderLine, Price
from shared.database import fetch
from shared.events.catalogue import CoursePublished, CourseUpdated, CourseWithdrawn, PriceChanged
from shared.events.enrolment import (
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentFailed,
    LearnerAnonymised,
    LearnerRegistered,
)
from shared.messaging import Inbox, NotYet

inbox = Inbox("payments")


@inbox.on(CoursePublished, CourseUpdated)
async def offer_course(session: AsyncSession, published: CoursePublished) -> None:
    """The newest version is the one on sale, whichever is heard last."""
    values = {
        "course_version_id": published.course_version_id,
        "version": published.version,
        "code": published.code,
        "title": published.title,
    }
    statement = insert(OfferedCourse).values(course_id=published.course_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["course_id"],
            set_=values,
            where=func.coalesce(OfferedCourse.version, 0) < published.version,
        )
    )


@inbox.on(CourseWithdrawn)
async def stop_selling(session: AsyncSession, withdrawn: CourseWithdrawn) -> None:
    await session.execute(
        insert(OfferedCourse)
        .values(course_id=withdrawn.course_id, withdrawn_at=withdrawn.withdrawn_at)
        .on_conflict_do_update(index_elements=["course_id"], set_={"withdrawn_at": withdrawn.withdrawn_at})
    )


@inbox.on(PriceChanged)
async def note_price(session: AsyncSession, changed: PriceChanged) -> None:
    await session.execute(
        insert(Price)
        .values(
            price_id=changed.price_id,
            course_id=changed.course_id,
            amount_minor=changed.amount_minor,
            currency=changed.currency,
            valid_from=changed.valid_from,
        )
        .on_conflict_do_nothing()
    )


@inbox.on(LearnerRegistered)
async def admit_learner(session: AsyncSession, registered: LearnerRegistered) -> None:
    await session.execute(
        insert(Learner)
        .values(learner_id=registered.learner_id, registered_at=registered.registered_at)
        .on_conflict_do_nothing()
    )


@inbox.on(LearnerAnonymised)
async def forget_learner(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Who paid is forgotten; what was paid is not."""
    await forget_payer(session, anonymised.learner_id, anonymised.anonymised_at)


@inbox.on(EnrolmentActivated)
async def note_access(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """The cooling-off period runs from the later of contract and access."""
    line = await session.get(OrderLine, activated.order_line_id, with_for_update=True)
    if line is None:
        raise NotYet(f"order line {activated.order_line_id} is not known")
    line.enrolment_id, line.access_at = activated.enrolment_id, activated.activated_at


@inbox.on(ActivationRefused)
async def compensate(session: AsyncSession, refused: ActivationRefused) -> None:
    """What was paid for and cannot be given is given back."""
    if await session.get(OrderLine, refused.order_line_id) is None:
        raise NotYet(f"order line {refused.order_line_id} is not known")
    order = await fetch(session, Order, refused.order_id, lock=True)
    line = await fetch(session, OrderLine, refused.order_line_id)
    if order.paid_at is None:
        raise NotYet(f"the payment of order {order.order_id} is not known")
    await refund_line(session, order, line, Reason.ACTIVATION_IMPOSSIBLE, f"enrolment: {refused.reason_code}")


@inbox.on(EnrolmentCancelled, EnrolmentFailed)
async def note_end(session: AsyncSession, ended: EnrolmentCancelled | EnrolmentFailed) -> None:
    """The course may be bought again."""
    at = ended.cancelled_at if isinstance(ended, EnrolmentCancelled) else ended.failed_at
    await session.execute(
        insert(EndedEnrolment)
        .values(enrolment_id=ended.enrolment_id, learner_id=ended.learner_id, course_id=ended.course_id, ended_at=at)
        .on_conflict_do_nothing()
    )
