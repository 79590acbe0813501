"""Handlers of other services' events. Our copies are right whatever the order of arrival."""

from typing import Final

from sqlalchemy import and_, func, or_, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import expression

from payments.commands.erasure import erase_payer
from payments.commands.orders import close_repayment_of
from payments.commands.refunds import refund_line
from payments.domain.refunds import Reason
from payments.tables import (
    BegunEnrolment,
    ContestedCredit,
    EndedEnrolment,
    Learner,
    OfferedCourse,
    Order,
    OrderLine,
    Price,
    RatifiedResult,
)
from shared.database import fetch
from shared.events.assessment import AttemptsExhausted, CreditAwarded, CreditReinstated, CreditRevoked, FailRatified
from shared.events.catalogue import CoursePublished, CourseUpdated, CourseWithdrawn, PriceChanged
from shared.events.enrolment import (
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
    EnrolmentFailed,
    LearnerAnonymised,
    LearnerRegistered,
)
from shared.messaging import Inbox, RetryLater

inbox = Inbox("payments")


@inbox.on(CoursePublished, CourseUpdated)
async def offer_course(session: AsyncSession, published: CoursePublished) -> None:
    """Store a course as on sale in the version published last, whichever version's event arrives last.

    A catalogue that has lost history gives a version's number, too, a second time.
    """
    values = {
        "course_version_id": published.course_version_id,
        "version": published.version,
        "code": published.code,
        "title": published.title,
        "published_at": published.published_at,
    }
    offered = OfferedCourse
    statement = insert(OfferedCourse).values(course_id=published.course_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["course_id"],
            set_=values,
            where=or_(
                tuple_(offered.published_at, offered.version) < tuple_(published.published_at, published.version),
                and_(offered.published_at.is_(None), func.coalesce(offered.version, 0) <= published.version),
            ),
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
            set_by=changed.set_by,
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
async def erase_learner(session: AsyncSession, anonymised: LearnerAnonymised) -> None:
    """Erase who paid; what was paid stays."""
    await erase_payer(session, anonymised.learner_id, anonymised.anonymised_at)


@inbox.remember(EnrolmentActivated)
async def note_enrolment(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """Store that somebody has an enrolment, also for an order line that is unknown here: nobody buys the course
    beside it."""
    await session.execute(
        insert(BegunEnrolment)
        .values(
            enrolment_id=activated.enrolment_id,
            learner_id=activated.learner_id,
            course_id=activated.course_id,
            order_id=activated.order_id,
            order_line_id=activated.order_line_id,
            begun_at=activated.activated_at,
        )
        .on_conflict_do_nothing()
    )


class AnotherActivation(Exception):
    """An order line was activated before, as another enrolment."""


@inbox.on(EnrolmentActivated)
async def note_access(session: AsyncSession, activated: EnrolmentActivated) -> None:
    """Store when access began: the cooling-off period runs from the later of contract and access.

    Raises AnotherActivation, for a person to see: enrolment may have lost the first one with its history.
    """
    line = await session.get(OrderLine, activated.order_line_id, with_for_update={"key_share": True})
    if line is None:
        raise RetryLater(f"order line {activated.order_line_id} is not known")
    if line.enrolment_id not in {None, activated.enrolment_id}:
        raise AnotherActivation(f"order line {line.order_line_id} is of the enrolment {line.enrolment_id}")
    line.enrolment_id, line.access_at = activated.enrolment_id, activated.activated_at


@inbox.on(ActivationRefused)
async def compensate(session: AsyncSession, refused: ActivationRefused) -> None:
    """Refund a line that was paid for and could not be activated."""
    if await session.get(OrderLine, refused.order_line_id) is None:
        raise RetryLater(f"order line {refused.order_line_id} is not known")
    order = await fetch(session, Order, refused.order_id, lock=True)
    line = await fetch(session, OrderLine, refused.order_line_id)
    if order.paid_at is None:
        raise RetryLater(f"the payment of order {order.order_id} is not known")
    await refund_line(session, order, line, Reason.ACTIVATION_IMPOSSIBLE, f"enrolment: {refused.reason_code}")


_ENDED_AT: Final = {
    EnrolmentCancelled: "cancelled_at",
    EnrolmentFailed: "failed_at",
    AttemptsExhausted: "exhausted_at",
}


@inbox.on(*_ENDED_AT)
async def note_end(session: AsyncSession, ended: EnrolmentCancelled | EnrolmentFailed | AttemptsExhausted) -> None:
    """Store that an enrolment has ended: its course may be bought again, and is not paid again.

    One that is suspended is not announced as failed when its last attempt is.
    """
    at = getattr(ended, _ENDED_AT[type(ended)])
    await session.execute(
        insert(EndedEnrolment)
        .values(enrolment_id=ended.enrolment_id, learner_id=ended.learner_id, course_id=ended.course_id, ended_at=at)
        .on_conflict_do_nothing()
    )
    await close_repayment_of(session, ended.learner_id, ended.enrolment_id)


@inbox.on(CreditAwarded, FailRatified)
async def note_result(session: AsyncSession, ratified: CreditAwarded | FailRatified) -> None:
    """Store that a result was ratified: its course is no longer given back by the learner alone, nor, if passed, bought
    again."""
    passed = isinstance(ratified, CreditAwarded)
    statement = insert(RatifiedResult).values(enrolment_id=ratified.enrolment_id, passed=passed)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["enrolment_id"],
            set_={"passed": func.coalesce(RatifiedResult.passed, expression.false()) | passed},
        )
    )


@inbox.on(CreditRevoked, CreditReinstated)
async def note_credit(session: AsyncSession, changed: CreditRevoked | CreditReinstated) -> None:
    """Store whether a credit is revoked: whoever lost it may buy its course again."""
    if changed.enrolment_id is None or changed.revision is None:  # published by a release without these fields
        return
    values = {"revoked": isinstance(changed, CreditRevoked), "revision": changed.revision}
    statement = insert(ContestedCredit).values(credit_id=changed.credit_id, enrolment_id=changed.enrolment_id, **values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["credit_id"], set_=values, where=ContestedCredit.revision < changed.revision
        )
    )
