"""Holds: credit whose money went back."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.holds import PAYMENT_LOST, REFUNDED, WITHDRAWN
from credentials.tables.awards import CreditHold
from credentials.tables.courses import Enrolment
from credentials.tables.facts import Credit, Payment


def is_unpaid() -> ColumnElement[bool]:
    """Return a condition on enrolments that ended: the money went back, or was lost and did not come again."""
    enrolment, payment = Enrolment, Payment
    of_order = payment.order_id == enrolment.order_id
    came = exists().where(of_order, payment.settled_at > payment.reversed_at)
    gone = exists().where(
        of_order, func.coalesce(payment.settled_at <= payment.reversed_at, payment.reversed_at.is_not(None))
    )
    return or_(
        enrolment.end_reason == REFUNDED,
        and_(enrolment.end_reason == PAYMENT_LOST, ~came),
        and_(enrolment.end_reason == WITHDRAWN, gone),
    )


def is_held() -> ColumnElement[bool]:
    """Return a condition on holds: the hold is open."""
    return CreditHold.released_at.is_(None)


async def held_among(session: AsyncSession, credit_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these credits that are held."""
    found = select(CreditHold.credit_id).where(CreditHold.credit_id.in_(credit_ids), is_held())
    return set(await session.scalars(found)) if credit_ids else set()


def holds_query(*, open_: bool) -> Select[CreditHold]:
    return select(CreditHold).where(is_held() if open_ else ~is_held())


async def held_credit(session: AsyncSession, holds: Collection[CreditHold]) -> dict[UUID, Credit]:
    credit = Credit
    found = await session.scalars(select(credit).where(credit.credit_id.in_([hold.credit_id for hold in holds])))
    return {one.credit_id: one for one in found}


async def has_brought_credit(session: AsyncSession, learner_id: UUID, enrolment_id: UUID) -> bool:
    """Return whether an enrolment gave the learner credit."""
    credit = Credit
    found = exists().where(credit.learner_id == learner_id, credit.enrolment_id == enrolment_id)
    return bool(await session.scalar(select(found)))


async def ended_beside_its_money(session: AsyncSession, order_id: UUID) -> bool:
    """Return whether an enrolment of the order ended in a way after which its credit is held only while the money is
    gone."""
    enrolment = Enrolment
    found = exists().where(enrolment.order_id == order_id, enrolment.end_reason.in_((PAYMENT_LOST, WITHDRAWN)))
    return bool(await session.scalar(select(found)))
