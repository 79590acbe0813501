"""The lists that finance reads: disputes, unmatched payments, refunds."""

from sqlalchemy import ColumnElement, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from payments.domain.refunds import NOT_WITH_PROVIDER, Reason, RefundStatus
from payments.domain.unmatched import Why
from payments.tables import (
    Dispute,
    Payment,
    Refund,
    UnmatchedPayment,
)
from shared.paging import PageRequest, paginate, paginate_each


async def disputes_page(
    session: AsyncSession, *, open_: bool | None, paging: PageRequest
) -> tuple[list[Dispute], str | None]:
    statement = select(Dispute)
    if open_ is not None:
        statement = statement.where(Dispute.closed_at.is_(None) if open_ else Dispute.closed_at.is_not(None))
    return await paginate(session, statement, paging, by=[Dispute.opened_at, Dispute.dispute_id])


async def count_waiting(session: AsyncSession) -> tuple[int, int, int, int]:
    """Return how many unmatched payments are open, refunds failed, refunds delayed and disputes open: each counted by
    an index that has these alone, or begins with them."""
    counts = (
        select(func.count()).select_from(UnmatchedPayment).where(UnmatchedPayment.ended_at.is_(None)),
        select(func.count()).select_from(Refund).where(Refund.status == RefundStatus.FAILED),
        select(func.count()).select_from(Refund).where(_is_delayed()),
        select(func.count()).select_from(Dispute).where(Dispute.closed_at.is_(None)),
    )
    row = (await session.execute(select(*(count.scalar_subquery() for count in counts)))).one()
    return row[0], row[1], row[2], row[3]


async def unmatched_sum(session: AsyncSession, payment: Payment, reason: Why) -> tuple[int, str] | None:
    """Return the amount and currency that finance was last shown of a payment, for this reason, and that still hold."""
    row = await session.execute(
        select(UnmatchedPayment.amount_minor, UnmatchedPayment.currency).where(
            UnmatchedPayment.provider == payment.provider,
            UnmatchedPayment.reference == payment.reference,
            UnmatchedPayment.reason == reason,
            is_still_shown(),
        )
    )
    return next(((amount, currency) for amount, currency in row if amount is not None and currency is not None), None)


def is_still_shown() -> ColumnElement[bool]:
    """Select what has not ended by itself, closed by finance or not."""
    return or_(UnmatchedPayment.ended_at.is_(None), UnmatchedPayment.ended_by.is_not(None))


async def unmatched_page(
    session: AsyncSession, *, open_: bool, paging: PageRequest
) -> tuple[list[UnmatchedPayment], str | None]:
    ended = UnmatchedPayment.ended_at
    return await paginate(
        session,
        select(UnmatchedPayment).where(ended.is_(None) if open_ else ended.is_not(None)),
        paging,
        by=[UnmatchedPayment.first_at, UnmatchedPayment.unmatched_id],
        descending=True,
    )


def _is_delayed() -> ColumnElement[bool]:
    return and_(Refund.delayed_since.is_not(None), Refund.status.in_(NOT_WITH_PROVIDER))


async def refunds_page(
    session: AsyncSession, status: RefundStatus | None, paging: PageRequest
) -> tuple[list[Refund], str | None]:
    """Return a page of refunds in this state, or, without one, of those that failed or are delayed, the oldest first;
    with those that failed all whose state this release does not know, which somebody must see as well."""
    states: list[str] = [status or RefundStatus.FAILED]
    if RefundStatus.FAILED in states:
        known = list(RefundStatus)
        states += [one for one in (await session.scalars(_REFUND_STATES)).all() if one not in known]
    found = [select(Refund).where(Refund.status == one, Refund.reason_code != Reason.NOT_PAID_FOR) for one in states]
    if status is None:
        found.append(select(Refund).where(_is_delayed()))
    return await paginate_each(session, found, paging, by=[Refund.requested_at, Refund.refund_id])


_REFUND_STATES = text("""
    with recursive states as (
        (select status from refunds order by status limit 1)
        union all
        select (select next.status from refunds next where next.status > states.status order by next.status limit 1)
        from states where status is not null
    )
    select status from states where status is not null
""")
"""The states that refunds are in, by steps from one to the next in the index, however many refunds there are."""
