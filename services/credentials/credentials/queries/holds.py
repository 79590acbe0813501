"""Holds: credit whose money went back."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain.holds import PAYMENT_LOST, REFUNDED
from credentials.tables.awards import CreditHold
from credentials.tables.courses import Enrolment
from credentials.tables.facts import Credit, Payment


def is_unpaid() -> ColumnElement[bool]:
    """Return a condition on enrolments: the money went back, and where it was lost, did not come again."""
    enrolment, payment = Enrolment, Payment
    came = exists().where(payment.order_id == enrolment.order_id, payment.settled_at > payment.reversed_at)
    return or_(enrolment.end_reason == REFUNDED, and_(enrolment.end_reason == PAYMENT_LOST, ~came))


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


async def ended_for_want_of_money(session: AsyncSession, order_id: UUID) -> bool:
    """Return whether an enrolment of the order ended because its payment was lost."""
    enrolment = Enrolment
    found = exists().where(enrolment.order_id == order_id, enrolment.end_reason == PAYMENT_LOST)
    return bool(await session.scalar(select(found)))
