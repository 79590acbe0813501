"""Transfers, their lines, and which credit they hold."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.exchange.domain.transfers import LineState, TransferState
from credentials.tables.awards import Allocation
from credentials.tables.facts import Credit
from credentials.tables.transfers import Programme, Transfer, TransferLine

ACCEPTED = (LineState.COMMITTED, LineState.CONSUMED)


def transfers_query(*, learner_id: UUID | None = None, client_id: str | None = None) -> Select[Transfer]:
    statement = select(Transfer)
    if learner_id is not None:
        statement = statement.where(Transfer.learner_id == learner_id)
    if client_id is not None:
        statement = statement.where(Transfer.client_id == client_id)
    return statement


async def lines_of(
    session: AsyncSession, transfer_ids: Sequence[UUID]
) -> dict[UUID, list[tuple[TransferLine, Credit]]]:
    line, credit = TransferLine, Credit
    rows = await session.execute(
        select(line, credit)
        .join(credit, credit.credit_id == line.credit_id)
        .where(line.transfer_id.in_(transfer_ids))
        .order_by(credit.course_code, credit.credit_id)
    )
    found: dict[UUID, list[tuple[TransferLine, Credit]]] = {one: [] for one in transfer_ids}
    for row in rows:
        found[row[0].transfer_id].append((row[0], row[1]))
    return found


async def programmes_by_id(session: AsyncSession, programme_ids: Collection[UUID]) -> dict[UUID, Programme]:
    programme = Programme
    rows = await session.scalars(select(programme).where(programme.programme_id.in_(set(programme_ids))))
    return {row.programme_id: row for row in rows}


async def credits_accepted_in(session: AsyncSession, learner_id: UUID, programme_id: UUID) -> int:
    """Return how many credits of the learner's the programme holds or has used up."""
    accepted = await credits_accepted(session, [(learner_id, programme_id)])
    return accepted[learner_id, programme_id]


async def credits_accepted(session: AsyncSession, pairs: Sequence[tuple[UUID, UUID]]) -> Counter[tuple[UUID, UUID]]:
    """Return the same for many learners and programmes, in one statement."""
    line, transfer = TransferLine, Transfer
    rows = await session.execute(
        select(transfer.learner_id, transfer.programme_id, func.sum(line.credits_recognised))
        .join(transfer, transfer.transfer_id == line.transfer_id)
        .where(tuple_(transfer.learner_id, transfer.programme_id).in_(pairs), line.state.in_(ACCEPTED))
        .group_by(transfer.learner_id, transfer.programme_id)
    )
    return Counter({(row[0], row[1]): row[2] or 0 for row in rows})


async def allocated(session: AsyncSession, credit_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of these credits that stand under a live award or are held by a transfer."""
    allocation = Allocation
    rows = await session.scalars(
        select(allocation.credit_id).where(allocation.credit_id.in_(credit_ids), allocation.live)
    )
    return set(rows)


async def transfers_holding(session: AsyncSession, credit_id: UUID) -> Sequence[Transfer]:
    """Return the transfers to which the credit is committed, or by which it was consumed."""
    line, transfer = TransferLine, Transfer
    statement = (
        select(transfer)
        .join(line, line.transfer_id == transfer.transfer_id)
        .where(line.credit_id == credit_id, line.state.in_(ACCEPTED))
    )
    return (await session.scalars(statement)).all()


async def open_transfer_of_share(session: AsyncSession, share_id: UUID) -> Transfer | None:
    transfer = Transfer
    return await session.scalar(
        select(transfer).where(transfer.share_id == share_id, transfer.state == TransferState.REQUESTED)
    )


def overdue_transfers(now: datetime) -> Select[UUID]:
    """Select transfers that were not decided in time, or whose acceptance has ended."""
    transfer = Transfer
    return select(transfer.transfer_id).where(
        or_(
            and_(transfer.state == TransferState.REQUESTED, transfer.decide_by <= now),
            and_(transfer.state == TransferState.ACCEPTED, transfer.accepted_until <= now),
        )
    )
