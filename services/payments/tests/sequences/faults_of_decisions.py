"""Faults in what people decide about money, and in what its end does to a course, each brought back by the smallest
change."""

from dataclasses import replace

from sqlalchemy import select

from payments.commands import closing, unmatched
from payments.domain.unmatched import Why
from payments.jobs import refunding
from payments.queries import orders
from payments.tables import OrderLine

from .replacing import everywhere


def what_was_granted_while_lost_is_asked_for_again(patch):
    async def not_ended(session, order, at):
        lines = select(OrderLine).where(
            OrderLine.order_id == order.order_id, ~orders._has_ended(OrderLine.enrolment_id)
        )
        return list(await session.scalars(lines.order_by(OrderLine.position)))

    everywhere(patch, orders.lines_still_bought, not_ended)


def a_refund_is_sent_beside_one_by_hand(patch):
    match = refunding._match_refunds

    async def match_without_a_look(work, claim, listed):
        return replace(await match(work, claim, listed), unexplained=[])

    patch.setattr(refunding, "_match_refunds", match_without_a_look)


def what_finance_explains_is_closed_alone(patch):
    async def nothing(session, provider, fact, explanation, *, corrected):
        pass

    patch.setattr(closing, "_take_in", nothing)


def what_was_paid_by_hand_is_shown_to_nobody(patch):
    show = unmatched.show_to_finance

    async def show_others(session, provider, reference, reason, **more):
        if reason is not Why.UNKNOWN_REFUND:
            await show(session, provider, reference, reason, **more)

    patch.setattr(unmatched, "show_to_finance", show_others)
